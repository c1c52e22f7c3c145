//! Tells what became durable: one place where records and notes become log lines and counts.
//!
//! Nothing is told before it is durable, so an order that was answered 503 is never logged as done.

use std::{sync::Arc, time::Duration};

use super::slot::UNWRITTEN;
use crate::{
    domain::{
        base::{id::ClusterName, time::Time},
        cell::{Cell, effect::Note},
        etcd::{
            evidence::Evidence,
            reading::{Cause, Reading, Vantage},
        },
        incident::{
            IncidentEvent, IncidentRecord,
            bounds::{INCIDENTS_MAX, SUBJECTS_MAX},
            decision::Reason,
        },
        journal::record::Record,
        run::event::{List, RunEvent, RunRecord},
    },
    telemetry::metrics::Metrics,
};

/// Tells what became durable.
#[derive(Debug)]
pub(super) struct Narrator {
    metrics: Arc<Metrics>,
}

impl Narrator {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics }
    }

    /// Runs that were under way when the last process ended.
    #[expect(clippy::unused_self, reason = "all that is told goes through the narrator")]
    pub(super) fn resumed<'a>(&self, cells: impl Iterator<Item = &'a Cell>) {
        for cell in cells {
            if let Some(run) = cell.state.open_run().filter(|run| run.is_active()) {
                tracing::warn!(run.id = %run.id, cluster = %cell.name(), "run goes on from the journal");
            }
        }
    }

    /// What a step came to.
    pub(super) fn tell(
        &self,
        before: &Cell,
        after: &Cell,
        records: &[Record],
        notes: &[Note],
        at: Time,
    ) {
        for record in records {
            match record {
                Record::Incident(record) => self.incident(after, record, at),
                Record::Run(record) => self.run(after, record),
                other => tell_other(after.name(), other),
            }
        }
        for note in notes {
            self.note(after.name(), note);
        }
        tell_verdict(before, after);
    }

    fn incident(&self, cell: &Cell, record: &IncidentRecord, at: Time) {
        let (id, cluster) = (record.incident, cell.name());
        match &record.event {
            IncidentEvent::IncidentOpened { subject, alert } => {
                tracing::info!(incident.id = %id, cluster = %cluster, response = %subject.response,
                    subject = %subject, alert = %alert, "incident opened; probing begins");
            }
            IncidentEvent::IncidentConfirmed { verdict, .. } => {
                tracing::info!(incident.id = %id, cluster = %cluster, verdict,
                    "verdict held for the whole grace");
            }
            IncidentEvent::IncidentContradicted { verdict } => {
                tracing::info!(incident.id = %id, cluster = %cluster, verdict, "no longer confirmed");
            }
            IncidentEvent::Decided { action, reason, text, .. } => {
                let response =
                    cell.state.incidents.get(&id).map(|i| i.subject.response.to_string());
                tracing::info!(incident.id = %id, cluster = %cluster,
                    response = response.as_deref().unwrap_or_default(), decision = action,
                    reason = reason.as_deref().unwrap_or_default(), "{text}");
            }
            IncidentEvent::Dispatched { run, playbook, .. } => {
                tracing::info!(incident.id = %id, run.id = %run, cluster = %cluster,
                    playbook = %playbook, mode = cell.inventory().mode.label(), "starting playbook");
            }
            IncidentEvent::RungEnded { .. } => {}
            IncidentEvent::IncidentClosed { outcome, why } => {
                let incident = cell.state.incidents.get(&id);
                if let Some(incident) = incident {
                    let (response, open) = (&incident.subject.response, incident.opened_at);
                    self.metrics.incident_closed(response, outcome.label(), at.since(open));
                }
                tracing::info!(incident.id = %id, cluster = %cluster, outcome = outcome.label(),
                    why = why.as_deref().unwrap_or_default(), "incident closed");
            }
        }
    }

    fn run(&self, cell: &Cell, record: &RunRecord) {
        let (id, cluster) = (record.run, cell.name());
        match &record.event {
            RunEvent::StepStarted { step, attempt, .. } => {
                tracing::info!(run.id = %id, cluster = %cluster, step = %step, attempt, "step started");
            }
            RunEvent::StepDone { step, changed, output, .. } => {
                tracing::info!(run.id = %id, cluster = %cluster, step = %step, changed, "step done");
                if let Some(note) = output.get("note").and_then(serde_json::Value::as_str) {
                    tracing::warn!(run.id = %id, cluster = %cluster, step = %step, "{note}");
                }
            }
            RunEvent::StepFailed { step, failure, last } => {
                tracing::warn!(run.id = %id, cluster = %cluster, step = %step, last,
                    kind = failure.kind.label(), "step failed: {}", failure.message);
            }
            RunEvent::EntryStarted { entry, .. } => {
                tracing::info!(run.id = %id, cluster = %cluster, step = %entry.step, "entry started");
            }
            RunEvent::EntryDone { entry, .. } => self.undo(entry.list, "undone"),
            RunEvent::EntrySkipped { entry, why } => {
                tracing::info!(run.id = %id, cluster = %cluster, step = %entry.step,
                    "not needed to clean up: {why}");
                self.undo(entry.list, "skipped");
            }
            RunEvent::EntryFailed { entry, failure, .. } => {
                tracing::warn!(run.id = %id, cluster = %cluster, step = %entry.step,
                    kind = failure.kind.label(), "cleaning up failed: {}", failure.message);
                self.undo(entry.list, "undo_failed");
            }
            RunEvent::ApprovalAsked { ask, .. } => {
                tracing::warn!(run.id = %id, cluster = %cluster, loss = ?ask.loss,
                    "approval waits until {0}: `quorate runs {id}` shows it, `quorate approve {id} \
                     --reason …` or `quorate deny {id} --reason …` answers it", ask.until);
            }
            RunEvent::Approved { by, reason, .. } => {
                tracing::info!(run.id = %id, cluster = %cluster, by, reason, "run approved");
            }
            RunEvent::Denied { by, reason } => {
                tracing::info!(run.id = %id, cluster = %cluster, by, reason, "run denied");
            }
            RunEvent::RunResumed { by, reason, .. } => {
                tracing::info!(run.id = %id, cluster = %cluster, by, reason, "run goes on");
            }
            RunEvent::UnwindStarted { outcome, failure, undo } => {
                tracing::warn!(run.id = %id, cluster = %cluster, outcome = outcome.label(), undo,
                    "taking back what was done: {}", failure.message);
            }
            RunEvent::RunParked { why, armed } => {
                tracing::error!(run.id = %id, cluster = %cluster, armed = armed.join("; "),
                    "run parked: {why}");
            }
            RunEvent::RunFinished { outcome, failure } => {
                let failure =
                    failure.as_ref().map_or(String::new(), |f| format!(": {}", f.message));
                tracing::info!(run.id = %id, cluster = %cluster, outcome = outcome.label(),
                    "run ended{failure}");
            }
            other => {
                tracing::debug!(run.id = %id, cluster = %cluster, record = other.kind(), "run");
            }
        }
    }

    fn undo(&self, list: List, outcome: &'static str) {
        if list == List::Undo {
            self.metrics.undo(outcome);
        }
    }

    fn note(&self, cluster: &ClusterName, note: &Note) {
        match note {
            Note::Skipped { response, reason } => {
                self.metrics.repair_skip(cluster, response, reason.label());
                if matches!(reason, Reason::Cooldown | Reason::Tolerance | Reason::Backoff) {
                    self.metrics.backoff_skip(cluster, response, reason.label());
                }
            }
            Note::DecisionLatency(took) => self.metrics.decision(*took),
            Note::SubjectRefused { subject, alert, is_first } => {
                self.metrics.subject_refused(cluster, &subject.response);
                if *is_first {
                    tracing::error!(cluster = %cluster, response = %subject.response, alert = %alert,
                        max = SUBJECTS_MAX, "{}", too_many("subjects", "are not followed"));
                }
            }
            Note::IncidentRefused { subject, is_first } => {
                self.metrics.subject_refused(cluster, &subject.response);
                if *is_first {
                    tracing::error!(cluster = %cluster, response = %subject.response,
                        subject = %subject, max = INCIDENTS_MAX,
                        "{}", too_many("open incidents", "open none"));
                }
            }
            Note::Room { response, incidents, held } => {
                let what = if *incidents { "incidents" } else { "subjects" };
                tracing::warn!(cluster = %cluster, response = %response, held,
                    "there is room for {what} again; alerts that were refused are taken with their \
                     next repeat");
            }
            Note::Foreign { member, found, ours } => {
                tracing::warn!(cluster = %cluster, member = %member, foreign.cluster_id = %found,
                    cluster.id = %ours, "a member answers under another cluster's id: an old member \
                    is back with its old data; stop it and take its data away, the cluster is not \
                    harmed");
            }
            // the shell has said so, for all clusters at once
            Note::LookFailed(why) if &**why == UNWRITTEN => {}
            Note::LookFailed(why) => {
                tracing::error!(cluster = %cluster, "a look brought nothing: {why}");
            }
        }
    }
}

fn tell_other(cluster: &ClusterName, record: &Record) {
    match record {
        Record::LossRecorded(loss) => {
            tracing::warn!(run.id = %loss.run, loss.id = %loss.id, cluster = %cluster,
                survivor = %loss.survivor, revision = loss.retained_revision, lower = loss.lower,
                upper = ?loss.upper,
                "data may have been lost; `quorate ack {}` once it was looked at", loss.id);
        }
        Record::LossAcknowledged(ack) => {
            tracing::info!(cluster = %cluster, loss.id = %ack.loss, by = ack.said.by,
                reason = ack.said.reason, "loss acknowledged");
        }
        Record::Attested(attested) => {
            let said = &attested.attestation;
            tracing::info!(cluster = %cluster, member = %attested.member, by = said.by,
                reason = said.reason, "{} counts as gone for good until {}", attested.member, said.until);
        }
        Record::Paused(paused) => {
            let until = paused.until.map_or("unpaused".into(), |until| until.to_string());
            tracing::info!(cluster = %cluster, by = paused.said.by, reason = paused.said.reason,
                "paused until {until}");
        }
        Record::Unpaused(said) => {
            tracing::info!(cluster = %cluster, by = said.by, reason = said.reason, "no longer paused");
        }
        Record::WatchReported(report) if !report.is_well => {
            tracing::error!(cluster = %cluster, run.id = %report.run, "{}", report.text);
        }
        Record::Incident(_)
        | Record::Run(_)
        | Record::AttemptEnded(_)
        | Record::WatchSet(_)
        | Record::WatchReported(_) => {}
    }
}

/// A verdict that changed is a line of its own: it is what people look for first.
fn tell_verdict(before: &Cell, after: &Cell) {
    let verdict = |cell: &Cell| cell.look().map(|look| look.judgement.quorum.label());
    if let (was, Some(is)) = (verdict(before), verdict(after))
        && was != Some(is)
        && (was.is_some() || is != "healthy")
    {
        let reason = after.look().map_or("", |look| look.judgement.reason.as_str());
        tracing::info!(cluster = %after.name(), verdict = is, before = was.unwrap_or("not looked at"),
            "verdict {is}: {reason}");
    }
}

/// What is said once, when a bound is reached.
fn too_many(what: &str, effect: &str) -> String {
    format!(
        "the response has too many {what} in this cluster: further alerts {effect} until some \
         resolve, only those about the cluster as a whole are; look for a label that takes ever new \
         values in what this response's `signals` match"
    )
}

/// Counts what each vantage said.
pub(super) fn count_readings(metrics: &Metrics, evidence: &Evidence) {
    for member in evidence.members.values() {
        count(metrics, "etcd", Vantage::Network, &member.client);
        count(metrics, "etcd_peer", Vantage::Network, &member.peer);
        count(metrics, "etcd_metrics", Vantage::Network, &member.metrics);
        count(metrics, "process", Vantage::Host, &member.process);
        count(metrics, "data", Vantage::Host, &member.data);
        count(metrics, "prometheus", Vantage::Prometheus, &member.up);
    }
}

fn count<T>(metrics: &Metrics, target: &'static str, vantage: Vantage, reading: &Reading<T>) {
    let took = Duration::from_millis(u64::from(reading.took_ms));
    let outcome = reading.cause().map_or("known", Cause::label);
    if reading.asked() {
        metrics.probe(target, vantage.label(), outcome, took);
    }
    if let Some(cause) = reading.cause() {
        metrics.evidence_unknown(target, cause.label());
    }
}
