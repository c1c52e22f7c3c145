//! One cell in the shell: its place in the journal, its inbox, and the one commit under way.

use std::{collections::VecDeque, sync::Arc};

use super::{leash::Leash, settle::Unsettled};
use crate::{
    domain::{
        base::time::Time,
        cell::{Cell, Step, input::Input},
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
    /// The fence of this owner.
    pub(super) fence: Fence,
    /// When its last record was made: no later one is earlier.
    pub(super) last_at: Time,
    /// Entries of its stream that no snapshot stands for.
    pub(super) tail: u64,
    /// The last snapshot tells of what was dropped since.
    pub(super) has_dropped: bool,
    /// A snapshot is on its way.
    pub(super) is_compacting: bool,
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
        Some(Unsettled { stream, from: self.cell.state.next, bodies, error })
    }
}
