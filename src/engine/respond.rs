//! From alerts to incidents, from samples to decisions.

use uuid::Uuid;

use super::{
    Engine,
    intake::too_many,
    state::Watched,
    variables::{missing, response_roots},
};
use crate::domain::{
    alert::labels::Labels,
    base::{
        id::{ClusterName, IncidentId},
        time::Time,
    },
    etcd::verdict::Quorum,
    incident::{
        Closed, Incident, IncidentEvent, IncidentRecord, Standing,
        bounds::{INCIDENTS_MAX, is_bounded, pair},
        decision::{Action, Decision, Reason},
        ledger::Subject,
    },
    journal::record::Record,
    rules::response::{Response, Rung},
};

impl Engine {
    /// Opens incidents for subjects whose alerts changed.
    pub(super) async fn open_touched(&mut self) {
        let touched = std::mem::take(&mut self.touched);
        for (subject, is_firing) in touched {
            if is_firing {
                self.maybe_open(&subject).await;
            }
        }
    }

    async fn maybe_open(&mut self, subject: &Subject) {
        let now = self.state.now();
        let Some(response) = self.state.response(&subject.response) else { return };
        let Some(watched) = self.state.clusters.get(&subject.cluster) else { return };
        if watched.state.incident_of(subject).is_some() {
            return;
        }
        let signals = self.state.correlation.signals(subject, &response, &self.state.alerts, now);
        let roots = response_roots(watched, subject, &signals, now);
        if response.when.truth(&roots) != Ok(true) || self.is_crowded(subject) {
            return;
        }
        let first = signals.iter().find(|signal| signal.firing > 0);
        let alert = first.map(|signal| signal.labels.iter()).into_iter().flatten();
        let alert = Labels::new(alert);
        let id = IncidentId(Uuid::now_v7());
        let event = IncidentEvent::IncidentOpened { subject: subject.clone(), alert };
        tracing::info!(incident.id = %id, cluster = %subject.cluster, response = %subject.response,
            "incident opened; probing begins");
        let cluster = subject.cluster.clone();
        self.write(&cluster, vec![incident_record(id, event)]).await;
        if let Some(watched) = self.state.clusters.get_mut(&cluster) {
            watched.look_due = now;
            watched.full_due = now;
        }
        self.decide(&cluster, id).await;
    }

    /// Whether the response has too many open incidents in this cluster for one more.
    fn is_crowded(&mut self, subject: &Subject) -> bool {
        let Some(watched) = self.state.clusters.get(&subject.cluster) else { return false };
        if !is_bounded(subject) {
            return false;
        }
        let open = watched.state.open_incidents().map(|incident| &incident.subject);
        let open = open.filter(|o| o.response == subject.response && is_bounded(o)).count();
        if open < INCIDENTS_MAX {
            if self.too_many_incidents.has_room(&pair(subject), open, INCIDENTS_MAX) {
                tracing::warn!(cluster = %subject.cluster, response = %subject.response, open,
                    "there is room for incidents again; those that were refused open with the next \
                     repeat of their alerts");
            }
            return false;
        }
        self.metrics.subject_refused(&subject.cluster, &subject.response);
        if self.too_many_incidents.refuse(subject) {
            tracing::error!(cluster = %subject.cluster, response = %subject.response,
                subject = %subject, max = INCIDENTS_MAX,
                "{}", too_many("open incidents", "open none"));
        }
        true
    }

    /// Takes the cluster's last look as one sample of each of its open incidents, then decides.
    pub(super) async fn sample(&mut self, cluster: &ClusterName) {
        self.cancel_if_well(cluster).await;
        self.reopen(cluster).await;
        let Some(watched) = self.state.clusters.get(cluster) else { return };
        let open: Vec<(IncidentId, Subject)> =
            watched.state.open_incidents().map(|i| (i.id, i.subject.clone())).collect();
        // a look takes as long as its most silent vantage: the next one counts from its beginning
        let (now, began) = (self.state.now(), watched.look_began);
        let mut due = None;
        for (id, subject) in open {
            let Some(response) = self.state.response(&subject.response) else { continue };
            let (confirms, healthy) = self.sample_of(cluster, &subject, &response, now);
            let Some(incident) = self.incident_mut(cluster, id) else { continue };
            incident.sample(confirms.ok(), healthy, now, &response);
            let wakeup = incident.next_wakeup(began, &response).max(now);
            due = Some(due.map_or(wakeup, |due: Time| due.min(wakeup)));
            self.settle(cluster, id, &response).await;
        }
        if let (Some(due), Some(watched)) = (due, self.state.clusters.get_mut(cluster)) {
            watched.look_due = watched.look_due.min(due);
        }
    }

    /// What the last look says about one subject: whether `confirm` holds (or what was missing),
    /// and whether the subject is healthy.
    fn sample_of(
        &self,
        cluster: &ClusterName,
        subject: &Subject,
        response: &Response,
        now: Time,
    ) -> (Result<bool, String>, Option<bool>) {
        let Some(watched) = self.state.clusters.get(cluster) else {
            return (Err("the cluster".into()), None);
        };
        let signals = self.state.correlation.signals(subject, response, &self.state.alerts, now);
        let roots = response_roots(watched, subject, &signals, now);
        let confirms = response.confirm.truth(&roots).map_err(|stop| missing(&stop));
        (confirms, is_healthy(watched, subject))
    }

    /// Confirms, contradicts, decides or closes after a sample.
    async fn settle(&mut self, cluster: &ClusterName, id: IncidentId, response: &Response) {
        let now = self.state.now();
        let Some(incident) = self.incident(cluster, id) else { return };
        let complete = incident.confirming.is_complete(now, &response.grace);
        let verdict = self.verdict_text(cluster);
        if complete && incident.confirmed_at.is_none() {
            let event = IncidentEvent::IncidentConfirmed { verdict: verdict.0, text: verdict.1 };
            tracing::info!(incident.id = %id, cluster = %cluster, "verdict held for the whole grace");
            self.write(cluster, vec![incident_record(id, event)]).await;
        } else if !complete && incident.confirmed_at.is_some() && !incident.is_repairing() {
            let event = IncidentEvent::IncidentContradicted { verdict: verdict.0 };
            self.write(cluster, vec![incident_record(id, event)]).await;
        }
        if !self.close_if_over(cluster, id, response).await {
            self.decide(cluster, id).await;
        }
    }

    async fn close_if_over(
        &mut self,
        cluster: &ClusterName,
        id: IncidentId,
        response: &Response,
    ) -> bool {
        let now = self.state.now();
        let Some(incident) = self.incident(cluster, id) else { return true };
        if incident.is_repairing() {
            return false;
        }
        let is_well = incident.healthy.is_complete(now, &response.grace);
        let is_mute = !incident.was_confirmed && self.is_mute(&incident.subject, response, now);
        if !is_well && !is_mute {
            return false;
        }
        let outcome = if is_mute && !is_well { Closed::NotConfirmed } else { incident.outcome() };
        let opened = incident.opened_at;
        if !incident.was_confirmed {
            // The end of the grace is the end of the incident: why nothing was done is told before.
            let (_, decision) = self.decision_for(cluster, id, response);
            if decision.reason == Some(Reason::NotConfirmed) {
                self.note_decision(cluster, id, &decision).await;
            }
        }
        self.metrics.incident_closed(&response.name, outcome.label(), now.since(opened));
        tracing::info!(incident.id = %id, cluster = %cluster, outcome = outcome.label(), "incident closed");
        let mut records = self.last_rung(cluster, id);
        records.push(incident_record(id, IncidentEvent::IncidentClosed { outcome }));
        self.write(cluster, records).await;
        true
    }

    /// Whether nothing speaks any more: no alert fires or is remembered, and the subject's verdict
    /// has no source that could ever say that it is well.
    fn is_mute(&self, subject: &Subject, response: &Response, now: Time) -> bool {
        let signals = self.state.correlation.signals(subject, response, &self.state.alerts, now);
        let silent = signals.iter().all(|s| s.firing + s.silenced + s.resolved == 0);
        silent && subject.labels.iter().any(|(name, _)| name == "node")
    }

    /// Opens again what still fires and is contradicted by the last look.
    async fn reopen(&mut self, cluster: &ClusterName) {
        let Some(watched) = self.state.clusters.get(cluster) else { return };
        let is_ill = |subject: &&Subject| {
            subject.cluster == *cluster
                && watched.state.incident_of(subject).is_none()
                && is_healthy(watched, subject) == Some(false)
        };
        let ill: Vec<Subject> = self.state.correlation.subjects().filter(is_ill).cloned().collect();
        for subject in ill {
            Box::pin(self.maybe_open(&subject)).await;
        }
    }

    /// Decides what to do about one incident; journals and counts the decision when it changed.
    pub(super) async fn decide(&mut self, cluster: &ClusterName, id: IncidentId) {
        let Some(incident) = self.incident(cluster, id) else { return };
        if incident.closed.is_some() || incident.is_repairing() {
            return;
        }
        let subject = incident.subject.clone();
        let Some(response) = self.state.response(&subject.response) else { return };
        let (mut rung, mut decision) = self.decision_for(cluster, id, &response);
        let ended = self.last_rung(cluster, id);
        if decision.reason == Some(Reason::NoPlaybook) && !ended.is_empty() {
            // no further rung applies: the attempt is over, the next one begins at the first
            if !self.write(cluster, ended).await {
                return;
            }
            (rung, decision) = self.decision_for(cluster, id, &response);
        }
        let chosen = rung.filter(|_| decision.action == Action::Run);
        let planned = chosen.as_ref().map(|(_, rung)| self.plan(cluster, id, &response, rung));
        if let (Some((_, rung)), Some(Err(wrong))) = (&chosen, &planned) {
            decision = no_plan(rung, wrong);
        }
        let is_noted = self.note_decision(cluster, id, &decision).await;
        if let (Some((index, rung)), Some(Ok(plan)), true) = (chosen, planned, is_noted) {
            self.dispatch(cluster, id, &response, (index, &rung), plan).await;
        }
    }

    /// From the alert's arrival, or from the end of the wait that stood, to this decision.
    fn note_latency(&self, before: Option<&Standing>) {
        let waited = before.and_then(|standing| standing.until);
        let late = waited.map(|until| self.state.now().since(until));
        if let Some(took) = self.arrived.map(|arrived| arrived.elapsed()).or(late) {
            self.metrics.decision(took);
        }
    }

    /// `false`: not durable, so nothing may follow from it.
    async fn note_decision(
        &mut self,
        cluster: &ClusterName,
        id: IncidentId,
        decision: &Decision,
    ) -> bool {
        let Some(incident) = self.incident(cluster, id) else { return false };
        let reason = decision.reason.map(|reason| reason.label().to_owned());
        let same = incident.standing.as_ref().filter(|standing| {
            standing.action == decision.action.label() && standing.reason == reason
        });
        if same.is_some_and(|standing| !is_news(decision, &standing.text)) {
            return true;
        }
        let is_new = same.is_none();
        let response = incident.subject.response.clone();
        if is_new {
            self.note_latency(incident.standing.as_ref());
        }
        if let Some(reason) = decision.reason.filter(|_| is_new) {
            self.metrics.repair_skip(cluster, &response, reason.label());
            if matches!(reason, Reason::Cooldown | Reason::Tolerance | Reason::Backoff) {
                self.metrics.backoff_skip(cluster, &response, reason.label());
            }
        }
        tracing::info!(incident.id = %id, cluster = %cluster, response = %response,
            decision = decision.action.label(), reason = reason.as_deref().unwrap_or(""),
            "{}", decision.text);
        let event = IncidentEvent::Decided {
            action: decision.action.label().into(),
            reason,
            text: decision.text.clone(),
            until: match decision.action {
                Action::Wait(until) => Some(until),
                Action::Run | Action::Skip | Action::Ask | Action::Escalate => None,
            },
        };
        self.write(cluster, vec![incident_record(id, event)]).await
    }

    pub(super) fn incident(&self, cluster: &ClusterName, id: IncidentId) -> Option<&Incident> {
        self.state.clusters.get(cluster)?.state.incidents.get(&id)
    }

    fn incident_mut(&mut self, cluster: &ClusterName, id: IncidentId) -> Option<&mut Incident> {
        self.state.clusters.get_mut(cluster)?.state.incidents.get_mut(&id)
    }

    fn verdict_text(&self, cluster: &ClusterName) -> (String, String) {
        let look = self.state.clusters.get(cluster).and_then(|watched| watched.look.as_ref());
        look.map_or((String::new(), String::new()), |look| {
            (look.judgement.quorum.label().into(), look.judgement.reason.clone())
        })
    }
}

/// A playbook that cannot be fixed to this cluster is as good as none: it is counted, and told.
fn no_plan(rung: &Rung, wrong: &str) -> Decision {
    let text = format!(
        "playbook {} cannot be planned for this incident: {wrong}; correct `with` of the ladder",
        rung.playbook
    );
    Decision { action: Action::Escalate, reason: Some(Reason::NoPlaybook), text }
}

/// A record about an incident.
pub(super) fn incident_record(incident: IncidentId, event: IncidentEvent) -> Record {
    Record::Incident(IncidentRecord { incident, event })
}

/// Whether a subject is a cluster's etcd rather than one of its nodes.
pub(super) fn is_about_etcd(subject: &Subject) -> bool {
    subject.labels.is_empty()
}

/// Whether the subject is well; `None` is unknown. Nodes have no source yet.
fn is_healthy(watched: &Watched, subject: &Subject) -> Option<bool> {
    if !is_about_etcd(subject) {
        return None;
    }
    match watched.look.as_ref()?.judgement.quorum {
        Quorum::Healthy => Some(true),
        Quorum::Unknown | Quorum::Forming | Quorum::Single => None,
        Quorum::Degraded { .. } | Quorum::LeaderlessAlive | Quorum::Lost { .. } => Some(false),
    }
}

/// Whether a decision that stands for the same reason rests on another verdict: what people read
/// must not name the old one.
fn is_news(decision: &Decision, before: &str) -> bool {
    let verdict = |text: &str| text.split([':', ';']).next().map(str::to_owned);
    matches!(decision.reason, Some(Reason::NotConfirmed | Reason::Unknown))
        && verdict(&decision.text) != verdict(before)
}
