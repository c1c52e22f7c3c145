//! When an alert stops being context because it was silenced.

use super::*;

fn is_silenced(alerts: &Alerts) -> bool {
    alerts.get(1).unwrap().silenced
}

/// An Alertmanager delivers nothing that it suppresses; the one of the silence may not be asked any
/// more.
#[test]
fn an_alert_that_no_list_calls_silenced_any_more_is_no_longer() {
    let minutes = |n: i64| Time(n * 60_000);
    let mut alerts = Alerts::default();
    deliver(&mut alerts, fires(100), Time(1000));
    // each list says so anew
    for at in [Time(1001), minutes(6)] {
        settle(&mut alerts, [listed("a", 100, true)], at.0);
    }
    assert_eq!(deliver(&mut alerts, fires(100), minutes(10)), REPEAT);
    assert!(is_silenced(&alerts), "this delivery may be late");
    let row = alerts.get(1).unwrap().to_row();
    assert_eq!(deliver(&mut alerts, fires(100), minutes(12)), CHANGED);
    assert!(!is_silenced(&alerts));
    // after a restart it counts from then on
    let back = Alert::from_row(1, &row, minutes(12)).unwrap().filed(OURS);
    let mut back = Alerts::load([back], Bounds::default());
    assert_eq!(deliver(&mut back, fires(100), minutes(13)), REPEAT);
    assert!(is_silenced(&back));
    assert_eq!(deliver(&mut back, fires(100), minutes(18)), CHANGED);
    assert!(!is_silenced(&back));
}

/// The next one is another; where it is silenced, the next list says so.
#[test]
fn a_silence_ends_with_its_episode() {
    let silenced = || {
        let mut alerts = Alerts::default();
        deliver(&mut alerts, fires(100), Time(1000));
        settle(&mut alerts, [listed("a", 100, true)], 1001);
        assert!(is_silenced(&alerts));
        alerts
    };
    let mut alerts = silenced();
    settle(&mut alerts, [], 2001);
    assert!(!is_silenced(&alerts), "it vanished from the list");
    let mut alerts = silenced();
    deliver(&mut alerts, resolves(100, 200), Time(2000));
    assert!(!is_silenced(&alerts), "it was resolved");
}
