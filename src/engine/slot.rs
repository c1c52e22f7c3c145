//! One cell in the shell: its place in the journal, its inbox, and the one commit under way.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::{leash::Leash, settle::Unsettled};
use crate::{
    domain::{
        base::{
            id::{IncidentId, RunId},
            time::Time,
        },
        cell::{Cell, Step, input::Input},
        journal::record::Record,
    },
    store::{Fence, StoreError, StreamName},
    targets::Target,
};

/// Why a look counts as failed where only the disk did.
pub(super) const UNWRITTEN: &str = "what was seen could not be written down";

/// One cell with what the shell keeps beside it.
#[derive(Debug)]
pub(super) struct Slot {
    /// As it was last durable.
    pub(super) cell: Arc<Cell>,
    /// Its systems.
    pub(super) target: Arc<dyn Target>,
    /// The next position in its stream.
    pub(super) next_n: u64,
    /// The fence of this owner.
    pub(super) fence: Fence,
    /// When its last record was made: no later one is earlier.
    pub(super) last_at: Time,
    /// Where the entries of what can be dropped stand.
    pub(super) positions: Positions,
    /// What came in and was not stepped yet.
    pub(super) inbox: VecDeque<Input>,
    /// The step whose commit is under way.
    pub(super) committing: Option<Committing>,
    /// Not stepped before this time: its last commit did not become durable.
    pub(super) not_before: Option<Time>,
    /// When its timer is set.
    pub(super) timer: Option<Time>,
    /// Why it is not stepped any more.
    pub(super) stopped: Option<String>,
    /// Ends its effects.
    pub(super) leash: Leash,
}

/// A step on its way to the disk.
#[derive(Debug)]
pub(super) struct Committing {
    /// The step.
    pub(super) step: Step,
    /// What it was made of, to be given again where it does not become durable.
    pub(super) inputs: Vec<Input>,
    /// When it was made.
    pub(super) at: Time,
}

impl Slot {
    /// Puts something into the inbox; deliveries of alerts that follow one another are one.
    pub(super) fn push(&mut self, input: Input) {
        if let Input::Alerts { alerts, forgotten, .. } = &input
            && let Some(Input::Alerts { alerts: all, forgotten: gone, .. }) = self.inbox.back_mut()
        {
            all.extend_from_slice(alerts);
            gone.extend_from_slice(forgotten);
            return;
        }
        self.inbox.push_back(input);
    }

    /// Puts back what a step was made of, in front of what came since.
    pub(super) fn put_back(&mut self, inputs: Vec<Input>) {
        for input in inputs.into_iter().rev() {
            match input {
                Input::Ordered(..) | Input::Wake => {}
                // what was seen grows old while the disk does not answer
                Input::Looked(_) => self.inbox.push_front(Input::LookFailed(UNWRITTEN.into())),
                input => self.inbox.push_front(input),
            }
        }
    }
}

impl Slot {
    /// The commit under way, where its answer does not say whether it is there.
    pub(super) fn unsettled(&self, error: StoreError) -> Option<Unsettled> {
        let records = &self.committing.as_ref()?.step.records;
        // they were encoded before; what could not be would not be there
        let bodies = records.iter().filter_map(|record| record.encode().ok()).collect();
        let stream = StreamName::Cluster(self.cell.name().clone());
        Some(Unsettled { stream, from: self.next_n, bodies, error })
    }
}

/// Journal positions of incidents and runs: what is dropped once they are over for long enough.
#[derive(Debug, Default)]
pub(super) struct Positions {
    incidents: BTreeMap<IncidentId, Vec<u64>>,
    runs: BTreeMap<RunId, Vec<u64>>,
}

impl Positions {
    /// Notes where a record stands.
    pub(super) fn note(&mut self, record: &Record, n: u64) {
        match record {
            Record::Incident(record) => self.incidents.entry(record.incident).or_default().push(n),
            Record::Run(record) => self.runs.entry(record.run).or_default().push(n),
            // ledger, losses, attestations, pauses and look-outs are kept for ever
            Record::AttemptEnded(_)
            | Record::LossRecorded(_)
            | Record::LossAcknowledged(_)
            | Record::Attested(_)
            | Record::Paused(_)
            | Record::Unpaused(_)
            | Record::WatchSet(_)
            | Record::WatchReported(_) => {}
        }
    }

    /// The positions of what is forgotten.
    pub(super) fn take(&mut self, (incidents, runs): &(Vec<IncidentId>, Vec<RunId>)) -> Vec<u64> {
        let incidents = incidents.iter().filter_map(|id| self.incidents.remove(id));
        let places: Vec<Vec<u64>> = incidents.collect();
        let runs = runs.iter().filter_map(|id| self.runs.remove(id));
        places.into_iter().chain(runs).flatten().collect()
    }
}
