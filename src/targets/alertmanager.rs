//! What an Alertmanager has now: which alerts fire, which are suppressed.

use std::collections::BTreeMap;

use reqwest::Client;
use serde::Deserialize;

use super::{AlertState, http::get_api};
use crate::domain::{
    alert::labels::Labels,
    base::time::Time,
    inventory::Endpoint,
    rules::action::{ErrorKind, Failure},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    labels: BTreeMap<String, String>,
    starts_at: Time,
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    state: String,
    #[serde(default)]
    silenced_by: Vec<String>,
    #[serde(default)]
    inhibited_by: Vec<String>,
    /// By a time interval of its route; since 0.28.
    #[serde(default)]
    muted_by: Vec<String>,
}

impl Status {
    /// Whether Alertmanager keeps it from people, for whatever reason: then it repairs nothing.
    fn is_suppressed(&self) -> bool {
        let by = [&self.silenced_by, &self.inhibited_by, &self.muted_by];
        self.state == "suppressed" || by.iter().any(|by| !by.is_empty())
    }
}

/// `GET /api/v2/alerts`: all that it has not let go, silenced and inhibited ones too.
pub(crate) async fn alerts(
    client: &Client,
    endpoint: &Endpoint,
) -> Result<Vec<AlertState>, Failure> {
    let what = format!("asking the Alertmanager {}", super::http::authority(&endpoint.url));
    let body = get_api(client, endpoint, "/api/v2/alerts", &[])
        .await
        .map_err(|silence| silence.failure(&what))?;
    read(&body).map_err(|error| {
        Failure::new(ErrorKind::Other, format!("{what}: its answer cannot be read: {error}"))
    })
}

fn read(body: &[u8]) -> Result<Vec<AlertState>, serde_json::Error> {
    let alerts: Vec<Alert> = serde_json::from_slice(body)?;
    let state = |alert: Alert| AlertState {
        labels: Labels::new(alert.labels),
        starts_at: alert.starts_at,
        silenced: alert.status.is_suppressed(),
    };
    Ok(alerts.into_iter().map(state).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silenced_alerts_are_told_from_firing_ones() {
        let body = br#"[
            {"annotations":{},"endsAt":"2026-11-21T03:40:00.000Z","fingerprint":"a","receivers":[{"name":"q"}],
             "startsAt":"2026-11-21T03:33:52.240Z","status":{"inhibitedBy":[],"silencedBy":[],"mutedBy":[],"state":"active"},
             "updatedAt":"2026-11-21T03:35:52.240Z","generatorURL":"","labels":{"alertname":"etcdNoLeader","cluster":"c1"}},
            {"startsAt":"2026-11-21T03:33:52Z","status":{"silencedBy":["x"],"state":"suppressed"},"labels":{"alertname":"b"}}]"#;
        let alerts = read(body).unwrap();
        assert_eq!(alerts[0].labels.get("cluster"), "c1");
        assert_eq!(alerts[0].starts_at, "2026-11-21T03:33:52.240Z".parse().unwrap());
        assert_eq!((alerts[0].silenced, alerts[1].silenced), (false, true));
    }

    /// Rows: C4.
    #[test]
    fn whatever_suppresses_an_alert_is_told() {
        for (status, suppressed) in [
            (r#"{"state":"active","silencedBy":[],"inhibitedBy":[]}"#, false),
            (r#"{"state":"suppressed","silencedBy":[],"inhibitedBy":["966e533cb049df0b"]}"#, true),
            (r#"{"state":"suppressed","inhibitedBy":[],"mutedBy":["maintenance-window"]}"#, true),
            (r#"{"state":"suppressed"}"#, true),
            (r#"{"state":"active","mutedBy":["night"]}"#, true),
            ("{}", false),
        ] {
            let body = format!(
                r#"[{{"startsAt":"2026-11-24T10:00:00Z","labels":{{"a":"b"}},"status":{status}}}]"#
            );
            assert_eq!(read(body.as_bytes()).unwrap()[0].silenced, suppressed, "{status}");
        }
    }
}
