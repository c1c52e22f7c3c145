//! An incident: what it is about, where it stands, what was decided and why.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::pairs;
use crate::domain::{
    base::{
        id::{ClusterName, IncidentId, PlaybookName, ResponseName, RunId},
        time::Time,
    },
    cell::Cell,
    incident::{Incident, correlation::Signal},
};

/// An incident.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IncidentView {
    /// Its id.
    pub id: IncidentId,
    /// The cluster.
    pub cluster: ClusterName,
    /// The response.
    pub response: ResponseName,
    /// The values of the response's subject labels other than `cluster`.
    pub subject: BTreeMap<String, String>,
    /// `pending`, `confirmed`, `repairing`, `quarantine` or `closed`.
    pub phase: String,
    /// How it ended.
    pub outcome: Option<String>,
    /// When it was opened.
    pub opened_at: Time,
    /// When it was confirmed, while it is.
    pub confirmed_at: Option<Time>,
    /// When it was closed.
    pub closed_at: Option<Time>,
    /// The decision in force.
    pub decision: Option<DecisionView>,
    /// When the grace would be over, while the verdict holds and is not confirmed yet.
    pub grace_until: Option<Time>,
    /// The runs that answered it.
    pub runs: Vec<RunLink>,
    /// The labels of the alert that opened it; only where one incident is asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub alert: BTreeMap<String, String>,
    /// Its signals now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<SignalView>,
    /// What happened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub timeline: Vec<Line>,
}

/// A decision.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DecisionView {
    /// `run`, `wait`, `skip`, `ask` or `escalate`.
    pub action: String,
    /// Why not to act.
    pub reason: Option<String>,
    /// What a person reads.
    pub text: String,
    /// Since when it stands.
    pub at: Option<Time>,
    /// When it is looked at again, of `wait`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

/// A run of an incident.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunLink {
    /// Its id.
    pub id: RunId,
    /// Its playbook.
    pub playbook: PlaybookName,
    /// How it ended.
    pub outcome: Option<String>,
}

/// A signal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SignalView {
    /// Its name in the response.
    pub name: String,
    /// Alerts that fire.
    pub firing: usize,
    /// Alerts that fire and are silenced.
    pub silenced: usize,
    /// Alerts that resolved a while ago.
    pub resolved: usize,
    /// When the first of those that fire began to.
    pub since: Option<Time>,
}

/// A line of a timeline.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// When.
    pub at: Time,
    /// What.
    pub text: String,
}

impl IncidentView {
    /// The line of a list.
    pub fn line(cell: &Cell, incident: &Incident) -> Self {
        let response = cell.response(incident.subject.response.as_str());
        let open = incident.closed.is_none() && incident.confirmed_at.is_none();
        let streaks = cell.streaks_of(incident.id);
        let due = response.filter(|_| open).and_then(|r| streaks.confirming.due(&r.grace));
        Self {
            id: incident.id,
            cluster: incident.subject.cluster.clone(),
            response: incident.subject.response.clone(),
            subject: incident.subject.labels.iter().cloned().collect(),
            phase: incident.phase().into(),
            outcome: incident.closed.map(|(outcome, _)| outcome.label().into()),
            opened_at: incident.opened_at,
            confirmed_at: incident.confirmed_at,
            closed_at: incident.closed.map(|(_, at)| at),
            decision: incident.standing.as_ref().map(|standing| DecisionView {
                action: standing.action.clone(),
                reason: standing.reason.clone(),
                text: standing.text.clone(),
                at: Some(standing.at),
                until: None,
            }),
            grace_until: due,
            runs: incident
                .runs
                .iter()
                .map(|(id, playbook, outcome)| RunLink {
                    id: *id,
                    playbook: playbook.clone(),
                    outcome: outcome.map(|outcome| outcome.label().into()),
                })
                .collect(),
            alert: BTreeMap::new(),
            signals: Vec::new(),
            timeline: Vec::new(),
        }
    }

    /// Everything.
    pub fn whole(now: Time, cell: &Cell, incident: &Incident) -> Self {
        let mut view = Self::line(cell, incident);
        view.alert = pairs(&incident.alert);
        let line = |(at, text): &(Time, String)| Line { at: *at, text: text.clone() };
        view.timeline = incident.timeline.iter().map(line).collect();
        let subject = &incident.subject;
        if let Some(response) = cell.response(subject.response.as_str()) {
            let signals = cell.signals.signals(subject, response, now);
            view.signals = signals.iter().map(SignalView::new).collect();
        }
        view
    }
}

impl SignalView {
    fn new(signal: &Signal) -> Self {
        Self {
            name: signal.name.clone(),
            firing: signal.firing,
            silenced: signal.silenced,
            resolved: signal.resolved,
            since: signal.since,
        }
    }
}
