//! What is kept beside the alerts follows them, whatever happens; bounds hold; a roll-back is exact.

use proptest::prelude::*;

use super::*;

const OURS: OwnerId = OwnerId(0);

fn owner(labels: &Labels) -> OwnerId {
    if labels.get("cluster").is_empty() { OwnerId::NONE } else { OURS }
}

fn incoming(name: usize, matched: bool, firing: bool, starts: i64) -> Incoming {
    let cluster = if matched { "c1" } else { "" };
    Incoming {
        labels: Labels::new([("alertname", format!("a{name}").as_str()), ("cluster", cluster)]),
        firing,
        starts_at: Time(starts),
        ends_at: (!firing).then_some(Time(starts + 1)),
        silenced: None,
    }
}

/// What was done, so that it can be taken back.
type Log = Vec<(i64, Option<Arc<Alert>>)>;

fn observe(alerts: &mut Alerts, incoming: Incoming, now: i64, log: &mut Log) -> Result<(), Full> {
    let mut delivery = Delivery::at(Time(now));
    let fold = alerts.observe(&mut delivery, incoming, owner);
    let forgotten = delivery.forgotten.into_iter();
    log.extend(forgotten.map(|alert| (alert.id, Some(alert))));
    let fold = fold?;
    log.push((fold.alert.id, fold.before));
    Ok(())
}

fn bounded(count: usize) -> Alerts {
    Alerts::load([], Bounds { alerts: count, bytes: usize::MAX })
}

fn names(alerts: &Alerts) -> Vec<String> {
    let mut names: Vec<_> = alerts.iter().map(|a| a.labels.get("alertname").to_owned()).collect();
    names.sort();
    names
}

#[test]
fn the_oldest_resolved_alert_is_forgotten_first_and_then_nothing() {
    let (mut alerts, mut log) = (bounded(4), Log::new());
    for (name, firing) in [(0, true), (1, false), (2, false), (3, true)] {
        observe(&mut alerts, incoming(name, true, firing, 10), 100, &mut log).unwrap();
    }
    // resolved again, so 2 is the older one now
    observe(&mut alerts, incoming(1, true, true, 20), 101, &mut log).unwrap();
    observe(&mut alerts, incoming(1, true, false, 30), 102, &mut log).unwrap();
    observe(&mut alerts, incoming(4, true, true, 40), 103, &mut log).unwrap();
    assert_eq!(names(&alerts), ["a0", "a1", "a3", "a4"]);
    observe(&mut alerts, incoming(5, true, true, 40), 104, &mut log).unwrap();
    assert_eq!(names(&alerts), ["a0", "a3", "a4", "a5"]);
    let full = observe(&mut alerts, incoming(6, true, true, 40), 105, &mut log);
    assert_eq!(full, Err(Full { unmatched: false }));
    assert_eq!(names(&alerts), ["a0", "a3", "a4", "a5"]);
    // what is known is always followed
    observe(&mut alerts, incoming(0, true, false, 50), 106, &mut log).unwrap();
    observe(&mut alerts, incoming(6, true, true, 60), 107, &mut log).unwrap();
    assert_eq!(names(&alerts), ["a3", "a4", "a5", "a6"]);
}

#[test]
fn what_no_cluster_owns_cannot_shut_out_what_one_does() {
    let (mut alerts, mut log) = (bounded(8), Log::new());
    for name in 0..6 {
        observe(&mut alerts, incoming(name, false, true, 10), 100, &mut log).unwrap();
    }
    let full = observe(&mut alerts, incoming(6, false, true, 10), 101, &mut log);
    assert_eq!(full, Err(Full { unmatched: true }));
    for name in 10..12 {
        observe(&mut alerts, incoming(name, true, false, 10), 102, &mut log).unwrap();
    }
    // a resolved alert of a cluster is not forgotten for garbage
    observe(&mut alerts, incoming(0, false, false, 20), 103, &mut log).unwrap();
    observe(&mut alerts, incoming(7, false, true, 20), 104, &mut log).unwrap();
    let full = observe(&mut alerts, incoming(8, false, true, 20), 105, &mut log);
    assert_eq!(full, Err(Full { unmatched: true }));
    // but garbage is for it
    observe(&mut alerts, incoming(1, false, false, 30), 101, &mut log).unwrap();
    observe(&mut alerts, incoming(12, true, true, 30), 106, &mut log).unwrap();
    assert_eq!(names(&alerts), ["a10", "a11", "a12", "a2", "a3", "a4", "a5", "a7"]);
}

#[test]
fn bytes_are_bounded_as_well() {
    let one = incoming(0, true, true, 10).labels.bytes() + super::super::ALERT_BYTES;
    let bounds = Bounds { alerts: usize::MAX, bytes: one * 2 };
    let (mut alerts, mut log) = (Alerts::load([], bounds), Log::new());
    for name in 0..2 {
        observe(&mut alerts, incoming(name, true, true, 10), 100, &mut log).unwrap();
    }
    assert_eq!(alerts.counts().bytes, one * 2);
    let full = observe(&mut alerts, incoming(2, true, true, 10), 101, &mut log);
    assert_eq!(full, Err(Full { unmatched: false }));
}

#[test]
fn an_alert_that_changes_its_owner_is_counted_and_found_there() {
    let (mut alerts, mut log) = (Alerts::default(), Log::new());
    observe(&mut alerts, incoming(0, false, true, 10), 100, &mut log).unwrap();
    assert_eq!(alerts.counts().unmatched, 1);
    assert_eq!(alerts.assign(1, OURS), Some(OwnerId::NONE));
    assert_eq!(alerts.assign(1, OURS), None);
    assert_eq!(alerts.counts().unmatched, 0);
    assert_eq!(alerts.owned_by(OURS, None).count(), 1);
    assert_eq!(alerts.owners().collect::<Vec<_>>(), [OURS]);
    assert_eq!(alerts.owned_by(OwnerId::NONE, None).count(), 0);
}

/// All that can be seen of a table.
fn picture(alerts: &Alerts) -> impl PartialEq + std::fmt::Debug + use<> {
    let of = |owner| alerts.owned_by(owner, None).map(|(key, _)| key).collect::<Vec<_>>();
    let all: Vec<_> = alerts.iter().map(|alert| Alert::clone(alert)).collect();
    (all, of(OURS), of(OwnerId::NONE), alerts.counts())
}

/// The counts by counting.
fn counted(alerts: &Alerts) -> Counts {
    let mut counts = Counts::default();
    for alert in alerts.iter() {
        counts.firing += usize::from(alert.firing);
        counts.resolved += usize::from(!alert.firing);
        counts.unmatched += usize::from(alert.owner() == OwnerId::NONE);
        counts.bytes += alert.labels.bytes() + super::super::ALERT_BYTES;
    }
    counts
}

proptest! {
    /// Whatever is folded, counts and indexes are right; taken back in reverse order, everything is
    /// as it was.
    #[test]
    fn a_roll_back_in_reverse_order_is_exact(
        first in prop::collection::vec((0..8_usize, any::<bool>(), any::<bool>(), 0..40_i64), 0..30),
        then in prop::collection::vec((0..8_usize, any::<bool>(), any::<bool>(), 0..40_i64), 0..30),
        most in 1..10_usize,
    ) {
        let mut alerts = bounded(most);
        for (now, (name, matched, firing, starts)) in (100..).zip(first) {
            observe(&mut alerts, incoming(name, matched, firing, starts), now, &mut Log::new()).ok();
        }
        let (before, mut log) = (picture(&alerts), Log::new());
        for (now, (name, matched, firing, starts)) in (200..).zip(then) {
            observe(&mut alerts, incoming(name, matched, firing, starts), now, &mut log).ok();
            prop_assert_eq!(alerts.counts(), counted(&alerts));
            prop_assert!(alerts.len() <= most);
        }
        for (id, version) in log.into_iter().rev() {
            alerts.restore(id, version.as_ref());
        }
        prop_assert_eq!(alerts.counts(), counted(&alerts));
        prop_assert!(picture(&alerts) == before);
        let rows = alerts.iter().map(|alert| Alert::clone(alert).filed(owner(&alert.labels)));
        let back = Alerts::load(rows, Bounds::default());
        prop_assert_eq!(picture(&back), before);
    }
}
