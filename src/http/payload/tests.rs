//! Bodies, right and wrong.

use proptest::prelude::*;
use serde_json::json;

use super::{ALERTS_MAX, Delivery, LABELS_MAX, parse};
use crate::domain::{alert::Incoming, base::time::Time};

const NOW: Time = Time(1_795_000_000_000);

fn read(body: &serde_json::Value) -> Delivery {
    parse(body.to_string().as_bytes(), NOW).unwrap()
}

#[track_caller]
fn one(alert: &serde_json::Value) -> Result<Incoming, (&'static str, String)> {
    let mut delivery = read(&json!({"version": "4", "alerts": [alert]}));
    let wrong = delivery.invalid.pop().map(|wrong| (wrong.field, wrong.message));
    delivery.alerts.pop().ok_or_else(|| wrong.unwrap())
}

#[test]
fn times_may_carry_an_offset_and_nanoseconds_and_the_year_one_is_no_end() {
    let mut alert = json!({
        "status": "firing", "labels": {"alertname": "x"},
        "startsAt": "2026-11-21T04:37:48.879866540+01:00", "endsAt": "0001-01-01T00:00:00Z",
    });
    let read = one(&alert).unwrap();
    assert_eq!(read.starts_at.to_string(), "2026-11-21T03:37:48.879Z");
    assert_eq!((read.firing, read.ends_at), (true, None));
    alert["status"] = json!("resolved");
    assert_eq!(one(&alert).unwrap().ends_at, Some(NOW), "a resolve without an end ends now");
    alert["endsAt"] = json!("2026-11-21T05:00:00-01:00");
    assert_eq!(one(&alert).unwrap().ends_at.unwrap().to_string(), "2026-11-21T06:00:00.000Z");
}

#[test]
fn unknown_fields_escapes_and_repeated_keys_are_no_trouble() {
    let body = r#"{"later": {"x": [1, null, {"y": 1e3}]}, "alerts": [{"v\u0061lues": {"A": 1},
        "status": "resolved", "st\u0061tus": "firing", "startsAt": "2026-11-21T03:37:48Z",
        "labels": {"a\n": "b\u00e9", "a": "1", "a": "2"}, "orgId": -1, "imageURL": true}],
        "truncatedAlerts": 7, "version": "4"}"#;
    let delivery = parse(body.as_bytes(), NOW).unwrap().checked().unwrap();
    assert_eq!(delivery.truncated, 7);
    assert_eq!(
        delivery.alerts[0].labels.to_string(),
        r#"{a="2", a
="bé"}"#
            .replace("\\n", "\n")
    );
    assert!(delivery.alerts[0].firing);
}

#[test]
fn the_alert_speaks_for_itself_whatever_its_group_says() {
    let alert =
        json!({"status": "firing", "labels": {"a": "b"}, "startsAt": "2026-11-21T03:37:48Z"});
    let delivery = read(&json!({"version": "4", "status": "resolved", "alerts": [alert]}));
    assert!(delivery.alerts[0].firing);
}

#[test]
fn one_more_than_the_bounds_is_too_many() {
    let labels = |count: usize| {
        let labels = (0..count).map(|n| (format!("l{n}"), json!("x")));
        let labels: serde_json::Map<_, _> = labels.collect();
        one(&json!({"status": "firing", "labels": labels, "startsAt": "2026-11-21T03:37:48Z"}))
    };
    assert_eq!(labels(LABELS_MAX).unwrap().labels.len(), LABELS_MAX);
    assert_eq!(labels(LABELS_MAX + 1).unwrap_err().0, "labels");
    for (count, fits) in [(ALERTS_MAX, true), (ALERTS_MAX + 1, false)] {
        let body = json!({"version": "4", "alerts": vec![json!(1); count]});
        assert_eq!(read(&body).checked().is_ok(), fits, "{count}");
    }
}

#[test]
fn a_body_nested_without_end_is_refused() {
    let deep = format!("{{\"x\": {}", "[".repeat(100_000));
    assert!(parse(deep.as_bytes(), NOW).is_err());
}

proptest! {
    #[test]
    fn no_body_is_a_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(parse(&body, NOW));
    }

    #[test]
    fn a_value_of_any_type_anywhere_spoils_one_alert_at_most(
        value in prop::sample::select(vec!["null", "1", "-1.5", "true", "[]", "{}", "\"x\"", "[{}]"]),
        field in prop::sample::select(vec!["status", "labels", "startsAt", "endsAt", "annotations"]),
    ) {
        let body = format!(
            r#"{{"version": "4", "alerts": [{{"{field}": {value}}}, {{"status": "firing",
            "labels": {{"a": "b"}}, "startsAt": "2026-11-21T03:37:48Z"}}]}}"#
        );
        let delivery = parse(body.as_bytes(), NOW).unwrap();
        prop_assert_eq!(delivery.alerts.len(), 1);
        prop_assert_eq!(delivery.invalid.len(), 1);
    }
}
