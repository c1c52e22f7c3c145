//! What only the embedded store has to show: a real file, a real sync, a real kill.
//!
//! Some of these run this test binary again as a child that commits until it is killed.

mod disk;
mod files;
mod mark;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Instant,
};

use rusqlite::Connection;

use super::{Embedded, FILE, *};
use crate::store::contract::{batch, prod};

const CHILD: &str = "store::embedded::tests::child_commits_until_it_is_killed";
const CHILD_DIR: &str = "QUORATE_TEST_STORE";

/// Not a test by itself: the child of those below.
#[test]
fn child_commits_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let store = open_embedded(Path::new(&dir), "1.0.0").unwrap();
    let next = futures::executor::block_on(store.streams()).unwrap();
    let next = next.first().map_or(0, |head| head.n);
    let mut out = io::stdout().lock();
    writeln!(out).unwrap();
    for n in next..next + 100_000 {
        let body = n.to_string();
        let batch = batch().append(&prod(), n, 1, &[&body]).alert(1, &body);
        futures::executor::block_on(store.commit(batch)).unwrap();
        if writeln!(out, "ack {n}").is_err() {
            return;
        }
    }
}

fn child(dir: &Path, before: &[&str]) -> Child {
    child_of(CHILD, dir, before)
}

/// This test binary again, with only one test in it.
fn child_of(test: &str, dir: &Path, before: &[&str]) -> Child {
    let exe = std::env::current_exe().unwrap();
    let argv = before.iter().map(AsRef::as_ref).chain([exe.as_os_str()]);
    let argv: Vec<_> = argv.map(std::ffi::OsStr::to_os_string).collect();
    Command::new(&argv[0])
        .args(&argv[1..])
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD_DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", argv[0].display()))
}

fn acknowledged(line: &str) -> Option<u64> {
    line.strip_prefix("ack ")?.trim_end().parse().ok()
}

/// Rows: E22, B18. Invariant 2.
#[tokio::test]
async fn every_acknowledged_entry_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut there = 0;
    for round in 0..10_usize {
        let mut child = child(dir.path(), &[]);
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let (mut acks, mut last) = (0, 0);
        while acks <= round * 17 {
            line.clear();
            assert_ne!(out.read_line(&mut line).unwrap(), 0, "the child ended by itself");
            if let Some(n) = acknowledged(&line) {
                (acks, last) = (acks + 1, n);
            }
        }
        if round == 0 {
            let held = open_embedded(dir.path(), "1.0.0").unwrap_err();
            assert!(matches!(held, StoreError::Held { pid } if pid == Some(child.id())), "{held}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        last = rest.lines().filter_map(acknowledged).next_back().unwrap_or(last);

        let store = open_embedded(dir.path(), "1.0.0").unwrap();
        let entries = store.read(&prod(), 0).await.unwrap();
        assert!(entries.len() as u64 > last, "{} entries, {last} acknowledged", entries.len());
        assert!(entries.len() > there);
        there = entries.len();
        assert!((0..).zip(&entries).all(|(n, entry)| entry.n == n && entry.seq == n + 1));
        // entry and row were one batch
        let row = store.alerts().await.unwrap().remove(0);
        assert_eq!(row.body.unwrap(), entries.last().unwrap().body.as_bytes());
    }
}

/// Invariant 2, in the system calls: between the write to the log and the answer lies a sync.
#[test]
fn the_log_is_synced_before_the_answer() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    let strace = ["strace", "-f", "-y", "-e", "trace=pwrite64,write,fdatasync,fsync", "-o"];
    let mut strace: Vec<_> = strace.to_vec();
    strace.push(trace.to_str().unwrap());
    let mut child = child(dir.path(), &strace);
    let out = BufReader::new(child.stdout.take().unwrap());
    let acks = out.lines().map_while(Result::ok).filter(|line| acknowledged(line).is_some());
    assert_eq!(acks.take(30).count(), 30, "is strace installed and allowed?");
    // with the pipe closed the child ends by itself, and strace with it
    child.wait().unwrap();

    let (mut dirty, mut synced, mut answers) = (false, 0, 0);
    let mut syncing = BTreeMap::new();
    for line in fs::read_to_string(&trace).unwrap().lines() {
        let (pid, call) = line.split_once(' ').unwrap();
        let call = call.trim_start();
        let log = call.contains("-wal>");
        if call.starts_with("pwrite64(") && log {
            dirty = true;
        } else if call.starts_with("fdatasync(") || call.starts_with("fsync(") {
            if call.contains("<unfinished") {
                syncing.insert(pid, log);
            } else if log && call.ends_with("= 0") {
                (dirty, synced) = (false, synced + 1);
            }
        } else if call.starts_with("<... fdatasync") || call.starts_with("<... fsync") {
            if syncing.remove(pid) == Some(true) && call.ends_with("= 0") {
                (dirty, synced) = (false, synced + 1);
            }
        } else if call.starts_with("write(") && call.contains("\"ack ") {
            assert!(!dirty, "answered before the sync: {line}");
            answers += 1;
        }
    }
    assert!(answers >= 30 && synced >= answers, "{answers} answers, {synced} syncs");
}

#[test]
fn a_second_open_is_refused_and_names_the_holder() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_embedded(dir.path(), "1.0.0").unwrap();
    let held = open_embedded(dir.path(), "1.0.0").unwrap_err();
    assert_eq!(held.to_string(), format!("the store is held by process {}", std::process::id()));
    drop(store);
    open_embedded(dir.path(), "1.0.0").unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_refused_with_the_version_that_wrote_it() {
    let dir = tempfile::tempdir().unwrap();
    drop(open_embedded(dir.path(), "9.9.0").unwrap());
    let older = open_embedded(dir.path(), "1.0.0").unwrap();
    assert_eq!(older.written_by().as_deref(), Some("9.9.0"));
    drop(older);
    // it wrote nothing, so it did not become the writer
    let older = open_embedded(dir.path(), "1.0.0").unwrap();
    assert_eq!(older.written_by().as_deref(), Some("9.9.0"));
    older.commit(batch().alert(1, "a")).await.unwrap();
    drop(older);
    assert_eq!(open_embedded(dir.path(), "1.0.0").unwrap().written_by().as_deref(), Some("1.0.0"));

    let raise = "UPDATE meta SET value = 7 WHERE key = 'schema'";
    Connection::open(dir.path().join(FILE)).unwrap().execute(raise, []).unwrap();
    let error = open_embedded(dir.path(), "1.0.0").unwrap_err();
    let said = "the store has schema 7, written by quorate 1.0.0; this one knows 1";
    assert_eq!(error.to_string(), said);
}

#[test]
fn a_file_that_is_no_store_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(FILE), "no database, ".repeat(1000)).unwrap();
    let error = open_embedded(dir.path(), "1.0.0").unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    let error = open_embedded(&dir.path().join(FILE), "1.0.0").unwrap_err();
    assert!(matches!(error, StoreError::Open { .. }), "{error}");
}

#[tokio::test]
async fn entries_beyond_the_end_of_their_stream_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_embedded(dir.path(), "1.0.0").unwrap();
    store.commit(batch().append(&prod(), 0, 0, &["a", "b"])).await.unwrap();
    drop(store);
    let conn = Connection::open(dir.path().join(FILE)).unwrap();
    conn.execute("UPDATE head SET n = 1", []).unwrap();
    drop(conn);
    let error = open_embedded(dir.path(), "1.0.0").unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
}

/// A full disk is refused, healed by deleting, and grows no file meanwhile.
#[tokio::test]
async fn a_full_disk_fails_until_there_is_room_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_embedded_bounded(dir.path(), "1.0.0", 64).unwrap();
    let row = "x".repeat(20_000);
    let mut stored = 0;
    let error = loop {
        match store.commit(batch().alert(stored, &row)).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(stored > 5 && error.retryable(), "{stored}: {error}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("full"), "{cause}");
    let mut remove = batch();
    remove.alerts = (0..stored).map(|id| AlertRow { id, body: None }).collect();
    assert!(store.commit(remove.clone()).await.is_err(), "not healed yet");
    store.heal();
    assert_eq!(store.alerts().await.unwrap().len(), usize::try_from(stored).unwrap());
    store.commit(remove).await.unwrap();
    store.commit(batch().alert(1, &row)).await.unwrap();
    assert!(store.bytes() > 20_000);
}

#[tokio::test]
async fn a_commit_that_finds_no_room_in_the_queue_fails_those_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path(), "1.0.0", None).unwrap();
    let (go, gone) = mpsc::channel::<()>();
    let (busy, is_busy) = mpsc::channel();
    let blocked = store.ask(move |_| {
        busy.send(()).unwrap();
        gone.recv().unwrap();
        Ok(())
    });
    is_busy.recv().unwrap();
    let n = i64::try_from(crate::store::QUEUED_MAX).unwrap();
    let pending: Vec<_> = (0..n).map(|id| store.commit(batch().alert(id, "x"))).collect();
    let refused = store.commit(batch().alert(n, "x")).await;
    assert!(matches!(refused, Err(StoreError::Failed { .. })));
    go.send(()).unwrap();
    blocked.await.unwrap();
    for commit in pending {
        commit.await.unwrap();
    }
    let behind = store.commit(batch().alert(n, "x")).await;
    assert!(matches!(behind, Err(StoreError::Failed { .. })), "room again, but not healed");
    store.heal();
    store.commit(batch().alert(n, "x")).await.unwrap();
    assert_eq!(store.alerts().await.unwrap().len(), crate::store::QUEUED_MAX + 1);
}
