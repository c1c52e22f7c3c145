//! What makes an alert, what changes it, and what it costs.

mod silences;

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;

use super::{
    incoming::NO_TIME,
    known::GROUP_INTERVAL,
    labels::{Labels, fingerprint},
    *,
};
use crate::domain::base::time::Time;

fn labels(name: &str) -> Labels {
    Labels::new([("alertname", name), ("cluster", "c1")])
}

fn fires(starts: i64) -> Incoming {
    Incoming::new(labels("a"), Some(true), Time(starts), Some(NO_TIME), Time(0))
}

fn resolves(starts: i64, ends: i64) -> Incoming {
    Incoming::new(labels("a"), Some(false), Time(starts), Some(Time(ends)), Time(0))
}

/// A delivery of this alert alone.
fn deliver(alerts: &mut Alerts, incoming: Incoming, now: Time) -> Seen {
    observe(alerts, &mut Delivery::at(now), incoming)
}

fn observe(alerts: &mut Alerts, delivery: &mut Delivery, incoming: Incoming) -> Seen {
    alerts.observe(delivery, incoming, |_| OURS).unwrap().seen
}

/// The cluster that most alerts here belong to.
const OURS: OwnerId = OwnerId(0);

/// What changed by a list of what fires there, asked for one millisecond before.
fn settle<const N: usize>(alerts: &mut Alerts, listed: [Incoming; N], now: i64) -> Vec<Seen> {
    let (asked, now) = (Time(now - 1), Time(now));
    let mut delivery = Delivery::at(now);
    let mut folds = Vec::new();
    for incoming in listed {
        folds.push(alerts.list(&mut delivery, incoming, |_| OURS, asked).unwrap());
    }
    let present: Vec<i64> = folds.iter().map(|fold| fold.alert.id).collect();
    let missing: Vec<i64> = alerts.owned_by(OURS, None).map(|(key, _)| key.id).collect();
    for id in missing.into_iter().filter(|id| !present.contains(id)) {
        folds.extend(alerts.vanish(id, asked, now));
    }
    folds.into_iter().map(|fold| fold.seen).filter(|seen| seen.is_to_write()).collect()
}

/// Folds deliveries, one per millisecond from 1000 on, and compares what each was.
#[track_caller]
fn check(deliveries: Vec<(Incoming, Seen)>, firing: bool) -> Alerts {
    let mut alerts = Alerts::default();
    for (now, (incoming, expected)) in (1000..).zip(deliveries) {
        let (row, text) = (alerts.get(1).map(|alert| alert.to_row()), format!("{incoming:?}"));
        let seen = deliver(&mut alerts, incoming, Time(now));
        assert_eq!(seen, expected, "{text}");
        if !seen.is_to_write() && seen == Seen::OldNews(1) {
            assert_eq!(alerts.get(1).map(|alert| alert.to_row()), row, "{text}");
        }
    }
    assert_eq!(alerts.get(1).unwrap().firing, firing);
    assert_eq!(alerts.len(), 1);
    alerts
}

const NEW: Seen = Seen::New(1);
const CHANGED: Seen = Seen::Changed(1);
const REPEAT: Seen = Seen::Repeat(1);
const OLD: Seen = Seen::OldNews(1);

/// Real label sets and the fingerprints that Alertmanager sent with them.
#[test]
fn fingerprints_are_those_of_alertmanager() {
    let etcd = |name: &'static str, instance: &'static str, severity: &'static str| {
        Labels::new([
            ("alertname", name),
            ("cluster", "lab"),
            ("instance", instance),
            ("job", "etcd"),
            ("region", "lab1"),
            ("severity", severity),
        ])
    };
    let node = |node: &'static str| {
        let name = ("alertname", "KubeNodeNotReady");
        Labels::new([name, ("cluster", "lab"), ("node", node), ("severity", "warning")])
    };
    let kubelet = |node: &'static str| {
        let name = ("alertname", "kubeletDown");
        Labels::new([("test", "trunc"), ("severity", "critical"), ("node", node), name])
    };
    for (print, labels) in [
        (0x36f3_6c39_c310_9b06, etcd("etcdInsufficientMembers", "", "critical")),
        (0x7b1c_666f_d3b6_9111, etcd("etcdNoLeader", "127.0.0.1:25790", "critical")),
        (0x6556_2c37_360d_84f3, etcd("etcdMembersDown", "127.0.0.1:25800", "warning")),
        (0xc9b0_134c_b545_ecbc, etcd("etcdMembersDown", "127.0.0.1:25810", "warning")),
        (0x576e_4112_dd98_3131, node("n0")),
        (0xa9b3_6edf_3944_1966, node("n1")),
        (0x570c_f988_a456_a433, node("n2")),
        (0xbeb8_d1d8_eb3b_3b20, node("n3")),
        (0xcc75_720f_9ec8_dfe8, kubelet("n0")),
        (0x8d1b_6f7b_f60b_c8f7, kubelet("n1")),
    ] {
        assert_eq!(fingerprint(&labels), print, "{labels}");
    }
}

#[test]
fn a_repeat_writes_nothing() {
    let alerts = check(vec![(fires(100), NEW), (fires(100), REPEAT), (fires(100), REPEAT)], true);
    let alert = alerts.get(1).unwrap();
    assert_eq!((alert.changed_at, alert.seen_at), (Time(1000), Time(1002)));
}

#[test]
fn a_resolve_ends_it_and_what_began_no_later_is_old_news() {
    check(
        vec![
            (fires(100), NEW),
            (resolves(100, 200), CHANGED),
            (resolves(100, 200), REPEAT),
            (fires(100), OLD),
            (resolves(100, 200), REPEAT),
            (fires(200), OLD),
            (resolves(100, 200), REPEAT),
            (fires(201), CHANGED),
            (fires(100), REPEAT),
            (resolves(100, 200), OLD),
            (resolves(201, 300), CHANGED),
        ],
        false,
    );
}

#[test]
fn a_resolve_without_prior_firing_is_kept_quietly() {
    let alerts = check(vec![(resolves(100, 200), NEW), (fires(150), OLD)], false);
    assert_eq!(alerts.get(1).unwrap().ends_at, Some(Time(200)));
}

#[test]
fn fire_resolve_fire_goes_on_firing_where_the_resolve_was_never_seen() {
    let alerts =
        check(vec![(fires(100), NEW), (fires(500), REPEAT), (resolves(500, 600), CHANGED)], false);
    assert_eq!(alerts.get(1).unwrap().starts_at, Time(100));
}

/// Pairs of Prometheus and Alertmanager disagree on the start: the earliest counts, without a write.
#[test]
fn of_several_starts_the_earliest_counts() {
    let alerts = check(vec![(fires(110), NEW), (fires(100), REPEAT), (fires(120), REPEAT)], true);
    assert_eq!(alerts.get(1).unwrap().starts_at, Time(100));
}

#[test]
fn three_senders_may_interleave() {
    let alerts = check(
        vec![
            (fires(100), NEW),
            (fires(101), REPEAT),
            (resolves(100, 200), CHANGED),
            (fires(101), OLD),
            (fires(300), CHANGED),
            (resolves(101, 200), OLD),
            (fires(100), REPEAT),
            (fires(301), REPEAT),
            (resolves(300, 400), CHANGED),
            (resolves(301, 402), CHANGED),
            (resolves(300, 400), REPEAT),
            (fires(402), OLD),
        ],
        false,
    );
    assert_eq!(alerts.get(1).unwrap().ends_at, Some(Time(402)));
}

#[test]
fn the_status_is_the_alerts_own_and_no_end_means_firing() {
    let read = |status, end: Option<&str>| {
        let end = end.map(|end| end.parse().unwrap());
        let incoming = Incoming::new(labels("a"), status, Time(5), end, Time(1_000_000));
        (incoming.firing, incoming.ends_at)
    };
    let (zero, past, future) =
        (Some("0001-01-01T00:00:00Z"), Some("1970-01-01T00:00:01Z"), Some("1971-01-01T00:00:00Z"));
    assert_eq!(read(None, None), (true, None));
    assert_eq!(read(None, zero), (true, None));
    assert_eq!(read(None, future), (true, None));
    assert_eq!(read(None, past), (false, Some(Time(1000))));
    assert_eq!(read(Some(true), zero), (true, None));
    assert_eq!(read(Some(false), past), (false, Some(Time(1000))));
    assert_eq!(read(Some(false), zero), (false, Some(Time(1_000_000))));
}

fn listed(name: &str, starts: i64, silenced: bool) -> Incoming {
    let incoming = Incoming::new(labels(name), None, Time(starts), None, Time(0));
    Incoming { silenced: Some(silenced), ..incoming }
}

#[test]
fn a_list_settles_what_fires_and_what_is_silenced() {
    let mut alerts = Alerts::default();
    let owner = |labels: &Labels| OwnerId(u32::from(labels.get("alertname") == "other"));
    for name in ["a", "gone", "other", "late"] {
        let (mut delivery, incoming) =
            (Delivery::at(Time(1000)), Incoming { labels: labels(name), ..fires(100) });
        alerts.observe(&mut delivery, incoming, owner).unwrap();
    }
    deliver(&mut alerts, Incoming { labels: labels("late"), ..fires(100) }, Time(2001));
    let list = || [listed("a", 100, true), listed("lacking", 50, false)];
    let changes = settle(&mut alerts, list(), 2002);
    assert_eq!(changes, [Seen::Changed(1), Seen::New(5), Seen::Changed(2)]);
    let firing: Vec<_> = [1, 2, 3, 4, 5].map(|id| alerts.get(id).unwrap().firing).into();
    assert_eq!(firing, [true, false, true, true, true]);
    assert!(alerts.get(1).unwrap().silenced);
    deliver(&mut alerts, Incoming { labels: labels("late"), ..fires(100) }, Time(3001));
    assert!(settle(&mut alerts, list(), 3001).is_empty());
    assert_eq!(deliver(&mut alerts, fires(100), Time(4000)), REPEAT);
    assert!(alerts.get(1).unwrap().silenced, "a webhook that is soon may be late");
}

/// An Alertmanager that restarts forgets its alerts; what fires again with the old start is news.
#[test]
fn what_a_list_lacked_may_fire_again_with_the_same_start() {
    let mut alerts = Alerts::default();
    deliver(&mut alerts, fires(100), Time(1000));
    assert_eq!(settle(&mut alerts, [], 2001), [CHANGED]);
    assert_eq!(deliver(&mut alerts, fires(100), Time(3000)), CHANGED);
}

#[test]
fn a_list_overrules_a_resolve_that_is_older_than_it() {
    let mut alerts = Alerts::default();
    deliver(&mut alerts, fires(100), Time(1000));
    deliver(&mut alerts, resolves(100, 200), Time(2000));
    let list = || [listed("a", 100, false)];
    assert!(settle(&mut alerts, list(), 2001).is_empty());
    assert_eq!(settle(&mut alerts, list(), 2501), [CHANGED]);
    assert!(alerts.get(1).unwrap().firing && alerts.get(1).unwrap().is_context());
    assert_eq!(deliver(&mut alerts, fires(100), Time(3000)), CHANGED);
    assert_eq!(deliver(&mut alerts, fires(100), Time(3001)), REPEAT);
}

#[test]
fn old_alerts_are_forgotten() {
    let mut alerts = Alerts::default();
    deliver(&mut alerts, fires(100), Time(1000));
    deliver(&mut alerts, Incoming { labels: labels("b"), ..resolves(100, 200) }, Time(1000));
    let expire = |alerts: &mut Alerts, now| {
        let (old, _) = alerts.expired(None, 10, Time(now), Duration::from_millis(10));
        for id in &old {
            alerts.forget(*id);
        }
        old
    };
    assert!(expire(&mut alerts, 1010).is_empty());
    deliver(&mut alerts, fires(100), Time(1005));
    deliver(&mut alerts, Incoming { labels: labels("b"), ..resolves(100, 200) }, Time(1005));
    assert_eq!(expire(&mut alerts, 1011), [2]);
    assert_eq!((alerts.get(2), alerts.len()), (None, 1));
    assert_eq!(expire(&mut alerts, 1016), [1]);
    assert!(alerts.is_empty());
}

#[test]
fn rows_read_back_and_numbers_go_on() {
    let mut alerts = Alerts::default();
    for incoming in [fires(100), resolves(100, 200)] {
        deliver(&mut alerts, incoming, Time(1000));
    }
    let new = labels("n");
    let labels = Labels::new([("alertname", "x\n\"'$(reboot)"), ("größe", "../é")]);
    deliver(&mut alerts, Incoming { labels, silenced: Some(true), ..fires(7) }, Time(1001));
    let rows: Vec<_> = alerts.iter().map(|alert| (alert.id, alert.to_row())).collect();
    let read = |(id, row): &(i64, Vec<u8>)| Alert::from_row(*id, row, Time(9000)).unwrap();
    let mut back = Alerts::load(rows.iter().map(|row| read(row).filed(OURS)), Bounds::default());
    for alert in alerts.iter() {
        let (seen_at, silenced_at) = (Time(9000), Time(9000));
        let expected = Alert { seen_at, silenced_at, ..Alert::clone(alert) };
        assert_eq!(back.get(alert.id).map(|alert| &**alert), Some(&expected));
        assert_eq!(back.find(&alert.labels).unwrap().id, alert.id);
        assert_eq!(back.by_fingerprint(alert.fingerprint()).count(), 1);
    }
    assert_eq!(deliver(&mut back, Incoming { labels: new, ..fires(1) }, Time(1)), Seen::New(3));
    assert!(Alert::from_row(4, b"{}", Time(0)).is_err());
}

/// A million alerts of seven labels stay below 400 MB.
#[test]
fn an_alert_of_seven_labels_takes_at_most_400_bytes() {
    let labels = Labels::new([
        ("alertname", "etcdInsufficientMembers"),
        ("cluster", "prod-eu-central-1"),
        ("instance", "10.20.30.40:2379"),
        ("job", "kube-etcd"),
        ("namespace", "kube-system"),
        ("prometheus", "monitoring/k8s"),
        ("severity", "critical"),
    ]);
    assert_eq!(labels.len(), 7);
    // Its own shared block: two counters, and what the allocator adds.
    let block = size_of::<Alert>() + 16 + 8;
    // Its entries in the maps by key, by number and by owner; nodes of a B-tree are half full at worst.
    let entries = size_of::<(Key, Arc<Alert>)>() + size_of::<(i64, u64)>() + size_of::<Key>();
    let bytes = labels.bytes() + block + entries * 2;
    assert!(
        bytes <= 400,
        "{bytes} bytes: {} labels, {block} block, {entries} entries",
        labels.bytes()
    );
    assert!(block + entries <= ALERT_BYTES);
}

/// Prometheus skipped some sends and Alertmanager's deadline ended the alert, but its condition never
/// ended: it fires again with the old start, and is repeated for ever.
/// Rows: A5.
#[test]
fn a_firing_that_is_repeated_after_a_resolve_fires_again_whatever_its_start() {
    let alerts = check(
        vec![
            (fires(100), NEW),
            (resolves(100, 900), CHANGED),
            (fires(100), OLD),
            (fires(100), CHANGED),
        ],
        true,
    );
    let alert = alerts.get(1).unwrap();
    assert_eq!((alert.starts_at, alert.ends_at), (Time(100), Some(Time(900))));
    // the resolve of before, from the other sender, is old; one that ends later is not
    let mut alerts = alerts;
    assert_eq!(deliver(&mut alerts, resolves(101, 900), Time(2000)), OLD);
    assert_eq!(deliver(&mut alerts, resolves(100, 1999), Time(2001)), CHANGED);
}

#[test]
fn a_firing_that_comes_a_group_interval_after_the_resolve_is_no_straggler() {
    for (later, expected) in [(0, OLD), (1, CHANGED)] {
        let mut alerts = check(vec![(fires(100), NEW), (resolves(100, 900), CHANGED)], false);
        let at = Time(1001 + later).after(GROUP_INTERVAL);
        assert_eq!(deliver(&mut alerts, fires(100), at), expected);
    }
}

#[test]
fn what_stands_twice_in_one_delivery_is_one_delivery() {
    let mut alerts = check(vec![(fires(100), NEW), (resolves(100, 900), CHANGED)], false);
    let mut delivery = Delivery::at(Time(2000));
    for _ in 0..3 {
        assert_eq!(observe(&mut alerts, &mut delivery, fires(100)), OLD);
    }
    assert_eq!(deliver(&mut alerts, fires(100), Time(2000)), CHANGED);
}

/// The sender's clock is ahead, or it says when the alert would lapse.
#[test]
fn an_end_that_lies_ahead_keeps_no_later_firing_from_firing() {
    const AHEAD: i64 = 9_000_000_000_000;
    let alerts = check(
        vec![(fires(100), NEW), (resolves(100, AHEAD), CHANGED), (fires(1002), CHANGED)],
        true,
    );
    assert_eq!(alerts.get(1).unwrap().ends_at, Some(Time(1001)));
    let alerts = check(vec![(resolves(100, AHEAD), NEW), (fires(1001), CHANGED)], true);
    assert_eq!(alerts.get(1).unwrap().ends_at, Some(Time(1000)));
    let row = br#"{"labels":{"a":"b"},"firing":false,"starts_at":"2026-11-24T10:00:00Z",
        "ends_at":"2400-01-01T00:00:00Z","changed_at":"2026-11-24T10:00:00Z"}"#;
    assert_eq!(Alert::from_row(1, row, Time(5)).unwrap().ends_at, Some(Time(5)));
}

/// With a sender's clock that is ahead of another's, an end may lie before the start.
#[test]
fn a_resolve_that_ends_before_its_start_resolves() {
    check(vec![(fires(5000), NEW), (resolves(5000, 4000), CHANGED)], false);
}

#[test]
fn what_only_a_list_shows_is_context_until_a_webhook_delivers_it() {
    let mut alerts = Alerts::default();
    let list = |silenced| [listed("a", 100, silenced)];
    let context = |alerts: &Alerts| alerts.get(1).unwrap().is_context();
    assert_eq!(settle(&mut alerts, list(false), 1001), [NEW]);
    assert!(alerts.get(1).unwrap().firing && context(&alerts));
    let row = alerts.get(1).unwrap().to_row();
    assert!(!Alert::from_row(1, &row, Time(0)).unwrap().delivered, "it is kept");
    assert_eq!(deliver(&mut alerts, fires(100), Time(1002)), CHANGED);
    assert!(!context(&alerts));
    assert!(settle(&mut alerts, list(false), 2001).is_empty());
    assert!(!context(&alerts));
    assert_eq!(settle(&mut alerts, list(true), 3001), [CHANGED]);
    assert!(context(&alerts), "suppressed");
}

/// A muted alert of an Alertmanager before 0.28 looks active; its last episode was delivered.
#[test]
fn a_delivery_counts_until_the_next_resolve() {
    let mut alerts = check(vec![(fires(100), NEW), (resolves(100, 900), CHANGED)], false);
    let list = || [listed("a", 1500, false)];
    assert_eq!(settle(&mut alerts, list(), 2001), [CHANGED]);
    assert!(alerts.get(1).unwrap().firing && alerts.get(1).unwrap().is_context());
    assert_eq!(deliver(&mut alerts, fires(1500), Time(2002)), CHANGED);
    assert!(!alerts.get(1).unwrap().is_context());
    // an Alertmanager that restarted lists nothing for a while and delivers nothing again
    assert_eq!(settle(&mut alerts, [], 3001), [CHANGED]);
    assert_eq!(settle(&mut alerts, list(), 4001), [CHANGED]);
    assert!(!alerts.get(1).unwrap().is_context());
    // a delivery that was held back as old news is a delivery all the same
    assert_eq!(deliver(&mut alerts, resolves(1500, 4500), Time(5000)), CHANGED);
    assert_eq!(deliver(&mut alerts, fires(1500), Time(5001)), OLD);
    assert_eq!(settle(&mut alerts, list(), 6001), [CHANGED]);
    assert!(!alerts.get(1).unwrap().is_context());
}

#[test]
fn a_row_of_a_version_that_did_not_say_was_delivered() {
    let row = br#"{"labels":{"a":"b"},"firing":true,"starts_at":"2026-11-24T10:00:00Z",
        "changed_at":"2026-11-24T10:00:00Z"}"#;
    assert!(!Alert::from_row(1, row, Time(0)).unwrap().is_context());
}

proptest! {
    /// In whatever order and how often deliveries come, there is one alert, a third delivery of the
    /// same writes nothing, and nothing that is to be kept changes without a write.
    #[test]
    fn no_order_of_deliveries_loses_or_doubles_an_alert(
        deliveries in prop::collection::vec((0..20_i64, prop::option::of(0..10_i64)), 1..40)
    ) {
        let mut alerts = Alerts::default();
        for (now, (start, lasted)) in (1000..).zip(deliveries) {
            let incoming = lasted.map_or_else(|| fires(start), |lasted| resolves(start, start + lasted));
            let kept = |alert: &Alert| (alert.firing, alert.ends_at, alert.changed_at, alert.delivered);
            let before = alerts.get(1).map(|alert| kept(alert));
            let seen = deliver(&mut alerts, incoming.clone(), Time(now));
            let after = alerts.get(1).map(|alert| kept(alert));
            prop_assert_eq!(before == after, !seen.is_to_write());
            deliver(&mut alerts, incoming.clone(), Time(now));
            prop_assert!(!deliver(&mut alerts, incoming, Time(now)).is_to_write());
        }
        prop_assert_eq!(alerts.len(), 1);
    }

    /// What some sender goes on calling firing fires, whatever was said before.
    #[test]
    fn an_alert_that_is_repeated_as_firing_fires(
        before in prop::collection::vec((0..20_i64, prop::option::of(0..9_000_000_000_000_i64)), 0..20),
        start in 0..20_i64,
    ) {
        let mut alerts = Alerts::default();
        for (now, (start, lasted)) in (1000..).zip(before) {
            let incoming = lasted.map_or_else(|| fires(start), |lasted| resolves(start, start + lasted));
            deliver(&mut alerts, incoming, Time(now));
        }
        deliver(&mut alerts, fires(start), Time(2000));
        deliver(&mut alerts, fires(start), Time(2001));
        prop_assert!(alerts.get(1).unwrap().firing && !alerts.get(1).unwrap().is_context());
    }
}
