//! `store check` and `store export`: what can be read is read, and what cannot has a way out.

use std::{fs, path::Path};

use quorate::{
    domain::{
        base::time::Time,
        journal::{
            cluster::ClusterState,
            record::{Attribution, Paused, Record},
            snapshot::Snapshot,
        },
    },
    store::{Append, Batch, Fence, NewEntry, StoreError, StreamName, open_embedded},
};
use rusqlite::Connection;

use crate::app::said;

const AT: Time = Time(1_795_000_000_000);

fn pause(reason: &str) -> NewEntry {
    let said = Attribution { by: "anna".into(), reason: reason.into() };
    NewEntry::of(&Record::Paused(Paused { said, until: None }), AT).unwrap()
}

/// A folder with some pauses in it.
async fn filled(dir: &Path, pauses: usize) {
    let store = open_embedded(dir, "1.0.0").unwrap();
    let stream = StreamName::Cluster("c1".into());
    let entries = (0..pauses).map(|n| pause(&format!("{n} {}", "x".repeat(200)))).collect();
    let append = Append { stream, expected_n: 0, fence: Fence(1), entries };
    store.commit(Batch { appends: vec![append], ..Batch::default() }).await.unwrap();
    store.close().await.unwrap();
}

fn change(dir: &Path, sql: &str) {
    Connection::open(dir.join("journal.db")).unwrap().execute_batch(sql).unwrap();
}

async fn verb(verb: &str, dir: &Path) -> crate::app::Ended {
    said(&["store", verb, dir.to_str().unwrap()], &[]).await
}

#[tokio::test]
async fn a_sound_store_is_checked_with_0_also_beside_its_server() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 3).await;
    let store = open_embedded(dir.path(), "1.0.0").unwrap();
    let checked = verb("check", dir.path()).await;
    assert_eq!((checked.code, checked.stderr.as_str()), (0, ""), "{}", checked.stdout);
    let text = "journal.db: 3 entries in 1 streams, 0 alerts, last written by quorate 1.0.0: no";
    assert!(checked.stdout.contains(text), "{}", checked.stdout);
    let exported = verb("export", dir.path()).await;
    assert_eq!(exported.code, 0, "{}", exported.stderr);
    let lines: Vec<serde_json::Value> =
        exported.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines[0]["row"].as_str(), lines[0]["n"].as_u64()), (Some("stream"), Some(3)));
    assert_eq!(lines[3]["body"]["by"], "anna");
    assert_eq!(lines[3]["at"], AT.to_string());
    drop(store);
}

/// A snapshot is a short cut: what it stands for is still there, and is checked and exported.
#[tokio::test]
async fn a_store_with_snapshots_is_checked_and_exported_whole() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 3).await;
    let compact = async |upto, snapshot| {
        let (store, stream) = (open_embedded(dir.path(), "1.0.0").unwrap(), "c1".into());
        let stream = StreamName::Cluster(stream);
        store.compact(&stream, upto, Fence(1), snapshot).await.unwrap();
        store.close().await.unwrap();
    };
    compact(2, Snapshot::of(&ClusterState::default(), AT).encode().unwrap()).await;
    let checked = verb("check", dir.path()).await;
    assert_eq!((checked.code, checked.stderr.as_str()), (0, ""), "{}", checked.stdout);
    let exported = verb("export", dir.path()).await;
    assert_eq!((exported.code, exported.stdout.lines().count()), (0, 4), "{}", exported.stderr);
    assert!(exported.stdout.contains(r#""compacted":2"#), "{}", exported.stdout);
    compact(3, b"none".to_vec()).await;
    let checked = verb("check", dir.path()).await;
    assert_eq!(checked.code, 1);
    let lines: Vec<&str> = checked.stdout.lines().collect();
    assert!(lines[0].starts_with("cluster/c1: its snapshot: it is no snapshot"), "{}", lines[0]);
    assert!(lines[1].contains("none is needed: the next start reads the entries"), "{}", lines[1]);
    assert_eq!(verb("export", dir.path()).await.stdout.lines().count(), 4);
}

/// Rows: B18. The order that once kept every start from its journal.
#[tokio::test]
async fn a_record_that_no_start_reads_is_named_with_its_way_out() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 3).await;
    let bad = r#"{"by":"anna","reason":"x","until":"863999913600000ms"}"#;
    change(dir.path(), &format!("UPDATE journal SET body = '{bad}' WHERE seq = 2"));
    change(dir.path(), "UPDATE journal SET kind = 'teleported', ver = 3 WHERE seq = 3");
    let checked = verb("check", dir.path()).await;
    assert_eq!(checked.code, 1);
    let lines: Vec<&str> = checked.stdout.lines().collect();
    assert!(lines[0].starts_with("cluster/c1 at 1 (entry 2, paused, "), "{}", checked.stdout);
    assert!(lines[0].contains("is no RFC 3339 time"), "{}", lines[0]);
    assert!(lines[1].contains("DELETE FROM journal WHERE seq = 2"), "{}", lines[1]);
    assert!(lines[2].starts_with("cluster/c1 at 2 (entry 3, teleported, "), "{}", lines[2]);
    assert!(lines[3].contains("start quorate 1.0.0, or a later one"), "{}", lines[3]);
    assert!(lines[4].ends_with("2 problems"), "{}", lines[4]);
    // as it stands it can be exported all the same
    let exported = verb("export", dir.path()).await;
    assert_eq!((exported.code, exported.stdout.lines().count()), (0, 4), "{}", exported.stderr);
    // and the way out is one
    change(dir.path(), "DELETE FROM journal WHERE seq IN (2, 3)");
    assert_eq!(verb("check", dir.path()).await.code, 0);
}

/// A damaged page costs what was on it.
#[tokio::test]
async fn what_lies_behind_a_damaged_page_is_read() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 2_000).await;
    let conn = Connection::open(dir.path().join("journal.db")).unwrap();
    let middle = "SELECT pageno FROM dbstat WHERE name = 'journal' AND pagetype = 'leaf'";
    let page: Option<i64> = conn.query_row(middle, [], |row| row.get(0)).ok();
    drop(conn);
    let path = dir.path().join("journal.db");
    let mut bytes = fs::read(&path).unwrap();
    let at = match page {
        Some(page) => usize::try_from(page - 1).unwrap() * 8192,
        None => bytes.len() / 8192 / 2 * 8192,
    };
    bytes[at..at + 8192].fill(0);
    fs::write(&path, bytes).unwrap();
    let exported = verb("export", dir.path()).await;
    assert_eq!(exported.code, 1);
    let read = exported.stdout.lines().count();
    assert!((1_500..2_001).contains(&read), "{read}: {}", exported.stderr);
    assert!(exported.stderr.contains("cannot be read: "), "{}", exported.stderr);
    let checked = verb("check", dir.path()).await;
    assert_eq!(checked.code, 1);
    assert!(checked.stdout.contains("restore a backup of the folder"), "{}", checked.stdout);
}

#[tokio::test]
async fn commits_that_are_missing_are_told_as_a_start_tells_them() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 3).await;
    change(
        dir.path(),
        "DELETE FROM journal; DELETE FROM head; DELETE FROM meta WHERE key = 'state'",
    );
    let checked = verb("check", dir.path()).await;
    assert_eq!(checked.code, 1);
    assert!(checked.stdout.contains("has lost commits that were durable"), "{}", checked.stdout);
    let refused = open_embedded(dir.path(), "1.0.0").unwrap_err();
    assert!(matches!(refused, StoreError::Shorter { .. }), "{refused}");
}

#[tokio::test]
async fn what_is_no_store_is_1() {
    let dir = tempfile::tempdir().unwrap();
    let nothing = verb("check", dir.path()).await;
    assert_eq!((nothing.code, nothing.stdout.as_str()), (1, ""));
    assert!(nothing.stderr.contains("cannot open the store"), "{}", nothing.stderr);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is made");
    fs::write(dir.path().join("journal.db"), "no database, ".repeat(1000)).unwrap();
    let none = verb("check", dir.path()).await;
    assert_eq!(none.code, 1);
    assert!(none.stderr.contains("way out: restore a backup"), "{}", none.stderr);
    assert_eq!(said(&["store"], &[]).await.code, 2);
}
