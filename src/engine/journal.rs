//! Commits to the store, from everybody who has something to make durable: the cells and the intake.
//!
//! It keeps no state of its callers and retries nothing. The one thing to know: a [`Commit`] is also a
//! guard. Its owner drops it after the answer, once its own memory is in order again: rolled back, or
//! taken over.
//!
//! # Design
//!
//! After a failure every commit that was made before the store is healed fails as well: it may build
//! on what did not become durable. So the store must be healed once, and only when nobody holds
//! memory that is ahead of the disk. Were each caller to heal for itself, a thousand webhooks under
//! way would make a thousand of one failure.
//!
//! No task of its own: whoever drops the last guard heals, or commits first after the pause, or asks
//! whether the store is well.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Instant;

use crate::store::{Batch, Committed, Pending, Store, StoreError};

#[cfg(test)]
mod tests;

/// Between two heals while the store keeps failing. A full disk answers at once: without a pause its
/// senders would keep it busy; a second is what a sender does not notice.
const HEAL_AGAIN: Duration = Duration::from_secs(1);

/// A store that was healed and has not been written to since counts as well again after this long:
/// where nobody is sent to a server that is not ready, nobody would ever prove it well.
const TRUSTED_AFTER: Duration = Duration::from_secs(10);

/// The way to the store. Clones are the same journal.
#[derive(Clone, Debug)]
pub struct Journal {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<dyn Store>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Commits whose guard is held.
    outstanding: usize,
    /// The failure that is not healed yet.
    failed: Option<CommitError>,
    /// The last heal, until something has become durable since.
    healed_at: Option<Instant>,
    /// The store is at its end: nothing heals it.
    ended: bool,
}

/// Why a commit is not known to be durable.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// Only this batch was refused: its owner's idea of a stream is wrong. All others go on.
    #[error("the store refused it")]
    Refused(#[source] StoreError),
    /// Nothing of it is on the disk.
    #[error("it could not be made durable")]
    NotDurable(#[source] StoreError),
    /// It may be on the disk or not: what it was to change must be read back, or written again.
    #[error("whether it is durable is not known")]
    Unknown(#[source] StoreError),
    /// The store takes nothing any more; only another start helps.
    #[error("the store has ended")]
    Ended(#[source] StoreError),
}

impl CommitError {
    /// What an error of the store means for who committed. Every outcome is mapped here and nowhere
    /// else.
    pub(super) fn of(error: StoreError) -> Self {
        match error {
            StoreError::Conflict { .. }
            | StoreError::Fenced { .. }
            | StoreError::Unreadable(_)
            | StoreError::Corrupt { .. } => Self::Refused(error),
            StoreError::Failed { .. } | StoreError::Read { .. } => Self::NotDurable(error),
            StoreError::Unknown { .. } => Self::Unknown(error),
            StoreError::Broken { .. }
            | StoreError::Closed
            | StoreError::Open { .. }
            | StoreError::Held { .. }
            | StoreError::Shorter { .. }
            | StoreError::NewerSchema { .. } => Self::Ended(error),
        }
    }

    /// What the failure of another batch means for one that never reached the store.
    fn of_what_was_not_sent(&self) -> Self {
        match self {
            Self::Unknown(error) => Self::NotDurable(error.clone()),
            other => other.clone(),
        }
    }

    /// Whether the same batch may become durable later: what a sender is told as 503.
    pub fn retryable(&self) -> bool {
        match self {
            Self::NotDurable(_) | Self::Unknown(_) => true,
            Self::Refused(_) | Self::Ended(_) => false,
        }
    }

    /// The store's own word.
    pub fn source_error(&self) -> &StoreError {
        match self {
            Self::Refused(error)
            | Self::NotDurable(error)
            | Self::Unknown(error)
            | Self::Ended(error) => error,
        }
    }
}

impl Journal {
    /// A journal over this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { shared: Arc::new(Shared { store, state: Mutex::default() }) }
    }

    /// The store, to be read.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.shared.store
    }

    /// Takes its place in line at once: the order of calls is the order of commits. While a failure
    /// is not healed it is refused at once, and nothing reaches the store.
    pub fn commit(&self, batch: Batch) -> Commit {
        let mut state = self.shared.state();
        self.shared.heal_if_due(&mut state);
        if let Some(failure) = &state.failed {
            return Commit(Way::Refused(Some(failure.of_what_was_not_sent())));
        }
        state.outstanding += 1;
        let is_proof = !batch.is_empty();
        // under the lock, so that no other commit can come between the failure and its notice
        let pending = self.shared.store.commit(batch);
        Commit(Way::Sent { pending, guard: Guard(Arc::clone(&self.shared)), is_proof })
    }

    /// Whether commits become durable, as far as is known.
    pub fn is_healthy(&self) -> bool {
        let mut state = self.shared.state();
        self.shared.heal_if_due(&mut state);
        let trusted = state.healed_at.is_none_or(|at| at.elapsed() >= TRUSTED_AFTER);
        state.failed.is_none() && trusted && !state.ended
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // nothing under the lock can panic half way through a change
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, result: &Result<Committed, CommitError>, is_proof: bool) {
        let mut state = self.state();
        match result {
            Ok(_) if is_proof => state.healed_at = None,
            Ok(_) | Err(CommitError::Refused(_)) => {}
            Err(failure) => {
                state.ended |= matches!(failure, CommitError::Ended(_));
                if state.failed.is_none() {
                    tracing::error!(error = %super::chain(failure),
                        "the store fails: what comes in is refused until it takes commits again");
                    state.failed = Some(failure.clone());
                }
            }
        }
    }

    fn release(&self) {
        let mut state = self.state();
        state.outstanding -= 1;
        self.heal_if_due(&mut state);
    }

    fn heal_if_due(&self, state: &mut State) {
        let due = state.healed_at.is_none_or(|at| at.elapsed() >= HEAL_AGAIN);
        if state.failed.is_some() && state.outstanding == 0 && due && !state.ended {
            state.failed = None;
            state.healed_at = Some(Instant::now());
            self.store.heal();
        }
    }
}

/// A commit on its way, and the guard that holds a heal up until it is dropped.
///
/// Drop it only after its result was taken in: memory that was ahead of the disk is rolled back, or
/// the disk has caught up.
#[derive(Debug)]
#[must_use = "until it is dropped, a failed store is not healed"]
pub struct Commit(Way);

#[derive(Debug)]
enum Way {
    /// It never reached the store.
    Refused(Option<CommitError>),
    Sent {
        pending: Pending,
        guard: Guard,
        is_proof: bool,
    },
}

impl Commit {
    /// Why it was refused at once, without a way to the store.
    pub fn refusal(&self) -> Option<&CommitError> {
        match &self.0 {
            Way::Refused(failure) => failure.as_ref(),
            Way::Sent { .. } => None,
        }
    }
}

impl Future for Commit {
    type Output = Result<Committed, CommitError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.get_mut().0 {
            Way::Refused(failure) => {
                let failure = failure.take();
                Poll::Ready(Err(failure.unwrap_or(CommitError::Ended(StoreError::Closed))))
            }
            Way::Sent { pending, guard, is_proof } => {
                let result = ready!(Pin::new(pending).poll(cx)).map_err(CommitError::of);
                guard.0.note(&result, *is_proof);
                Poll::Ready(result)
            }
        }
    }
}

#[derive(Debug)]
struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.release();
    }
}
