//! What can go wrong in a store, told apart by what the caller has to do about it.

use std::{error::Error, path::PathBuf, sync::Arc};

use super::{Fence, StreamName};
use crate::domain::journal::record::EncodeError;

/// What lies under a failure: an I/O or `SQLite` error, shared by all batches that it took down.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Why a store refused or could not do what it was asked.
///
/// An error means that nothing of the batch is stored, or will be, save where
/// [`StoreError::may_be_durable`] says otherwise.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The caller's idea of the stream's position is wrong; nothing of the batch was written.
    #[error("stream {stream} stands at {found}, not at {expected}")]
    Conflict {
        /// The stream that was to grow or be compacted.
        stream: StreamName,
        /// The position that the caller named.
        expected: u64,
        /// The position that the store knows.
        found: u64,
    },
    /// A former owner: a higher fence has appended since. Nothing of the batch was written.
    #[error("stream {stream} has an owner with fence {found}, an append with {fence} is too late")]
    Fenced {
        /// The stream that was to grow.
        stream: StreamName,
        /// The caller's fence.
        fence: Fence,
        /// The fence that the stream is at.
        found: Fence,
    },
    /// The batch is not durable: nothing of it is there. All later ones fail too until
    /// [`Store::heal`].
    ///
    /// [`Store::heal`]: crate::store::Store::heal
    #[error("the store could not make it durable")]
    Failed {
        /// The first failure since the last heal.
        source: Cause,
    },
    /// The batch may be durable, whole, or not at all: what depends on it must be read back first.
    /// All later ones fail until [`Store::heal`].
    ///
    /// [`Store::heal`]: crate::store::Store::heal
    #[error("the store cannot tell whether it became durable")]
    Unknown {
        /// What hides the answer.
        source: Cause,
    },
    /// What the store shows from now on proves nothing: a sync failed, or its files are gone.
    /// Nothing was tried. The process has to end; the next start reads what is really there.
    #[error("the store is broken, and this process has to end")]
    Broken {
        /// What broke it.
        source: Cause,
    },
    /// A record that would not read back as it is. Nothing of its batch was written.
    #[error("the journal takes only what it can read back")]
    Unreadable(#[source] Arc<EncodeError>),
    /// The store could not be read. Nothing changed.
    #[error("the store could not be read")]
    Read {
        /// What lies under it.
        source: Cause,
    },
    /// The store could not be opened at all.
    #[error("cannot open the store {}", path.display())]
    Open {
        /// The directory or file concerned.
        path: PathBuf,
        /// What lies under it.
        source: Cause,
    },
    /// Another server works on this store.
    #[error("the store is held by {}", holder(*pid))]
    Held {
        /// The holder's process id; `None` where the system does not tell.
        pid: Option<u32>,
    },
    /// A later version of quorate wrote this store; this one must not touch it.
    #[error(
        "the store has schema {found}, written by quorate {written_by}; this one knows {known}"
    )]
    NewerSchema {
        /// The schema in the store.
        found: u32,
        /// The highest schema that this program knows.
        known: u32,
        /// The version that wrote it.
        written_by: String,
    },
    /// Commits that were durable are not there any more: the log was deleted or damaged, or an older
    /// database was put in its place.
    #[error(
        "the journal in {dir} has lost commits that were durable: it ends at state {found} (entry \
         {found_seq}), and was known at state {known} (entry {known_seq}). Look at it with \
         `quorate store check {dir}` and restore a backup; to go on without what is lost, delete \
         {dir}/{mark}",
        dir = dir.display()
    )]
    Shorter {
        /// The store's folder.
        dir: PathBuf,
        /// The state that the journal has.
        found: u64,
        /// The last entry that it has.
        found_seq: u64,
        /// The state that is known from outside of it.
        known: u64,
        /// The last entry then.
        known_seq: u64,
        /// The file that knows.
        mark: &'static str,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// What is stored contradicts itself. A person has to look.
    #[error("the store is corrupt: {what}")]
    Corrupt {
        /// What was found.
        what: String,
    },
}

impl StoreError {
    /// Whether the same call may succeed later without anybody changing anything here: what the
    /// outside is told as 503.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Failed { .. }
            | Self::Unknown { .. }
            | Self::Broken { .. }
            | Self::Read { .. } => true,
            Self::Conflict { .. }
            | Self::Fenced { .. }
            | Self::Unreadable(_)
            | Self::Open { .. }
            | Self::Held { .. }
            | Self::NewerSchema { .. }
            | Self::Shorter { .. }
            | Self::Closed
            | Self::Corrupt { .. } => false,
        }
    }

    /// Whether what was to be written may be there all the same. It has to be read back before
    /// anybody acts on either answer.
    pub fn may_be_durable(&self) -> bool {
        match self {
            Self::Unknown { .. } => true,
            Self::Failed { .. }
            | Self::Broken { .. }
            | Self::Read { .. }
            | Self::Conflict { .. }
            | Self::Fenced { .. }
            | Self::Unreadable(_)
            | Self::Open { .. }
            | Self::Held { .. }
            | Self::NewerSchema { .. }
            | Self::Shorter { .. }
            | Self::Closed
            | Self::Corrupt { .. } => false,
        }
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".into(), |pid| format!("process {pid}"))
}
