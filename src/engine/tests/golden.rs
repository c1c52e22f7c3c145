//! The journal's format: every kind has a sample that reads back and is written as it was.

use std::path::PathBuf;

use super::bed::{Bed, three};
use crate::{
    domain::{
        base::time::Time,
        inventory::Mode,
        journal::record::{DecodeError, Record, VERSION, kinds},
    },
    store::{Append, Batch, Fence, NewEntry, Store, StreamName},
};

fn sample(kind: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/journal/v1");
    let text = std::fs::read_to_string(root.join(format!("{kind}.json")));
    text.unwrap_or_else(|_| panic!("there is no sample of {kind}")).trim_end().to_owned()
}

#[test]
fn every_kind_reads_back_and_is_written_as_it_was() {
    for kind in kinds() {
        let body = sample(kind);
        let record = Record::decode(kind, VERSION, &body).unwrap();
        assert_eq!((record.kind(), record.encode().unwrap()), (kind, body));
    }
}

#[test]
fn what_a_later_quorate_wrote_is_refused_by_name() {
    let body = sample("verified");
    for (kind, ver) in [("teleported", VERSION), ("verified", VERSION + 1)] {
        let refused = Record::decode(kind, ver, &body).unwrap_err();
        assert!(matches!(refused, DecodeError::Unknown { .. }));
        let text = refused.to_string();
        assert!(text.contains(kind) && text.contains(&format!("version {ver}")), "{text}");
    }
    let broken = Record::decode("run_parked", VERSION, "{}").unwrap_err();
    assert!(matches!(broken, DecodeError::Body { .. }));
}

#[tokio::test(start_paused = true)]
async fn what_is_written_live_is_a_fixed_point_of_reading_and_writing() {
    let bed = Bed::start(three(), Mode::Auto, 1000).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    bed.until_rest(900).await;
    let entries = bed.store.read(&StreamName::Cluster("c1".into()), 0).await.unwrap();
    assert!(entries.len() > 60);
    for entry in entries {
        let record = Record::decode(&entry.kind, entry.ver, &entry.body).unwrap();
        assert_eq!((record.kind(), record.encode().unwrap()), (entry.kind.as_str(), entry.body));
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "cannot be read at")]
async fn a_journal_with_an_unknown_record_is_not_started_on() {
    let bed = Bed::start(three(), Mode::Auto, 1000).await;
    let entry = NewEntry::unchecked("teleported", 1, Time(0), "{}");
    let stream = StreamName::Cluster("c1".into());
    let n = bed.store.streams().await.unwrap().first().map_or(0, |head| head.n);
    let append = Append { stream, expected_n: n, fence: Fence(9), entries: vec![entry] };
    bed.store.commit(Batch { appends: vec![append], ..Batch::default() }).await.unwrap();
    bed.crash().await;
}
