//! What is known of one cluster: the fold of its stream of records. Nothing else changes it.

use std::collections::BTreeMap;

use super::record::{Paused, Record, Watch, WatchKind, WatchReport};
use crate::domain::{
    base::{
        id::{IncidentId, LossId, MemberName, RunId},
        time::Time,
    },
    etcd::{
        evidence::Attestation,
        loss::{LossRecord, LossState},
    },
    incident::{
        Incident,
        ledger::{Ledger, Subject},
    },
    run::{
        apply::{Illegal, apply},
        state::Run,
    },
};

/// The state of one cluster.
#[derive(Debug, Default)]
pub struct ClusterState {
    /// Incidents, open and ended, by id (oldest first: ids are time-ordered).
    pub incidents: BTreeMap<IncidentId, Incident>,
    /// Runs, likewise.
    pub runs: BTreeMap<RunId, Run>,
    /// What was tried, per subject; never dropped.
    pub ledgers: BTreeMap<Subject, Ledger>,
    /// What may have been lost; never dropped.
    pub losses: BTreeMap<LossId, LossRecord>,
    /// What people say of members.
    pub attested: BTreeMap<MemberName, Attestation>,
    /// The pause in force, if any.
    pub paused: Option<Paused>,
    /// Look-outs that are not over.
    pub watches: Vec<Watch>,
    /// What look-outs found that is not well, by run and kind.
    pub findings: BTreeMap<(RunId, WatchKind), WatchReport>,
}

impl ClusterState {
    /// Folds one record in. A record about something unknown changes nothing, and neither does one
    /// that cannot follow on what is there: it is refused.
    pub fn apply(&mut self, record: &Record, at: Time) -> Result<(), Illegal> {
        match record {
            Record::Incident(record) => {
                if let Some(incident) = self.incidents.get_mut(&record.incident) {
                    incident.apply(&record.event, at);
                    if incident.closed.is_some() {
                        let subject = incident.subject.clone();
                        self.is_well(&subject);
                    }
                } else if let Some(opened) = Incident::open(record.incident, &record.event, at) {
                    let ledger = self.ledgers.entry(opened.subject.clone()).or_default();
                    ledger.unhealthy_since.get_or_insert(at);
                    self.incidents.insert(opened.id, opened);
                }
            }
            Record::Run(record) => {
                if let Some(run) = self.runs.get_mut(&record.run) {
                    apply(run, &record.event, at)?;
                } else {
                    let started = Run::start(record.run, &record.event, at);
                    self.runs.extend(started.map(|run| (run.id, run)));
                }
            }
            Record::AttemptEnded(record) => {
                let ledger = self.ledgers.entry(record.subject.clone()).or_default();
                ledger.ended(record.attempt.clone());
            }
            Record::LossRecorded(loss) => {
                self.losses.entry(loss.id).or_insert_with(|| loss.clone());
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
            Record::WatchSet(watch) => self.watches.push(watch.clone()),
            Record::WatchReported(report) => self.reported(report),
        }
        Ok(())
    }

    /// Whether these records may be written, one after the other. Nothing is changed.
    pub fn accepts(&self, records: &[Record], at: Time) -> Result<(), Illegal> {
        let mut runs: BTreeMap<RunId, Run> = BTreeMap::new();
        for record in records {
            let Record::Run(record) = record else { continue };
            if let Some(run) = runs.get_mut(&record.run) {
                apply(run, &record.event, at)?;
            } else if let Some(mut run) = self.runs.get(&record.run).cloned() {
                apply(&mut run, &record.event, at)?;
                runs.insert(record.run, run);
            }
        }
        Ok(())
    }

    /// A ledger that tells of nothing is not kept: subjects come from labels.
    fn is_well(&mut self, subject: &Subject) {
        if let Some(ledger) = self.ledgers.get_mut(subject) {
            ledger.unhealthy_since = None;
            if *ledger == Ledger::default() {
                self.ledgers.remove(subject);
            }
        }
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

    /// The run that has not ended, parked or not: at most one per cluster.
    pub fn open_run(&self) -> Option<&Run> {
        self.runs.values().rev().find(|run| run.finished.is_none())
    }

    /// Incidents that are not closed.
    pub fn open_incidents(&self) -> impl Iterator<Item = &Incident> {
        self.incidents.values().filter(|incident| incident.closed.is_none())
    }

    /// The open incident of a subject.
    pub fn incident_of(&self, subject: &Subject) -> Option<&Incident> {
        self.open_incidents().find(|incident| incident.subject == *subject)
    }

    /// A loss that nobody acknowledged, oldest first.
    pub fn open_loss(&self) -> Option<&LossRecord> {
        self.losses.values().find(|loss| loss.state == LossState::Possible)
    }

    /// Recoveries so far: with the cluster id, the epoch.
    pub fn recoveries(&self) -> u32 {
        u32::try_from(self.losses.len()).unwrap_or(u32::MAX)
    }

    /// The pause, where it still holds.
    pub fn pause(&self, now: Time) -> Option<&Paused> {
        self.paused.as_ref().filter(|pause| pause.until.is_none_or(|until| until > now))
    }

    /// The end of the last destructive run that no person approved.
    pub fn last_automatic(&self) -> Option<Time> {
        let attempts = self.ledgers.values().flat_map(|ledger| &ledger.recent);
        attempts.filter(|a| a.destructive && !a.approved).map(|a| a.at).max()
    }
}
