//! What is known of one cluster: the fold of its stream of records. Nothing else changes it.

use std::collections::BTreeMap;

use super::record::{Paused, Record, Watch, WatchKind, WatchReport};
use crate::domain::{
    base::{
        id::{IncidentId, LossId, MemberName, ResponseName, RunId},
        shared::SharedMap,
        time::Time,
    },
    etcd::{
        evidence::Attestation,
        loss::{LossRecord, LossState},
    },
    incident::{
        Incident, IncidentEvent, IncidentRecord,
        ledger::{Ledger, Subject},
    },
    run::{
        apply::{Illegal, apply},
        event::RunRecord,
        state::Run,
    },
};

/// The state of one cluster. A copy shares what did not change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterState {
    /// The position in the stream of the record that is folded in next.
    pub next: u64,
    /// Incidents, open and ended, by id (oldest first: ids are time-ordered).
    pub incidents: SharedMap<IncidentId, Incident>,
    /// Runs, likewise.
    pub runs: SharedMap<RunId, Run>,
    /// What was tried, per subject; never dropped.
    pub ledgers: SharedMap<Subject, Ledger>,
    /// What may have been lost; never dropped.
    pub losses: SharedMap<LossId, LossRecord>,
    /// What people say of members.
    pub attested: BTreeMap<MemberName, Attestation>,
    /// The pause in force, if any.
    pub paused: Option<Paused>,
    /// Look-outs that are not over.
    pub watches: Vec<Watch>,
    /// What look-outs found that is not well, by run and kind.
    pub findings: BTreeMap<(RunId, WatchKind), WatchReport>,
    open: SharedMap<Subject, IncidentId>,
    /// How many of them are about a part of the cluster, by response.
    open_with_labels: BTreeMap<ResponseName, usize>,
    open_runs: Vec<RunId>,
    /// When the last incident of a subject closed.
    closed: SharedMap<Subject, Time>,
}

impl ClusterState {
    /// Folds one record in. A record about something unknown changes nothing.
    pub fn apply(&mut self, record: &Record, at: Time) -> Result<(), Illegal> {
        let n = self.next;
        self.next += 1;
        match record {
            Record::Incident(record) => {
                self.incident(record, at);
                if let Some(incident) = self.incidents.get_mut(&record.incident) {
                    incident.places.push(n);
                }
            }
            Record::Run(record) => {
                self.run(record, at)?;
                if let Some(run) = self.runs.get_mut(&record.run) {
                    run.places.push(n);
                }
            }
            Record::AttemptEnded(record) => {
                let mut ledger = self.ledgers.get(&record.subject).cloned().unwrap_or_default();
                ledger.ended(record.attempt.clone());
                self.ledgers.insert_mut(record.subject.clone(), ledger);
            }
            Record::LossRecorded(loss) => {
                if !self.losses.contains_key(&loss.id) {
                    self.losses.insert_mut(loss.id, loss.clone());
                }
            }
            Record::LossAcknowledged(ack) => {
                if let Some(loss) = self.losses.get_mut(&ack.loss) {
                    let (by, reason) = (ack.said.by.clone(), ack.said.reason.clone());
                    loss.state = LossState::Acknowledged { by, reason, at };
                }
            }
            Record::Attested(attested) => {
                self.attested.insert(attested.member.clone(), attested.attestation.clone());
            }
            Record::Paused(paused) => self.paused = Some(paused.clone()),
            Record::Unpaused(_) => self.paused = None,
            Record::WatchSet(watch) => self.watch(watch),
            Record::WatchReported(report) => self.reported(report),
        }
        Ok(())
    }

    fn incident(&mut self, record: &IncidentRecord, at: Time) {
        if let Some(incident) = self.incidents.get_mut(&record.incident) {
            incident.apply(&record.event, at);
            // what comes after the end (its last run ended) is no second end: the subject may have
            // another incident by now
            if matches!(record.event, IncidentEvent::IncidentClosed { .. }) {
                let subject = incident.subject.clone();
                if self.open.remove_mut(&subject) && !subject.labels.is_empty() {
                    let open = self.open_with_labels.entry(subject.response.clone()).or_default();
                    *open = open.saturating_sub(1);
                    self.open_with_labels.retain(|_, open| *open > 0);
                }
                self.is_well(&subject);
                self.closed.insert_mut(subject, at);
            }
        } else if let Some(opened) = Incident::open(record.incident, &record.event, at) {
            let mut ledger = self.ledgers.get(&opened.subject).cloned().unwrap_or_default();
            ledger.unhealthy_since.get_or_insert(at);
            self.ledgers.insert_mut(opened.subject.clone(), ledger);
            if !opened.subject.labels.is_empty() {
                *self.open_with_labels.entry(opened.subject.response.clone()).or_default() += 1;
            }
            self.open.insert_mut(opened.subject.clone(), opened.id);
            self.incidents.insert_mut(opened.id, opened);
        }
    }

    fn run(&mut self, record: &RunRecord, at: Time) -> Result<(), Illegal> {
        let Some(run) = self.runs.get_mut(&record.run) else {
            if let Some(run) = Run::start(record.run, &record.event, at) {
                self.open_runs.push(run.id);
                self.runs.insert_mut(run.id, run);
            }
            return Ok(());
        };
        apply(run, &record.event, at)?;
        if run.finished.is_some() {
            self.open_runs.retain(|id| *id != record.run);
        }
        Ok(())
    }

    /// A ledger that tells of nothing is not kept: subjects come from labels.
    fn is_well(&mut self, subject: &Subject) {
        if let Some(ledger) = self.ledgers.get_mut(subject) {
            ledger.unhealthy_since = None;
            if *ledger == Ledger::default() {
                self.ledgers.remove_mut(subject);
            }
        }
    }

    /// A cluster that was built anew has nothing of what was looked out for in the old one.
    fn watch(&mut self, watch: &Watch) {
        self.watches.retain(|old| old.cluster_id == watch.cluster_id);
        let kept: Vec<RunId> = self.watches.iter().map(|old| old.run).collect();
        self.findings.retain(|(run, _), _| *run == watch.run || kept.contains(run));
        self.watches.push(watch.clone());
    }

    fn reported(&mut self, report: &WatchReport) {
        let key = (report.run, report.kind);
        if report.is_well {
            self.findings.remove(&key);
        } else {
            self.findings.insert(key, report.clone());
        }
        if report.ended {
            self.watches.retain(|watch| (watch.run, watch.kind) != key);
        }
    }

    /// Forgets incidents and runs that ended before `before`; answers which.
    pub fn forget(&mut self, before: Time) -> (Vec<IncidentId>, Vec<RunId>) {
        let over = |at: Option<Time>| at.is_some_and(|at| at < before);
        let incidents = self.incidents.values();
        // one whose run has not ended gets that run's attempt yet
        let has_open_run = |i: &Incident| {
            let mut runs = i.runs.iter().filter_map(|(run, ..)| self.runs.get(run));
            runs.any(|run| run.finished.is_none())
        };
        let incidents = incidents.filter(|i| over(i.closed.as_ref().map(|(_, at)| *at)));
        let incidents = incidents.filter(|incident| !has_open_run(incident));
        let incidents: Vec<IncidentId> = incidents.map(|incident| incident.id).collect();
        let runs = self.runs.values().filter(|run| over(run.finished.as_ref().map(|(.., at)| *at)));
        let runs: Vec<RunId> = runs.map(|run| run.id).collect();
        for id in &incidents {
            self.incidents.remove_mut(id);
        }
        for id in &runs {
            self.runs.remove_mut(id);
        }
        let closed = self.closed.iter().filter(|(_, at)| **at < before);
        let closed: Vec<Subject> = closed.map(|(subject, _)| subject.clone()).collect();
        for subject in &closed {
            self.closed.remove_mut(subject);
        }
        (incidents, runs)
    }

    /// Tells from the incidents when the last one of each subject closed.
    pub(super) fn remember_closed(&mut self) {
        self.closed = SharedMap::new_sync();
        for incident in self.incidents.values() {
            let Some((_, at)) = incident.closed else { continue };
            let at = self.closed.get(&incident.subject).map_or(at, |known| at.max(*known));
            self.closed.insert_mut(incident.subject.clone(), at);
        }
    }

    /// Whether nothing about an incident changes any more: it is closed, and so are its runs.
    pub fn rests(&self, incident: &Incident) -> bool {
        incident.closed.is_some() && incident.runs.iter().all(|(.., outcome)| outcome.is_some())
    }

    /// Whether nothing about a run changes any more, and nothing is told from its steps: it has
    /// ended, its incident rests, and no look-out lists what it left.
    pub fn run_rests(&self, run: &Run) -> bool {
        let incident = run.incident.and_then(|id| self.incidents.get(&id));
        let is_listed = |watch: &Watch| watch.kind == WatchKind::Leftovers && watch.run == run.id;
        run.finished.is_some()
            && incident.is_none_or(|incident| self.rests(incident))
            && !self.watches.iter().any(is_listed)
    }

    /// Keeps these in brief from now on; what is left out stays in the journal.
    pub fn keep_in_brief(&mut self, incidents: &[IncidentId], runs: &[RunId]) {
        for id in incidents {
            if let Some(incident) = self.incidents.get_mut(id) {
                *incident = incident.in_brief();
            }
        }
        for id in runs {
            if let Some(run) = self.runs.get_mut(id) {
                *run = run.in_brief();
            }
        }
    }

    /// Where the records of these stand.
    pub fn places_of(&self, incidents: &[IncidentId], runs: &[RunId]) -> Vec<u64> {
        let incidents = incidents.iter().filter_map(|id| self.incidents.get(id));
        let runs = runs.iter().filter_map(|id| self.runs.get(id));
        let mut places: Vec<u64> =
            incidents.flat_map(|incident| &incident.places).copied().collect();
        places.extend(runs.flat_map(|run| &run.places));
        places
    }

    /// The run that has not ended, parked or not: at most one per cluster.
    pub fn open_run(&self) -> Option<&Run> {
        self.open_runs.last().and_then(|id| self.runs.get(id))
    }

    /// Incidents that are not closed.
    pub fn open_incidents(&self) -> impl Iterator<Item = &Incident> {
        self.open.values().filter_map(|id| self.incidents.get(id))
    }

    /// How many open incidents of a response are about a part of the cluster.
    pub fn open_with_labels(&self, response: &ResponseName) -> usize {
        self.open_with_labels.get(response).copied().unwrap_or_default()
    }

    /// The open incident of a subject.
    pub fn incident_of(&self, subject: &Subject) -> Option<&Incident> {
        self.open.get(subject).and_then(|id| self.incidents.get(id))
    }

    /// When the last incident of a subject closed, as far as it is remembered.
    pub fn closed_at(&self, subject: &Subject) -> Option<Time> {
        self.closed.get(subject).copied()
    }

    /// A loss that nobody acknowledged, oldest first.
    pub fn open_loss(&self) -> Option<&LossRecord> {
        self.losses.values().find(|loss| loss.is_open())
    }

    /// Recoveries so far: with the cluster id, the epoch.
    pub fn recoveries(&self) -> u32 {
        u32::try_from(self.losses.size()).unwrap_or(u32::MAX)
    }

    /// The pause, where it still holds.
    pub fn pause(&self, now: Time) -> Option<&Paused> {
        self.paused.as_ref().filter(|pause| pause.until.is_none_or(|until| until > now))
    }

    /// The end of the last destructive run that no person approved.
    pub fn last_automatic(&self) -> Option<Time> {
        self.ledgers.values().filter_map(|ledger| ledger.last_automatic).max()
    }
}
