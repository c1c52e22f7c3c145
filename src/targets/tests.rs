//! What a probe says, by action and situation: it disproves only by what it sees.

use std::{fs, path::Path, sync::Arc, time::Duration};

use super::{
    action::On,
    cluster::target,
    host::lock,
    testing::{
        Says::{self, Done, NotDone, Unknown},
        mk_call, mk_cluster, no_tools,
    },
};
use crate::domain::rules::expr::Value;

/// Something that happens to a member between the call's `before` and the probe.
type Happens = fn(&Path);

fn nothing(_: &Path) {}

fn runs(dir: &Path) {
    fs::write(dir.join("status"), format!("echo {}", std::process::id())).unwrap();
}

fn status_fails(dir: &Path) {
    fs::write(dir.join("status"), "exit 1").unwrap();
}

fn has_written(dir: &Path) {
    fs::write(dir.join("m1/data/member/wal/0.wal"), "more").unwrap();
}

/// It ran, wrote, and ended: with its host, or by itself.
fn has_run(dir: &Path) {
    fs::write(dir.join("m1/data/member/wal/1.tmp"), "room").unwrap();
}

fn cannot_be_read(dir: &Path) {
    fs::create_dir(dir.join("m1/data/member/wal/9.wal")).unwrap();
}

fn can_be_read(dir: &Path) {
    fs::remove_dir(dir.join("m1/data/member/wal/9.wal")).unwrap();
}

fn is_unmounted(dir: &Path) {
    fs::rename(dir.join("m1/data"), dir.join("m1/elsewhere")).unwrap();
    fs::create_dir(dir.join("m1/data")).unwrap();
}

fn is_moved_out(dir: &Path) {
    let old = dir.join(format!("m1/data/.quorate/{}/old", mk_call("", &[]).run));
    fs::create_dir_all(&old).unwrap();
    fs::rename(dir.join("m1/data/member"), old.join("member")).unwrap();
}

fn is_put_back(dir: &Path) {
    let old = dir.join(format!("m1/data/.quorate/{}/old", mk_call("", &[]).run));
    fs::rename(old.join("member"), dir.join("m1/data/member")).unwrap();
}

fn is_made_anew(dir: &Path) {
    fs::create_dir_all(dir.join("m1/data/member/wal")).unwrap();
}

fn is_moved_out_and_made_anew(dir: &Path) {
    is_moved_out(dir);
    is_made_anew(dir);
}

fn is_wiped_to_join(dir: &Path) {
    fs::remove_dir_all(dir.join("m1/data/member")).unwrap();
    fs::create_dir_all(dir.join("m1/data/.quorate")).unwrap();
    fs::write(dir.join("m1/data/.quorate/args"), "--initial-cluster-state=existing\n").unwrap();
}

/// Rows: E22, E23, E2.
#[tokio::test]
async fn a_probe_of_a_host_disproves_only_by_what_it_sees() {
    let rows: &[(&str, Happens, Happens, Says)] = &[
        // action, before, then, what the probe says
        ("host.service.start", nothing, runs, Done),
        ("host.service.start", nothing, nothing, NotDone),
        ("host.service.start", nothing, has_written, Unknown),
        ("host.service.start", nothing, has_run, Unknown),
        ("host.service.start", nothing, is_unmounted, Unknown),
        ("host.service.start", nothing, status_fails, Unknown),
        ("host.service.start", cannot_be_read, nothing, Unknown),
        ("host.service.start", cannot_be_read, can_be_read, Unknown),
        ("host.service.start", is_wiped_to_join, nothing, NotDone),
        ("host.service.start", is_wiped_to_join, is_unmounted, Unknown),
        ("host.service.start", is_wiped_to_join, is_made_anew, NotDone),
        ("host.service.start", is_moved_out, nothing, Unknown),
        ("host.service.stop", runs, status_fails, Unknown),
        ("host.service.stop", runs, runs, NotDone),
        ("host.service.stop", nothing, nothing, Done),
        ("etcd.data_out", nothing, nothing, NotDone),
        ("etcd.data_out", nothing, is_moved_out, Done),
        ("etcd.data_out", nothing, is_moved_out_and_made_anew, Unknown),
        ("etcd.data_out", nothing, is_unmounted, Unknown),
        ("etcd.data_out", is_wiped_to_join, nothing, Done),
        ("etcd.data_in", is_moved_out, nothing, NotDone),
        ("etcd.data_in", is_moved_out, is_put_back, Done),
        ("etcd.data_in", is_moved_out, is_unmounted, Unknown),
        ("etcd.data_in", is_moved_out, is_made_anew, Unknown),
        ("etcd.scratch_start", nothing, nothing, NotDone),
        // what cleans up after itself is done again and never asked about
        ("etcd.restore", nothing, nothing, Unknown),
        ("host.service.mask", nothing, nothing, Unknown),
    ];
    for (row, (action, first, then, expected)) in rows.iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let cluster = mk_cluster(dir.path(), &[1, 2, 3], no_tools());
        fs::create_dir_all(dir.path().join("m1/data/member/wal")).unwrap();
        fs::write(dir.path().join("m1/data/member/wal/0.wal"), "first").unwrap();
        fs::write(dir.path().join("status"), "true").unwrap();
        let target = target(Arc::new(cluster));
        let place = Value::str("old");
        let args = [("member", Value::str("m1")), ("to", place.clone()), ("from", place)];
        let call = mk_call(action, &args);
        first(dir.path());
        let before = target.before(&call).await.unwrap();
        then(dir.path());
        let probed = target.probe(&call, &before).await;
        assert_eq!(Says::of(&probed), *expected, "row {row}, {action}: {probed:?}");
    }
}

/// What a person who approves is shown, word by word.
#[test]
fn every_change_tells_the_commands_that_do_the_same() {
    let mut cluster = mk_cluster(Path::new("/x"), &[1, 2, 3, 4, 5, 6], no_tools());
    cluster.etcd.members[0].service.mask = Some(vec!["mask".into(), "m1".into()]);
    cluster.etcd.members[1].wal_dir = Some("/log/m2".into());
    let target = target(Arc::new(cluster));
    let told = |action: &str, args: &[(&str, &str)]| {
        let args: Vec<_> = args.iter().map(|(name, value)| (*name, Value::str(*value))).collect();
        target.commands(&mk_call(action, &args)).join(" && ")
    };
    let run = mk_call("", &[]).run;
    let m1 = ("member", "m1");
    let beside = format!("/x/m1/data/.quorate/{run}");
    let rows = [
        ("host.file.free_space", vec![m1], String::new()),
        ("host.service.start", vec![m1], "sh /x/start m1 [arguments in force]".into()),
        ("host.service.stop", vec![m1], "sh /x/stop m1".into()),
        ("host.service.mask", vec![m1], "mask m1".into()),
        ("host.service.reset_args", vec![m1], "rm /x/m1/data/.quorate/args".into()),
        ("host.service.stop", vec![("member", "<m>")], "host.service.stop <m>".into()),
        (
            "etcd.data_out",
            vec![m1, ("to", "old")],
            format!("mv /x/m1/data/member {beside}/old/member"),
        ),
        (
            "etcd.data_in",
            vec![m1, ("from", "new")],
            format!("mv {beside}/new/member /x/m1/data/member"),
        ),
        (
            "etcd.data_out",
            vec![("member", "m2"), ("to", "old")],
            format!(
                "mv /x/m2/data/member /x/m2/data/.quorate/{run}/old/member && mv /log/m2 /log/.quorate/{run}/old/m2"
            ),
        ),
        (
            "etcd.data_copy",
            vec![m1, ("to", "backup")],
            format!("cp -a /x/m1/data /x/backups/{run}/m1/backup/data"),
        ),
        (
            "etcd.snapshot",
            vec![m1],
            format!(
                "etcdctl --endpoints http://127.0.0.1:1 snapshot save /x/backups/{run}/m1/snapshot.db"
            ),
        ),
        (
            "etcd.scratch_start",
            vec![m1],
            format!(
                "/nowhere/etcd --force-new-cluster --data-dir=/x/backups/{run}/m1/scratch/data [loopback]"
            ),
        ),
        ("etcd.scratch_stop", vec![m1], format!("rm -r /x/backups/{run}/m1/scratch")),
        (
            "etcd.member_add_learner",
            vec![m1],
            "etcdctl member add m1 --learner --peer-urls=http://127.0.0.1:2".into(),
        ),
        ("etcd.member_promote", vec![("id", "<id>")], "etcdctl member promote <id>".into()),
        ("etcd.member_remove", vec![("id", "a1")], "etcdctl member remove a1".into()),
    ];
    for (action, args, expected) in rows {
        assert_eq!(told(action, &args), expected, "{action}");
    }
    let restore = told("etcd.restore", &[m1, ("snapshot", "s")]);
    assert!(restore.starts_with("/nowhere/etcdutl snapshot restore "), "{restore}");
    assert!(restore.contains(&format!("--data-dir={beside}/new")), "{restore}");
}

/// Rows: E22. A start command that outlived quorate may still start the member.
#[tokio::test]
async fn a_probe_says_nothing_while_an_earlier_try_is_still_at_work() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Arc::new(mk_cluster(dir.path(), &[1, 2, 3], no_tools()));
    fs::create_dir_all(dir.path().join("m1/data/member/wal")).unwrap();
    fs::write(dir.path().join("m1/data/member/wal/0.wal"), "first").unwrap();
    fs::write(dir.path().join("status"), "true").unwrap();
    let call = mk_call("host.service.start", &[("member", Value::str("m1"))]);
    let places = On { cluster: &cluster, call: &call }.places().unwrap();
    let target = target(cluster.clone());
    let before = target.before(&call).await.unwrap();
    let earlier = lock::take(places.lock(), Duration::ZERO).await.unwrap();
    let brief = Duration::from_secs(1);
    let waits = tokio::time::timeout(brief, target.probe(&call, &before)).await;
    assert!(waits.is_err(), "{waits:?}");
    has_written(dir.path());
    drop(earlier);
    assert_eq!(Says::of(&target.probe(&call, &before).await), Unknown);
}
