//! What a probe says, by action and situation: it disproves only by what it sees.

use std::{fs, path::Path, sync::Arc};

use super::{
    cluster::target,
    etcd::membership::told_by,
    testing::{mk_call, mk_cluster, no_tools},
};
use crate::domain::{
    base::id::EtcdId,
    etcd::evidence::ListedMember,
    inventory::Cluster,
    rules::{action::Probed, expr::Value},
};

/// A probe's answer without its details.
#[derive(Debug, PartialEq)]
enum Says {
    Done,
    NotDone,
    Unknown,
}
use Says::{Done, NotDone, Unknown};

fn says(probed: &Probed) -> Says {
    match probed {
        Probed::Done(_) => Done,
        Probed::NotDone { finding } => {
            assert!(!finding.is_empty(), "a finding says what was seen");
            NotDone
        }
        Probed::Unknown(why) => {
            assert!(!why.is_empty());
            Unknown
        }
    }
}

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
        assert_eq!(says(&probed), *expected, "row {row}, {action}: {probed:?}");
    }
}

const CLUSTER: EtcdId = EtcdId(7);

fn listed(cluster: &Cluster, member: usize, id: u64, learner: bool) -> ListedMember {
    let member = &cluster.etcd.members[member];
    ListedMember {
        id: EtcdId(id),
        name: member.name.to_string(),
        peer_urls: vec![member.peer.clone()],
        client_urls: Vec::new(),
        learner,
    }
}

/// Rows: E4, E22, A20.
#[test]
fn a_probe_of_a_membership_disproves_only_by_the_list_of_the_cluster_it_was_put_to() {
    let cluster = mk_cluster(Path::new("/x"), &[1, 2, 3, 4, 5, 6], no_tools());
    let m1 = listed(&cluster, 0, 1, false);
    let learner = listed(&cluster, 1, 2, true);
    let voter = listed(&cluster, 1, 2, false);
    let (add, promote, remove) =
        ("etcd.member_add_learner", "etcd.member_promote", "etcd.member_remove");
    let rows = [
        (add, CLUSTER, vec![&m1, &learner], Done),
        (add, CLUSTER, vec![&m1], NotDone),
        (add, CLUSTER, vec![&m1, &voter], Unknown),
        (add, EtcdId(8), vec![&m1], Unknown),
        (promote, CLUSTER, vec![&m1, &voter], Done),
        (promote, CLUSTER, vec![&m1, &learner], NotDone),
        (promote, CLUSTER, vec![&m1], Unknown),
        (promote, EtcdId(8), vec![&m1, &learner], Unknown),
        (remove, CLUSTER, vec![&m1], Done),
        (remove, CLUSTER, vec![&m1, &learner], NotDone),
        (remove, EtcdId(8), vec![&m1], Unknown),
    ];
    for (row, (action, asked, members, expected)) in rows.into_iter().enumerate() {
        let id = Value::str(EtcdId(2).to_string());
        let call = mk_call(action, &[("member", Value::str("m2")), ("id", id)]);
        let before = Value::map([("cluster_id", Value::str(CLUSTER.to_string()))]);
        let members: Vec<ListedMember> = members.into_iter().cloned().collect();
        let probed = told_by(&cluster, &call, &before, asked, &members).unwrap();
        assert_eq!(says(&probed), expected, "row {row}, {action}: {probed:?}");
    }
}
