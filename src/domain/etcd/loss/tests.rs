//! Bounds of the expected loss, and the row of sightings they rest on.

use super::*;
use crate::domain::etcd::verdict::fixtures::{CLUSTER, NOW, id, voters};

const THREE: [&str; 3] = ["m1", "m2", "m3"];
const EPOCH: Epoch = Epoch { cluster_id: CLUSTER, recoveries: 0 };

fn at(seconds: i64) -> Time {
    Time(NOW.0 + seconds * 1000)
}

fn marks(mark: &str) -> Remembered {
    let marks = THREE.iter().map(|name| (MemberName::from(*name), mark.to_owned())).collect();
    Remembered { marks, ..Remembered::default() }
}

/// Sightings at these seconds and revisions.
fn sightings(seen: &[(i64, i64)]) -> Observed {
    let fold = |row, (second, revision): &(i64, i64)| {
        Some(Observed::sighted(row, voters(&THREE, *revision), marks("a"), at(*second), 0))
    };
    seen.iter().fold(None, fold).expect("there is at least one")
}

fn expected(row: &Observed, revision: i64) -> Loss {
    Loss::expected(Some(row), None, EPOCH, revision, at(1000))
}

#[test]
fn the_bounds_are_what_was_seen_and_what_may_have_been_written_since() {
    let row = sightings(&[(0, 100), (10, 150), (20, 160)]).leaderless(at(24)).leaderless(at(90));
    assert_eq!(row.no_leader_since, Some(at(24)));
    let loss = expected(&row, 155);
    assert_eq!(loss.last_seen, Some((at(20), 160)));
    assert!((loss.write_rate_per_s - 5.0).abs() < 1e-9);
    assert_eq!((loss.lower, loss.upper, loss.age), (5, Some(25), Duration::from_secs(4)));
    assert_eq!((expected(&row, 160).lower, expected(&row, 999).lower), (0, 0));
    assert_eq!(expected(&row, 999).upper, Some(20));
}

#[test]
fn the_upper_bound_is_unknown_rather_than_0() {
    let seen = [(0, 100), (10, 100)];
    assert_eq!(expected(&sightings(&seen).leaderless(at(70)), 100).upper, Some(0));
    assert_eq!(expected(&sightings(&seen).leaderless(at(71)), 100).upper, None);
    assert_eq!(expected(&sightings(&seen), 100).upper, None, "the writes end at now");
    let loss = expected(&sightings(&[(0, 100)]).leaderless(at(5)), 90);
    assert_eq!((loss.lower, loss.upper), (10, None), "one sighting has no rate");
    assert_eq!(Loss::expected(None, Some(5), EPOCH, 1, at(1)).upper, None);
}

#[test]
fn the_rate_is_the_highest_over_any_ten_seconds() {
    let rate =
        |seen: &[(i64, i64)]| expected(&sightings(seen).leaderless(at(700)), 0).write_rate_per_s;
    let each_second: Vec<_> =
        (0..=30).map(|s| (s, 100 + if s > 20 { 10 * (s - 20) } else { 0 })).collect();
    assert!((rate(&each_second) - 10.0).abs() < 1e-9);
    assert!((rate(&[(0, 0), (30, 300), (40, 301)]) - 30.0).abs() < 1e-9, "a gap may hide a burst");
    assert!(
        (rate(&[(0, 1), (10, 9000), (611, 9000), (621, 9001)]) - 0.1).abs() < 1e-9,
        "10 min only"
    );
}

#[test]
fn prometheus_may_have_seen_more() {
    let row = sightings(&[(0, 100), (10, 110)]).leaderless(at(20));
    let with = |seen| Loss::expected(Some(&row), Some(seen), EPOCH, 105, at(100));
    assert_eq!((with(130).lower, with(130).upper), (25, Some(35)));
    assert_eq!(with(130).last_seen, Some((at(10), 130)));
    assert_eq!(with(90), expected(&row, 105));
}

#[test]
fn another_epoch_is_not_compared() {
    let row = sightings(&[(0, 100), (10, 110)]).leaderless(at(11));
    let other = Epoch { recoveries: 1, ..EPOCH };
    let loss = Loss::expected(Some(&row), Some(900), other, 50, at(12));
    assert_eq!((loss.lower, loss.upper, loss.last_seen), (0, None, None));
}

#[test]
fn a_sighting_ends_the_outage_and_a_recovery_begins_an_epoch() {
    let row = sightings(&[(0, 100), (10, 110)]).leaderless(at(11));
    let again = Observed::sighted(Some(row.clone()), voters(&THREE, 111), marks("a"), at(20), 0);
    assert_eq!((again.no_leader_since, again.recent.len()), (None, 3));
    let recovered = Observed::sighted(Some(row), voters(&THREE, 60), marks("b"), at(30), 1);
    assert_eq!(recovered.epoch, Epoch { recoveries: 1, ..EPOCH });
    assert_eq!(
        (recovered.recent.as_slice(), recovered.marks),
        (&[(at(30), 60)][..], marks("b").marks)
    );
}

/// Rows: E4, E19. Blank members under the old ids do not overwrite what was seen.
#[test]
fn a_revision_that_goes_back_is_not_believed() {
    let row = sightings(&[(0, 100), (10, 110)]);
    for cluster_id in [CLUSTER, EtcdId(0xbad)] {
        let blank = VoterSet { cluster_id, ..voters(&THREE, 3) };
        assert_eq!(Observed::sighted(Some(row.clone()), blank, marks("new"), at(20), 0), row);
    }
    let late = Observed::sighted(Some(row.clone()), voters(&THREE, 120), marks("a"), at(9), 0);
    assert_eq!(late, row);
    let restored = VoterSet { cluster_id: EtcdId(0xbad), ..voters(&THREE, 5000) };
    let restored = Observed::sighted(Some(row), restored, marks("new"), at(20), 0);
    assert_eq!((restored.recent.len(), restored.epoch.cluster_id), (1, EtcdId(0xbad)));
}

#[test]
fn a_mark_stays_until_its_member_gets_another_id() {
    let row = sightings(&[(0, 100)]);
    let mut set = voters(&THREE, 101);
    set.members.get_mut("m3").unwrap().id = EtcdId(33);
    set.members.remove("m2");
    let row = Observed::sighted(Some(row), set, Remembered::default(), at(10), 0);
    assert_eq!(row.marks.keys().map(MemberName::as_str).collect::<Vec<_>>(), ["m1"]);
}

/// Rows: E14.
#[test]
fn a_version_stays_as_last_seen_until_its_member_gets_another_id() {
    let versions = |told: &[(&str, &str)]| {
        let versions = told.iter().map(|(name, version)| ((*name).into(), (*version).into()));
        Remembered { versions: versions.collect(), ..Remembered::default() }
    };
    let seen = |row: &Observed| {
        let told = row.versions.iter().map(|(name, version)| format!("{name} {version}"));
        told.collect::<Vec<_>>()
    };
    let first = versions(&[("m1", "3.5.16"), ("m2", "3.5.16"), ("m9", "3.4.0")]);
    let row = Observed::sighted(None, voters(&THREE, 100), first, at(0), 0);
    assert_eq!(seen(&row), ["m1 3.5.16", "m2 3.5.16"], "m9 is no member");
    let row =
        Observed::sighted(Some(row), voters(&THREE, 101), versions(&[("m1", "3.6.1")]), at(9), 0);
    assert_eq!(seen(&row), ["m1 3.6.1", "m2 3.5.16"]);
    let mut set = voters(&THREE, 102);
    set.members.get_mut("m2").unwrap().id = EtcdId(22);
    let row = Observed::sighted(Some(row), set, Remembered::default(), at(10), 0);
    assert_eq!(seen(&row), ["m1 3.6.1"]);
    let mut old = serde_json::to_value(&row).unwrap();
    old.as_object_mut().unwrap().remove("versions");
    let old: Observed = serde_json::from_value(old).unwrap();
    assert!(
        old.versions.is_empty() && old.epoch == row.epoch,
        "a row from before it was kept reads"
    );
}

#[test]
fn sightings_are_kept_for_ten_minutes() {
    let seen: Vec<_> = (0..100).map(|n| (n * 10, 100 + n)).collect();
    assert_eq!(sightings(&seen).recent.len(), 61);
}

/// Rows: B14, B15, B16.
#[test]
fn a_loss_record_reads_back() {
    let record = LossRecord {
        id: LossId(uuid::Uuid::nil()),
        cluster: "c1".into(),
        run: RunId(uuid::Uuid::nil()),
        survivor: "m1".into(),
        survivor_id: id("m1"),
        retained_revision: 4242,
        raft_term: 8,
        raft_index: 9000,
        last_seen_revision: Some(4250),
        lower: 8,
        upper: None,
        discarded_entries: Some(1),
        rebuilt: vec![id("m2"), id("m3")],
        at: NOW,
        version: "3.5.16".into(),
        state: LossState::Possible,
    };
    assert!(record.is_open());
    let state = LossState::Acknowledged { by: "ann".into(), reason: "seen".into(), at: at(9) };
    let record = LossRecord { state, ..record };
    let text = serde_json::to_string(&record).unwrap();
    assert!(text.contains(r#""state":{"acknowledged":{"by":"ann","#), "{text}");
    assert_eq!(serde_json::from_str::<LossRecord>(&text).unwrap(), record);
    assert!(!record.is_open());
}
