//! Lists as tables.

use super::out::table;
use crate::{
    domain::base::time::Time,
    http::views::{AlertView, ClusterView, IncidentView, LossView, RunView},
};

/// What stands for nothing.
pub(super) const NONE: &str = "-";

/// A time to the second: a list is read by people.
pub(super) fn time(at: Time) -> String {
    let text = at.to_string();
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}

pub(super) fn or_none<T: ToString>(value: Option<&T>) -> String {
    value.map_or(NONE.into(), ToString::to_string)
}

/// An upper bound that may not be known.
pub(super) fn bound(upper: Option<u64>) -> String {
    upper.map_or("unknown".into(), |upper| upper.to_string())
}

pub(super) fn clusters(items: &[ClusterView]) -> String {
    let row = |one: &ClusterView| {
        let note = match (&one.paused, &one.blind, &one.open_loss) {
            (Some(pause), ..) => format!("paused by {}: {}", pause.by, pause.reason),
            (None, Some(blind), _) => blind.clone(),
            (None, None, Some(_)) => "a possible loss is not acknowledged".into(),
            (None, None, None) => one.reason.clone(),
        };
        vec![
            one.name.to_string(),
            one.verdict.clone(),
            format!("{}/{}", one.alive, one.voters),
            or_none(one.leader.as_ref()),
            one.mode.clone(),
            or_none(one.run.as_ref()),
            note,
        ]
    };
    let rows: Vec<_> = items.iter().map(row).collect();
    table(&["CLUSTER", "VERDICT", "ALIVE", "LEADER", "MODE", "RUN", "WHY"], &rows)
}

pub(super) fn alerts(items: &[AlertView]) -> String {
    let row = |one: &AlertView| {
        let name = one.labels.get("alertname").map_or(NONE, String::as_str).to_owned();
        let rest = one.labels.iter().filter(|(name, _)| *name != "alertname");
        let rest: Vec<_> = rest.map(|(name, value)| format!("{name}={value:?}")).collect();
        let state = if one.silenced { "silenced".into() } else { one.state.clone() };
        let several = !one.ambiguous.is_empty();
        let cluster = if several { "several".into() } else { or_none(one.cluster.as_ref()) };
        let changed = time(one.changed_at);
        vec![one.fingerprint.clone(), state, cluster, changed, name, rest.join(" ")]
    };
    let rows: Vec<_> = items.iter().map(row).collect();
    table(&["FINGERPRINT", "STATE", "CLUSTER", "SINCE", "ALERT", "LABELS"], &rows)
}

pub(super) fn incidents(items: &[IncidentView]) -> String {
    let row = |one: &IncidentView| {
        let phase = match &one.outcome {
            Some(outcome) => format!("{}: {outcome}", one.phase),
            None => one.phase.clone(),
        };
        let decision = one.decision.as_ref().map(|decision| match &decision.reason {
            Some(reason) => format!("{} ({reason})", decision.action),
            None => decision.action.clone(),
        });
        let subject: Vec<_> = one.subject.iter().map(|(n, v)| format!("{n}={v}")).collect();
        vec![
            one.id.to_string(),
            one.cluster.to_string(),
            if subject.is_empty() { NONE.into() } else { subject.join(" ") },
            one.response.to_string(),
            phase,
            or_none(decision.as_ref()),
            time(one.opened_at),
        ]
    };
    let rows: Vec<_> = items.iter().map(row).collect();
    let head = ["INCIDENT", "CLUSTER", "SUBJECT", "RESPONSE", "PHASE", "DECISION", "OPENED"];
    table(&head, &rows)
}

pub(super) fn runs(items: &[RunView]) -> String {
    let row = |one: &RunView| {
        vec![
            one.id.to_string(),
            one.cluster.to_string(),
            one.playbook.to_string(),
            one.outcome.clone().filter(|o| o != "succeeded").unwrap_or(one.state.clone()),
            time(one.started_at),
            one.finished_at.map_or(NONE.into(), time),
            one.failure.as_ref().map_or(String::new(), |failure| failure.message.clone()),
        ]
    };
    let rows: Vec<_> = items.iter().map(row).collect();
    table(&["RUN", "CLUSTER", "PLAYBOOK", "STATE", "STARTED", "ENDED", "ERROR"], &rows)
}

pub(super) fn losses(items: &[LossView]) -> String {
    let row = |one: &LossView| {
        vec![
            one.id.to_string(),
            one.cluster.to_string(),
            one.state.clone(),
            one.lower.to_string(),
            bound(one.upper),
            one.survivor.to_string(),
            time(one.at),
        ]
    };
    let rows: Vec<_> = items.iter().map(row).collect();
    table(&["LOSS", "CLUSTER", "STATE", "AT LEAST", "AT MOST", "SURVIVOR", "AT"], &rows)
}
