//! What a snapshot reads and what it refuses. That it comes to what its records come to is shown
//! with whole journals (`engine/tests/snapshots.rs`).

use super::*;

const SAMPLE: &str = include_str!("../../../../tests/fixtures/journal/snapshot-v1.json");

#[test]
fn a_snapshot_reads_back_and_is_written_as_it_was() {
    let snapshot = Snapshot::decode(SAMPLE.trim_end().as_bytes()).unwrap();
    assert!(!snapshot.incidents.is_empty() && !snapshot.runs.is_empty());
    assert!(!snapshot.ledgers.is_empty() && !snapshot.losses.is_empty());
    let written = String::from_utf8(snapshot.encode().unwrap()).unwrap();
    assert_eq!(written, SAMPLE.trim_end());
}

#[test]
fn what_is_no_snapshot_or_of_another_version_is_refused() {
    for text in ["", "{}", "[1]", r#"{"ver":1}"#, "\u{0}\u{0}"] {
        let refused = Snapshot::decode(text.as_bytes());
        assert!(matches!(refused, Err(SnapshotError::Body(_))), "{text:?}");
    }
    let later = SAMPLE.replacen("\"ver\":1", "\"ver\":2", 1);
    for text in [later.as_str(), r#"{"ver":2,"all":"else"}"#] {
        let refused = Snapshot::decode(text.as_bytes());
        assert!(matches!(refused, Err(SnapshotError::Version(2))), "{text:?}");
    }
}
