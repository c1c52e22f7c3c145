//! The feed: what was committed, in the order it was taken over, for whoever follows along.
//!
//! It holds names and ids, no bodies: a follower who wants more reads the object. The one thing to
//! know: nothing waits for a follower. Each keeps its own place; who falls behind what is kept, or
//! comes with a place that is not kept any more, is told to read everything anew
//! ([`Next::Resync`]).

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::alerts::Handed;
use crate::domain::{
    base::{id::ClusterName, time::Time},
    incident::IncidentEvent,
    journal::record::Record,
    run::{event::RunEvent, path::Path},
};

/// Entries that are kept for followers who were away: at 1,000 records a second the three seconds
/// after which a browser connects again, and some 200 bytes each.
const KEPT_MAX: usize = 4096;

/// Alerts that one entry names; of more only the count is told.
const ALERTS_NAMED_MAX: usize = 20;

/// What an entry is about: a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Alerts of a cluster began, ended, or were handed to it again.
    Alert,
    /// An incident opened, was confirmed or contradicted, or closed.
    Incident,
    /// What is decided about an incident changed.
    Decision,
    /// A run began, asks, was answered, parked, went on, or ended.
    Run,
    /// A step, an undo or a finalizer of a run began or ended.
    Step,
    /// Something may have been lost, or somebody acknowledged it.
    Loss,
    /// The cluster itself: a pause, a person's word about a member, a look-out.
    Cluster,
    /// The configuration was loaded anew.
    Config,
}

impl Topic {
    /// The word in the API.
    pub fn label(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Incident => "incident",
            Self::Decision => "decision",
            Self::Run => "run",
            Self::Step => "step",
            Self::Loss => "loss",
            Self::Cluster => "cluster",
            Self::Config => "config",
        }
    }
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its place in the journal; what is no record has none.
    pub seq: Option<u64>,
    /// When it was decided.
    pub at: Time,
    /// What it is about.
    pub topic: Topic,
    /// The record's kind, or a word of its own.
    pub kind: &'static str,
    /// The cluster.
    pub cluster: Option<ClusterName>,
    /// The incident, run or loss; the fingerprints of alerts.
    pub ids: Vec<String>,
    /// The step, of a step.
    pub step: Option<String>,
    /// How many alerts, of alerts.
    pub count: Option<usize>,
}

/// What a follower gets.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// What came, oldest first.
    Entries(Vec<Arc<Told>>),
    /// Something is missing between the last entry and the next one: everything must be read anew.
    /// With the journal's end as it is now.
    Resync(u64),
    /// There will be no more.
    Ended,
}

#[derive(Debug)]
struct Kept {
    /// The place of the first that is kept.
    first: u64,
    entries: VecDeque<Arc<Told>>,
    /// The last place in the journal that was told.
    last_seq: u64,
}

impl Kept {
    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn push(&mut self, told: Told) {
        self.last_seq = self.last_seq.max(told.seq.unwrap_or(0));
        self.entries.push_back(Arc::new(told));
        if self.entries.len() > KEPT_MAX {
            self.entries.pop_front();
            self.first += 1;
        }
    }
}

/// What was committed, for followers.
#[derive(Debug)]
pub struct Feed {
    kept: Mutex<Kept>,
    /// The end, as a signal; `u64::MAX` once it is closed.
    end: watch::Sender<u64>,
}

impl Default for Feed {
    fn default() -> Self {
        let kept = Kept { first: 0, entries: VecDeque::new(), last_seq: 0 };
        Self { kept: Mutex::new(kept), end: watch::Sender::new(0) }
    }
}

impl Feed {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        // nothing under the lock can panic half way through a change
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, news: impl Iterator<Item = Told>) {
        let mut kept = self.kept();
        news.for_each(|told| kept.push(told));
        let end = kept.end();
        drop(kept);
        self.end.send_if_modified(|at| *at != u64::MAX && std::mem::replace(at, end) != end);
    }

    /// Tells records of a cluster that are durable; the last of them is at `last_seq`.
    pub(super) fn records(
        &self,
        cluster: &ClusterName,
        records: &[Record],
        at: Time,
        last_seq: u64,
    ) {
        if records.is_empty() {
            return;
        }
        let first = (last_seq + 1).saturating_sub(records.len() as u64);
        self.push(
            records.iter().zip(first..).map(|(record, seq)| of_record(cluster, record, at, seq)),
        );
    }

    /// Tells alerts that a cluster was handed.
    pub(super) fn alerts(&self, handed: &Handed) {
        if handed.alerts.is_empty() {
            return;
        }
        let named = handed.alerts.iter().take(ALERTS_NAMED_MAX);
        self.push(std::iter::once(Told {
            seq: None,
            at: handed.arrived,
            topic: Topic::Alert,
            kind: "alerts",
            cluster: Some(handed.cluster.clone()),
            ids: named.map(|alert| format!("{:016x}", alert.fingerprint())).collect(),
            step: None,
            count: Some(handed.alerts.len()),
        }));
    }

    /// Tells that the configuration was loaded anew.
    pub(super) fn reloaded(&self, at: Time) {
        self.push(std::iter::once(Told {
            seq: None,
            at,
            topic: Topic::Config,
            kind: "reloaded",
            cluster: None,
            ids: Vec::new(),
            step: None,
            count: None,
        }));
    }

    /// Ends every follower.
    pub fn close(&self) {
        self.end.send_replace(u64::MAX);
    }

    /// Follows along: from behind the entry at this place of the journal, or from now on.
    pub fn follow(self: &Arc<Self>, after: Option<u64>) -> Follower {
        let kept = self.kept();
        // from the back: where a place was told twice, the later one is what was read last
        let found = after.and_then(|seq| {
            kept.entries.iter().rposition(|told| told.seq == Some(seq)).map(|at| at as u64 + 1)
        });
        let next = found.map(|behind| kept.first + behind);
        Follower { next, end: self.end.subscribe(), feed: Arc::clone(self) }
    }
}

/// One who follows along.
#[derive(Debug)]
pub struct Follower {
    feed: Arc<Feed>,
    /// The place of what it gets next; `None` before it was told to read everything.
    next: Option<u64>,
    end: watch::Receiver<u64>,
}

impl Follower {
    /// Waits for what comes next. Dropping the wait loses nothing.
    pub async fn next(&mut self) -> Next {
        loop {
            if *self.end.borrow_and_update() == u64::MAX {
                return Next::Ended;
            }
            if let Some(news) = self.take() {
                return news;
            }
            if self.end.changed().await.is_err() {
                return Next::Ended;
            }
        }
    }

    fn take(&mut self) -> Option<Next> {
        let kept = self.feed.kept();
        let end = kept.end();
        let Some(at) = self.next.replace(end).filter(|at| *at >= kept.first) else {
            return Some(Next::Resync(kept.last_seq));
        };
        let skip = usize::try_from(at - kept.first).unwrap_or(usize::MAX);
        let news: Vec<_> = kept.entries.iter().skip(skip).cloned().collect();
        (!news.is_empty()).then_some(Next::Entries(news))
    }
}

fn of_record(cluster: &ClusterName, record: &Record, at: Time, seq: u64) -> Told {
    let (topic, ids, step) = match record {
        Record::Incident(record) => {
            let topic = match record.event {
                IncidentEvent::Decided { .. } => Topic::Decision,
                _ => Topic::Incident,
            };
            (topic, vec![record.incident.to_string()], None)
        }
        Record::Run(record) => {
            let step = step_of(&record.event).map(ToString::to_string);
            let topic = if step.is_some() { Topic::Step } else { Topic::Run };
            (topic, vec![record.run.to_string()], step)
        }
        Record::AttemptEnded(record) => (Topic::Run, vec![record.attempt.run.to_string()], None),
        Record::LossRecorded(loss) => (Topic::Loss, vec![loss.id.to_string()], None),
        Record::LossAcknowledged(said) => (Topic::Loss, vec![said.loss.to_string()], None),
        Record::WatchSet(watch) => (Topic::Cluster, vec![watch.run.to_string()], None),
        Record::WatchReported(report) => (Topic::Cluster, vec![report.run.to_string()], None),
        Record::Attested(_) | Record::Paused(_) | Record::Unpaused(_) => {
            (Topic::Cluster, Vec::new(), None)
        }
    };
    let cluster = Some(cluster.clone());
    Told { seq: Some(seq), at, topic, kind: record.kind(), cluster, ids, step, count: None }
}

/// The step that an event of a run is about; what is about the run as a whole has none.
fn step_of(event: &RunEvent) -> Option<&Path> {
    match event {
        RunEvent::ForeachStarted { step, .. }
        | RunEvent::ForeachStopped { step, .. }
        | RunEvent::CallStarted { step, .. }
        | RunEvent::StepSkipped { step }
        | RunEvent::StepStarted { step, .. }
        | RunEvent::StepDone { step, .. }
        | RunEvent::StepFailed { step, .. }
        | RunEvent::StepDisproved { step, .. }
        | RunEvent::StepDoubted { step, .. } => Some(step),
        RunEvent::EntryStarted { entry, .. }
        | RunEvent::EntryDone { entry, .. }
        | RunEvent::EntrySkipped { entry, .. }
        | RunEvent::EntryFailed { entry, .. }
        | RunEvent::EntryDoubted { entry, .. } => Some(&entry.step),
        RunEvent::RunStarted { .. }
        | RunEvent::ApprovalAsked { .. }
        | RunEvent::Approved { .. }
        | RunEvent::Denied { .. }
        | RunEvent::UnwindStarted { .. }
        | RunEvent::RunParked { .. }
        | RunEvent::RunResumed { .. }
        | RunEvent::Verified
        | RunEvent::VerifyFailed { .. }
        | RunEvent::RunFinished { .. } => None,
    }
}

#[cfg(test)]
mod tests;
