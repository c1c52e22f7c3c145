//! Data moves only when its process is gone, never over other data, and comes back as it was.

use std::{fs, sync::Arc};

use super::*;
use crate::{
    domain::{inventory::Cluster, rules::action::Call},
    targets::testing::{act_on, before, mk_call, mk_cluster, no_tools, probe},
};

struct Bench {
    dir: tempfile::TempDir,
    cluster: Arc<Cluster>,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("status"), "cat pid 2>/dev/null || true").unwrap();
        let cluster = Arc::new(mk_cluster(dir.path(), &[1, 2, 3], no_tools()));
        let bench = Self { dir, cluster };
        bench.fill("first");
        bench
    }

    fn fill(&self, text: &str) {
        let member = self.dir.path().join("m1/data/member");
        fs::create_dir_all(member.join("wal")).unwrap();
        fs::create_dir_all(member.join("snap")).unwrap();
        fs::write(member.join("wal/0.wal"), text).unwrap();
        fs::write(member.join("snap/db"), text).unwrap();
    }

    fn wal(&self) -> Option<String> {
        fs::read_to_string(self.dir.path().join("m1/data/member/wal/0.wal")).ok()
    }

    async fn act(&self, action: &str, argument: &str, place: &str) -> Result<Done, Failure> {
        let call = Self::call(action, argument, place);
        let seen = before(&self.cluster, &call).await?;
        act_on(&self.cluster, &call, &seen).await
    }

    fn call(action: &str, argument: &str, place: &str) -> Call {
        mk_call(action, &[("member", Value::str("m1")), (argument, Value::str(place))])
    }
}

#[tokio::test]
async fn data_goes_out_and_comes_back_and_a_repeat_changes_nothing() {
    let bench = Bench::new();
    let call = Bench::call("etcd.data_out", "to", "old");
    let seen = before(&bench.cluster, &call).await.unwrap();
    let probed = probe(&bench.cluster, &call, &seen).await.unwrap();
    assert!(matches!(probed, Probed::NotDone { .. }), "{probed:?}");
    assert!(bench.act("etcd.data_out", "to", "old").await.unwrap().changed);
    assert_eq!(bench.wal(), None);
    assert!(
        matches!(probe(&bench.cluster, &call, &seen).await.unwrap(), Probed::Done(done) if done.changed)
    );
    assert!(!bench.act("etcd.data_out", "to", "old").await.unwrap().changed);
    assert!(bench.act("etcd.data_in", "from", "old").await.unwrap().changed);
    assert_eq!(bench.wal().as_deref(), Some("first"));
    assert!(!bench.act("etcd.data_in", "from", "old").await.unwrap().changed);
}

#[tokio::test]
async fn data_is_never_moved_over_other_data() {
    let bench = Bench::new();
    bench.act("etcd.data_out", "to", "old").await.unwrap();
    bench.fill("second");
    assert_eq!(
        bench.act("etcd.data_out", "to", "old").await.unwrap_err().kind,
        ErrorKind::Conflict
    );
    assert_eq!(
        bench.act("etcd.data_in", "from", "old").await.unwrap_err().kind,
        ErrorKind::Conflict
    );
    assert_eq!(bench.wal().as_deref(), Some("second"));
    let call = Bench::call("etcd.data_out", "to", "old");
    assert!(matches!(
        probe(&bench.cluster, &call, &Value::Null).await.unwrap(),
        Probed::Unknown(_)
    ));
}

/// Rows: E6.
#[tokio::test]
async fn what_each_failed_join_left_is_kept_apart() {
    let bench = Bench::new();
    for join in ["first", "second", "third"] {
        bench.fill(join);
        let call = Bench::call("etcd.data_out", "to", "failed");
        let seen = before(&bench.cluster, &call).await.unwrap();
        for changed in [true, false] {
            let done = act_on(&bench.cluster, &call, &seen).await.unwrap();
            assert_eq!(done.changed, changed, "{join}");
            let probed = probe(&bench.cluster, &call, &seen).await.unwrap();
            assert!(matches!(&probed, Probed::Done(done) if done.changed), "{join}: {probed:?}");
        }
        assert_eq!(bench.wal(), None);
    }
    let run = Bench::call("etcd.data_out", "to", "failed").run;
    for (place, join) in [("failed", "first"), ("failed.2", "second"), ("failed.3", "third")] {
        let kept = format!("m1/data/.quorate/{run}/{place}/member/wal/0.wal");
        assert_eq!(fs::read_to_string(bench.dir.path().join(kept)).unwrap(), join);
    }
    bench.act("etcd.data_in", "from", "failed").await.unwrap();
    assert_eq!(bench.wal().as_deref(), Some("third"), "the last one comes back first");
}

/// Rows: E22, E23.
#[tokio::test]
async fn restored_data_that_a_member_was_started_on_is_not_moved_aside() {
    for written in [false, true] {
        let bench = Bench::new();
        bench.act("etcd.data_out", "to", "new").await.unwrap();
        bench.act("etcd.data_in", "from", "new").await.unwrap();
        if written {
            let wal = bench.dir.path().join("m1/data/member/wal/0.wal");
            fs::write(wal, "first, and what a client wrote").unwrap();
        }
        let moved = bench.act("etcd.data_out", "to", "new").await;
        assert_eq!(moved.is_ok(), !written);
        assert_eq!(bench.wal().is_some(), written);
        let looked = moved.err().map(|failure| failure.still_running);
        assert_ne!(looked, Some(false), "nothing more is taken back before a person has looked");
    }
}

#[tokio::test]
async fn data_of_a_running_member_is_not_touched() {
    let bench = Bench::new();
    let status = bench.dir.path().join("status");
    fs::write(&status, format!("echo {}", std::process::id())).unwrap();
    assert_eq!(
        bench.act("etcd.data_out", "to", "old").await.unwrap_err().kind,
        ErrorKind::Conflict
    );
    fs::write(&status, "exit 1").unwrap();
    assert_eq!(
        bench.act("etcd.data_copy", "to", "backup").await.unwrap_err().kind,
        ErrorKind::Tool
    );
    fs::write(&status, "true").unwrap();
    let open = fs::File::open(bench.dir.path().join("m1/data/member/snap/db")).unwrap();
    open.lock().unwrap();
    assert_eq!(
        bench.act("etcd.data_out", "to", "old").await.unwrap_err().kind,
        ErrorKind::Conflict
    );
    assert_eq!(bench.wal().as_deref(), Some("first"));
    drop(open);
    bench.act("etcd.data_out", "to", "old").await.unwrap();
}

#[tokio::test]
async fn a_separate_wal_moves_with_the_data_and_stays_out_of_its_own_directory() {
    let mut bench = Bench::new();
    let wal = bench.dir.path().join("walfs/m1");
    fs::create_dir_all(wal.parent().unwrap()).unwrap();
    fs::rename(bench.dir.path().join("m1/data/member/wal"), &wal).unwrap();
    Arc::make_mut(&mut bench.cluster).etcd.members[0].wal_dir = Some(wal.clone());
    bench.act("etcd.data_copy", "to", "backup").await.unwrap();
    bench.act("etcd.data_out", "to", "old").await.unwrap();
    assert!(!wal.exists());
    let run = Bench::call("etcd.data_out", "to", "old").run;
    assert!(bench.dir.path().join(format!("walfs/.quorate/{run}/old/m1/0.wal")).exists());
    bench.act("etcd.data_in", "from", "old").await.unwrap();
    assert!(wal.join("0.wal").exists());
}

#[tokio::test]
async fn copies_go_to_the_backups_and_only_there() {
    let bench = Bench::new();
    let copied = bench.act("etcd.data_copy", "to", "backup").await.unwrap();
    assert_eq!(copied.output.get("files"), Some(&Value::Int(2)));
    assert!(!bench.act("etcd.data_copy", "to", "backup").await.unwrap().changed);
    assert_eq!(
        bench.act("etcd.data_copy", "to", "old").await.unwrap_err().kind,
        ErrorKind::Invalid
    );
    assert_eq!(
        bench.act("etcd.data_out", "to", "../x").await.unwrap_err().kind,
        ErrorKind::Invalid
    );
    let space = bench.act("host.file.free_space", "x", "y").await.unwrap();
    assert_eq!(space.output.get("data_bytes"), Some(&Value::Int(10)));
    assert_eq!(space.output.get("enough"), Some(&Value::Bool(true)));
}
