//! The line in front of the writer thread: bounded, in the order of the calls, never blocking.
//!
//! It knows nothing of `SQLite`. The one thing to know: after a failure every commit is refused at
//! once, here and without the writer, up to the next heal; otherwise what follows it could become
//! durable although it builds on what did not. A commit that finds no room is such a failure.

use std::{
    collections::VecDeque,
    io, mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{oneshot, watch};

use super::{journal::Journal, write::Write};
use crate::store::{Batch, Cause, Committed, Fence, Pending, QUEUED_MAX, StoreError, StreamName};

/// Who waits for it.
pub(super) enum Answer {
    /// For a batch: its number is the last sequence number.
    Batch(oneshot::Sender<Result<Committed, StoreError>>),
    /// For a claim: its number is the fence.
    Claim(oneshot::Sender<Result<Fence, StoreError>>),
}

impl Answer {
    /// Answers; who asked may have gone.
    pub(super) fn send(self, result: Result<u64, StoreError>) {
        match self {
            Self::Batch(to) => drop(to.send(result.map(|last_seq| Committed { last_seq }))),
            Self::Claim(to) => drop(to.send(result.map(Fence))),
        }
    }
}

/// What the writer thread is asked to do.
pub(super) enum Request {
    /// To make something durable.
    Write(Write, Answer),
    /// Anything else that touches the database; brings its own answer.
    Ask(Box<dyn FnOnce(&mut Journal) + Send>),
    /// To end the failed state, where its failure has at most this number.
    Heal(u64),
    /// To end.
    Close,
}

/// The line. Callers push, the writer thread takes all there is at once.
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    gone: Condvar,
    fatal: watch::Sender<Option<StoreError>>,
}

#[derive(Default)]
struct State {
    requests: VecDeque<Request>,
    /// Who waits for what the writer is writing now.
    writing: Vec<Answer>,
    /// Failures so far. A heal ends only what had failed when it was called: a commit that was in
    /// line then and fails later is news to its caller.
    failures: u64,
    /// What commits are told since the last failure.
    failed: Option<StoreError>,
    /// What everybody is told, for good.
    broken: Option<StoreError>,
    closed: bool,
    /// The writer is gone.
    ended: bool,
}

impl Queue {
    pub(super) fn new() -> Self {
        let (state, filled, gone) = Default::default();
        Self { state, filled, gone, fatal: watch::Sender::new(None) }
    }

    /// Lines up a commit.
    pub(super) fn commit(&self, batch: Batch) -> Pending {
        let (answer, pending) = oneshot::channel();
        match self.write(Write::Batch(batch), Answer::Batch(answer)) {
            Ok(()) => Pending::waiting(pending),
            Err(error) => Pending::known(Err(error)),
        }
    }

    /// Lines up a claim.
    pub(super) fn claim(
        &self,
        stream: StreamName,
    ) -> Result<oneshot::Receiver<Result<Fence, StoreError>>, StoreError> {
        let (answer, claimed) = oneshot::channel();
        self.write(Write::Claim(stream), Answer::Claim(answer)).map(|()| claimed)
    }

    fn write(&self, what: Write, answer: Answer) -> Result<(), StoreError> {
        let mut state = self.state();
        if let Some(refusal) = state.refusal() {
            return Err(refusal);
        }
        if state.requests.len() >= QUEUED_MAX {
            let error = StoreError::Failed { source: full() };
            state.fail(&error);
            return Err(error);
        }
        self.push(state, Request::Write(what, answer));
        Ok(())
    }

    /// Lines up anything else. A read that finds no room harms nobody, so it fails alone.
    pub(super) fn ask(
        &self,
        question: Box<dyn FnOnce(&mut Journal) + Send>,
    ) -> Result<(), StoreError> {
        let state = self.state();
        if let Some(error) = state.end() {
            return Err(error);
        }
        if state.requests.len() >= QUEUED_MAX {
            return Err(StoreError::Read { source: full() });
        }
        self.push(state, Request::Ask(question));
        Ok(())
    }

    /// Lines up a heal, where something failed since the last one. It always finds room: there is
    /// at most one for each failure, so they are bounded as well.
    pub(super) fn heal(&self) {
        let mut state = self.state();
        if state.failed.take().is_some() && !state.closed {
            let failures = state.failures;
            self.push(state, Request::Heal(failures));
        }
    }

    /// Lines up the end and refuses what comes after it.
    pub(super) fn close(&self) {
        let mut state = self.state();
        if !mem::replace(&mut state.closed, true) {
            self.push(state, Request::Close);
        }
    }

    /// Waits until the writer is gone. After `within` it waits no longer: what the writer has in
    /// its hands may become durable, what is in line never will.
    pub(super) fn await_end(&self, within: Duration) -> Result<(), StoreError> {
        let until = Instant::now() + within;
        let mut state = self.state();
        while !state.ended {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.give_up(state, within));
            }
            let waited = self.gone.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    /// Whether the writer is gone.
    pub(super) fn has_ended(&self) -> bool {
        self.state().ended
    }

    fn give_up(&self, mut state: MutexGuard<'_, State>, within: Duration) -> StoreError {
        let writing = mem::take(&mut state.writing);
        let in_line = mem::replace(&mut state.requests, VecDeque::from([Request::Close]));
        let waited = in_line.iter().filter(|one| matches!(one, Request::Write(..))).count();
        let source: Cause = Arc::new(io::Error::other(format!(
            "the disk has not answered for {} s; {} commits under way may be durable, {waited} \
             that waited behind them are not",
            within.as_secs(),
            writing.len(),
        )));
        let error = StoreError::Unknown { source };
        state.broken.get_or_insert_with(|| error.clone());
        drop(state);
        refuse(writing, &error);
        // whoever waits in line hears that it is closed
        drop(in_line);
        self.fatal.send_replace(Some(error.clone()));
        error
    }

    /// Resolves once the store is broken.
    pub(super) fn fatal(&self) -> watch::Receiver<Option<StoreError>> {
        self.fatal.subscribe()
    }

    /// Waits until there is something to do and takes all of it; nothing if nothing comes.
    pub(super) fn take(&self, within: Duration) -> VecDeque<Request> {
        let state = self.state();
        let is_idle = |state: &mut State| state.requests.is_empty();
        let waited = self.filled.wait_timeout_while(state, within, is_idle);
        mem::take(&mut waited.unwrap_or_else(PoisonError::into_inner).0.requests)
    }

    /// The writer begins to write for these.
    pub(super) fn writing(&self, answers: Vec<Answer>) {
        self.state().writing = answers;
    }

    /// The writer has written: who is to be answered now. Nobody, if nobody waits any longer.
    pub(super) fn written(&self) -> Vec<Answer> {
        mem::take(&mut self.state().writing)
    }

    /// Refuses every commit with this from now on, up to the next heal. Answers its number.
    pub(super) fn fail(&self, error: &StoreError) -> u64 {
        self.state().fail(error)
    }

    /// Refuses everything with this from now on.
    pub(super) fn break_with(&self, error: &StoreError) {
        let broken = self.state().broken.get_or_insert_with(|| error.clone()).clone();
        self.fatal.send_replace(Some(broken));
    }

    /// Refuses everything, also what is in line: the writer is gone, for whatever reason.
    pub(super) fn abandon(&self) {
        let mut state = self.state();
        (state.closed, state.ended) = (true, true);
        let (writing, in_line) = (mem::take(&mut state.writing), mem::take(&mut state.requests));
        drop(state);
        self.gone.notify_all();
        if !writing.is_empty() {
            let source: Cause = Arc::new(io::Error::other("the writer ended while it wrote"));
            refuse(writing, &StoreError::Unknown { source });
        }
        drop(in_line);
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

impl State {
    fn end(&self) -> Option<StoreError> {
        self.broken.clone().or_else(|| self.closed.then_some(StoreError::Closed))
    }

    fn refusal(&self) -> Option<StoreError> {
        self.end().or_else(|| self.failed.clone())
    }

    fn fail(&mut self, error: &StoreError) -> u64 {
        self.failures += 1;
        self.failed.get_or_insert_with(|| error.clone());
        self.failures
    }
}

fn refuse(answers: Vec<Answer>, error: &StoreError) {
    for answer in answers {
        answer.send(Err(error.clone()));
    }
}

fn full() -> Cause {
    Arc::new(io::Error::other(format!("{QUEUED_MAX} requests wait for the disk")))
}
