//! Disks that fail: a sync that is refused, a write that never returns, failures one after another.

use std::time::Duration;

use futures::{FutureExt, executor::block_on};

use super::*;
use crate::store::embedded::queue::{Queue, Request};

const CHILD: &str = "store::embedded::tests::disk::child_commits_until_a_sync_fails";

/// Not a test by itself: the child of the next one.
#[test]
fn child_commits_until_a_sync_fails() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let store = open_embedded(Path::new(&dir), "1.0.0").unwrap();
    let mut out = io::stdout().lock();
    writeln!(out).unwrap();
    let commit = |n: u64| block_on(store.commit(batch().append(&prod(), n, 1, &["x"])));
    let mut n = 0;
    let failed = loop {
        match commit(n) {
            Ok(_) => n += 1,
            Err(error) => break error,
        }
    };
    let fatal = block_on(store.fatal());
    store.heal();
    let (healed, read) = (commit(n).unwrap_err(), block_on(store.streams()).unwrap_err());
    let cause = std::error::Error::source(&fatal).unwrap();
    writeln!(out, "{n} then unknown={} | {fatal}: {cause}", failed.may_be_durable()).unwrap();
    writeln!(out, "healed: {healed} | read: {read}").unwrap();
}

/// A sync that fails is never forgiven: the kernel says so once and then shows what is not there.
#[test]
fn a_failed_sync_is_unknown_and_breaks_the_store_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("journal.db-wal");
    let (log, fault) = (log.to_str().unwrap(), "inject=fdatasync,fsync:error=EIO:when=8+");
    let strace = ["strace", "-f", "-P", log, "-e", fault, "-o", "/dev/null"];
    let child = child_of(CHILD, dir.path(), &strace);
    let out = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}");
    let broken = "the store is broken, and this process has to end";
    assert!(said.contains(&format!("then unknown=true | {broken}: disk I/O error")), "{said}");
    assert!(said.contains(&format!("healed: {broken} | read: {broken}")), "{said}");
    // what was acknowledged before is there at the next start
    let store = open_embedded(dir.path(), "1.0.0").unwrap();
    let there = block_on(store.read(&prod(), 0)).unwrap().len();
    let line = said.lines().find(|line| line.contains(" then ")).unwrap();
    let acknowledged: usize = line.split(' ').next().unwrap().parse().unwrap();
    assert!(there >= acknowledged && acknowledged > 0, "{there} of {acknowledged}");
}

/// Occupies the writer until the sender is used or dropped.
fn occupied(store: &Embedded) -> mpsc::Sender<()> {
    let (go, gone) = mpsc::channel::<()>();
    let (busy, is_busy) = mpsc::channel();
    drop(store.ask(move |_| {
        busy.send(()).unwrap();
        gone.recv().ok();
        Ok(())
    }));
    is_busy.recv().unwrap();
    go
}

fn too_large(store: &Embedded) -> Pending {
    store.commit(batch().alert(-1, &"x".repeat(8 << 20)))
}

#[tokio::test]
async fn a_hanging_disk_holds_up_neither_a_close_nor_the_size() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Embedded::open(dir.path(), "1.0.0", None).unwrap();
    store.close_within = Duration::from_millis(50);
    store.commit(batch().alert(1, "x")).await.unwrap();
    let go = occupied(&store);
    let waits = store.commit(batch().alert(2, "x"));
    let read = store.alerts();
    assert!(store.bytes() > 0);
    let error = store.close().await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(error.may_be_durable() && cause.contains("1 that waited"), "{cause}");
    assert!(matches!(waits.await, Err(StoreError::Closed)), "it never will be durable");
    assert!(read.await.is_err());
    drop(go);
    drop(store);
    let store = open_embedded(dir.path(), "1.0.0").unwrap();
    assert_eq!(store.alerts().await.unwrap().len(), 1);
}

#[test]
fn what_is_in_the_writers_hands_when_a_close_gives_up_is_unknown() {
    let queue = Queue::new();
    let pending = queue.commit(batch().alert(1, "x"));
    let Some(Request::Write(_, answer)) = queue.take(Duration::ZERO).pop_front() else { panic!() };
    queue.writing(vec![answer]);
    queue.close();
    assert!(queue.await_end(Duration::ZERO).unwrap_err().may_be_durable());
    assert!(block_on(pending).unwrap_err().may_be_durable());
    assert!(queue.written().is_empty(), "nobody is answered twice");
    queue.abandon();
    queue.await_end(Duration::ZERO).unwrap();
}

#[tokio::test]
async fn a_refusal_while_it_has_failed_costs_no_turn_of_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path(), "1.0.0", Some(400)).unwrap();
    too_large(&store).await.unwrap_err();
    let go = occupied(&store);
    let refused = store.commit(batch().alert(1, "x")).now_or_never().unwrap();
    assert!(matches!(refused, Err(StoreError::Failed { .. })));
    store.heal();
    let healed = store.commit(batch().alert(1, "x"));
    drop(go);
    healed.await.unwrap();
}

/// Many see one failure, and each heals it. One that comes late must not forgive the next failure,
/// which its caller has not seen yet.
#[tokio::test]
async fn a_heal_ends_only_what_had_failed_when_it_was_called() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path(), "1.0.0", Some(400)).unwrap();
    for heals in 1..3 {
        let go = occupied(&store);
        let failing = too_large(&store);
        (0..heals).for_each(|_| store.heal());
        let behind = store.commit(batch().alert(1, "x"));
        drop(go);
        failing.await.unwrap_err();
        assert!(matches!(behind.await, Err(StoreError::Failed { .. })));
        (0..heals).for_each(|_| store.heal());
        store.commit(batch().alert(1, "x")).await.unwrap();
    }
}
