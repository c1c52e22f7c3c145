//! The line in front of the writer thread: bounded, in the order of the calls, never blocking.
//!
//! It knows nothing of `SQLite`. The one thing to know: a commit that finds no room fails every
//! later one up to the next heal, exactly as a broken disk would. Otherwise what follows it could
//! become durable although it builds on what did not.

use std::{
    collections::VecDeque,
    io, mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use super::journal::Journal;
use crate::store::{Batch, Cause, Committed, Pending, QUEUED_MAX, StoreError};

/// Who waits for a commit.
pub(super) type Answer = oneshot::Sender<Result<Committed, StoreError>>;

/// What the writer thread is asked to do.
pub(super) enum Request {
    /// To make a batch durable.
    Commit(Batch, Answer),
    /// Anything else that touches the database; brings its own answer.
    Ask(Box<dyn FnOnce(&mut Journal) + Send>),
    /// To end the failed state.
    Heal,
    /// To end.
    Close(oneshot::Sender<()>),
}

/// The line. Callers push, the writer thread takes all there is at once.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    requests: VecDeque<Request>,
    overflowed: bool,
    closed: bool,
}

impl Queue {
    /// Lines up a commit.
    pub(super) fn commit(&self, batch: Batch) -> Pending {
        let mut state = self.state();
        if state.closed {
            return Pending::known(Err(StoreError::Closed));
        }
        if state.overflowed || state.requests.len() >= QUEUED_MAX {
            state.overflowed = true;
            return Pending::known(Err(StoreError::Failed { source: full() }));
        }
        let (answer, pending) = oneshot::channel();
        self.push(state, Request::Commit(batch, answer));
        Pending::waiting(pending)
    }

    /// Lines up anything else. A read that finds no room harms nobody, so it fails alone.
    pub(super) fn ask(
        &self,
        question: Box<dyn FnOnce(&mut Journal) + Send>,
    ) -> Result<(), StoreError> {
        let state = self.state();
        if state.closed {
            return Err(StoreError::Closed);
        }
        if state.requests.len() >= QUEUED_MAX {
            return Err(StoreError::Read { source: full() });
        }
        self.push(state, Request::Ask(question));
        Ok(())
    }

    /// Lines up a heal. It always finds room: two in a row are one, so they are bounded as well.
    pub(super) fn heal(&self) {
        let mut state = self.state();
        state.overflowed = false;
        if !state.closed && !matches!(state.requests.back(), Some(Request::Heal)) {
            self.push(state, Request::Heal);
        }
    }

    /// Lines up the end and refuses what comes after it. `None` if it was closed before.
    pub(super) fn close(&self) -> Option<oneshot::Receiver<()>> {
        let mut state = self.state();
        if mem::replace(&mut state.closed, true) {
            return None;
        }
        let (answer, closed) = oneshot::channel();
        self.push(state, Request::Close(answer));
        Some(closed)
    }

    /// Waits until there is something to do and takes all of it.
    pub(super) fn take(&self) -> VecDeque<Request> {
        let state = self.state();
        let waited = self.filled.wait_while(state, |state| state.requests.is_empty());
        mem::take(&mut waited.unwrap_or_else(PoisonError::into_inner).requests)
    }

    /// Refuses everything, also what is in line: the writer is gone, for whatever reason.
    pub(super) fn abandon(&self) {
        let mut state = self.state();
        state.closed = true;
        state.requests.clear();
    }

    fn push(&self, mut state: MutexGuard<'_, State>, request: Request) {
        state.requests.push_back(request);
        let first = state.requests.len() == 1;
        drop(state);
        if first {
            self.filled.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // nothing under the lock can panic half way through a change
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn full() -> Cause {
    Arc::new(io::Error::other(format!("{QUEUED_MAX} requests wait for the disk")))
}
