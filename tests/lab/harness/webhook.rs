//! Webhook bodies: recorded ones with changed labels, and small ones made up.

use std::fs;

use serde_json::{Map, Value, json};

use super::tools::repository;

/// A body as Alertmanager sends it.
#[derive(Clone, Debug)]
pub(crate) struct Webhook {
    body: Value,
}

impl Webhook {
    /// A recorded body: a file of `tests/fixtures/alertmanager`, without `.json`.
    #[track_caller]
    pub(crate) fn fixture(name: &str) -> Self {
        let path = repository(&format!("tests/fixtures/alertmanager/{name}.json"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let recorded: Value = serde_json::from_str(&text).unwrap();
        Self { body: recorded["payload"].clone() }
    }

    /// A body with one alert that fires since `starts_at`.
    pub(crate) fn firing(alertname: &str, starts_at: &str) -> Self {
        let alert = json!({
            "status": "firing", "labels": {"alertname": alertname}, "annotations": {},
            "startsAt": starts_at, "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "",
            "fingerprint": "",
        });
        let body = json!({
            "version": "4", "receiver": "quorate", "status": "firing", "truncatedAlerts": 0,
            "groupKey": format!("{{}}:{{alertname=\"{alertname}\"}}"),
            "groupLabels": {"alertname": alertname}, "commonLabels": {"alertname": alertname},
            "commonAnnotations": {}, "externalURL": "http://alertmanager", "alerts": [alert],
        });
        Self { body }.signed()
    }

    /// Sets a label on every alert.
    pub(crate) fn label(mut self, name: &str, value: &str) -> Self {
        for alert in self.alerts() {
            alert["labels"][name] = json!(value);
        }
        self.body["commonLabels"][name] = json!(value);
        self.signed()
    }

    /// Every alert resolved at `ends_at`.
    pub(crate) fn resolved(mut self, ends_at: &str) -> Self {
        for alert in self.alerts() {
            alert["status"] = json!("resolved");
            alert["endsAt"] = json!(ends_at);
        }
        self.body["status"] = json!("resolved");
        self
    }

    /// The body to send.
    pub(crate) fn body(&self) -> &Value {
        &self.body
    }

    /// Gives every alert the fingerprint that belongs to its labels.
    fn signed(mut self) -> Self {
        for alert in self.alerts() {
            let labels = alert["labels"].as_object().unwrap();
            alert["fingerprint"] = json!(format!("{:016x}", fingerprint(labels)));
        }
        self
    }

    fn alerts(&mut self) -> impl Iterator<Item = &mut Value> {
        self.body["alerts"].as_array_mut().unwrap().iter_mut()
    }
}

/// 64-bit FNV-1a over the sorted labels, as Prometheus does it.
fn fingerprint(labels: &Map<String, Value>) -> u64 {
    let mut pairs: Vec<(&String, &str)> =
        labels.iter().map(|(name, value)| (name, value.as_str().unwrap())).collect();
    pairs.sort_unstable();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for (name, value) in pairs {
        for byte in name.bytes().chain([0xff]).chain(value.bytes()).chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

/// The harness is only as good as its fingerprints.
#[test]
fn a_recorded_body_keeps_its_fingerprints() {
    for name in ["grouped_nodes_sid", "firing_noleader_bookworm", "resolved_insufficient_sid"] {
        let recorded = Webhook::fixture(name);
        assert_eq!(recorded.clone().signed().body(), recorded.body(), "{name}");
    }
}
