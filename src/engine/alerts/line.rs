//! What stands between memory and disk: deliveries in the order of their commits.
//!
//! An entry without a commit of its own rides behind those before it.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use tokio::sync::oneshot;

use super::{
    handed::Handed,
    limits::PIECE,
    request::{ObserveError, Receipt},
    table::AlertTable,
};
use crate::{
    domain::alert::Alert,
    engine::journal::{Commit, CommitError},
};

/// A change of memory, and what takes it back.
#[derive(Debug)]
pub(super) struct Undo {
    pub(super) id: i64,
    pub(super) before: Option<Arc<Alert>>,
}

/// One delivery, or one piece of other work.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) commit: Option<Commit>,
    /// What it changed, in order. What it only repeated is not among it: that is no more than known.
    pub(super) undo: Vec<Undo>,
    /// Rows written again by it, because it was not known what the disk has of them.
    pub(super) settled: BTreeSet<i64>,
    /// What is handed over once it is durable.
    pub(super) hand: Vec<Handed>,
    pub(super) answer: Option<Answer>,
}

/// Who waits for an entry, and what it hears if all is well.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) reply: oneshot::Sender<Result<Receipt, ObserveError>>,
    pub(super) receipt: Receipt,
}

impl Answer {
    /// Who waited may have gone; what is durable stays.
    pub(super) fn give(self, result: Result<(), CommitError>) {
        let result = result.map(|()| self.receipt).map_err(ObserveError::NotDurable);
        drop(self.reply.send(result));
    }
}

impl Entry {
    /// Puts back what it changed, and files it under who owns it now.
    pub(super) fn roll_back(&mut self, table: &AlertTable) {
        let roll = table.roll();
        while !self.undo.is_empty() {
            let mut alerts = table.write();
            for Undo { id, before } in
                self.undo.drain(self.undo.len().saturating_sub(PIECE)..).rev()
            {
                let owner = before.as_ref().map(|alert| roll.number(&alert.labels));
                alerts.restore(id, before.as_ref());
                owner.and_then(|owner| alerts.assign(id, owner));
            }
        }
    }
}

/// The entries, oldest first.
#[derive(Debug, Default)]
pub(super) struct Line(VecDeque<Entry>);

impl Line {
    pub(super) fn push(&mut self, entry: Entry) {
        self.0.push_back(entry);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Waits for the first entry's answer. Nothing is lost if it is not waited for to the end.
    pub(super) async fn first(&mut self) -> Result<(), CommitError> {
        match self.0.front_mut().and_then(|entry| entry.commit.as_mut()) {
            Some(commit) => commit.await.map(drop),
            None => Ok(()),
        }
    }

    /// Takes the first entry out, once it has its answer.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        self.0.pop_front()
    }

    /// Takes all of them out, oldest first.
    pub(super) fn take(&mut self) -> VecDeque<Entry> {
        std::mem::take(&mut self.0)
    }
}
