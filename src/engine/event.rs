//! Everything that can happen to the loop: one closed list.

use std::fmt;

use tokio::sync::oneshot;

use super::{
    commands::{Command, CommandError, Reply},
    intake::Receipt,
    looks::Seen,
    state::State,
};
use crate::{
    domain::{
        alert::Incoming,
        base::{
            id::{ClusterName, RunId},
            time::Time,
        },
        journal::record::{Record, Watch},
    },
    store::StoreError,
    targets::AlertState,
};

/// A look into the state, from outside.
pub type Reader = Box<dyn FnOnce(&State) + Send>;

/// Something the loop handles.
pub enum Event {
    /// A webhook's alerts.
    Alerts(Vec<Incoming>, oneshot::Sender<Receipt>),
    /// A commit of alerts did not become durable: memory is ahead of the disk.
    StoreFailed,
    /// A look at a cluster is complete.
    Seen(ClusterName, Box<Seen>),
    /// What a cluster's Alertmanager had when it was asked; `None` where it did not answer.
    Reconciled(ClusterName, Time, Option<Vec<AlertState>>),
    /// A look-out's repeated proof is complete: whether all members hold the same, if it can be told.
    Proved(ClusterName, Watch, Option<bool>),
    /// A runner has something to write down.
    Append(AppendRequest),
    /// A runner has come to rest: finished, parked, or told to stop.
    RunnerDone(RunId),
    /// A person wants something.
    Command(Command, oneshot::Sender<Result<Reply, CommandError>>),
    /// Somebody wants every vantage asked before it looks into the state.
    LookNow(ClusterName, oneshot::Sender<()>),
    /// Somebody wants to see.
    Read(Reader),
}

/// Records of a runner.
#[derive(Debug)]
pub struct AppendRequest {
    /// The cluster.
    pub cluster: ClusterName,
    /// The run.
    pub run: RunId,
    /// The run's version that the runner decided upon; `None` where the records report what has
    /// happened and must be kept whatever else did.
    pub version: Option<u64>,
    /// What to write.
    pub records: Vec<Record>,
    /// Answers when it is durable.
    pub reply: oneshot::Sender<Result<(), AppendError>>,
}

/// Why records were not written.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Somebody else changed the run since the runner looked: look again.
    #[error("the run was changed meanwhile")]
    Stale,
    /// It cannot follow on what is journalled: a bug of ours.
    #[error("the record was refused")]
    Refused(#[source] crate::domain::run::apply::Illegal),
    /// It could not be made durable.
    #[error("the journal did not take the record")]
    Store(#[source] StoreError),
    /// The engine has stopped.
    #[error("the engine has stopped")]
    Stopped,
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::Alerts(..) => "Alerts",
            Self::StoreFailed => "StoreFailed",
            Self::Seen(..) => "Seen",
            Self::Reconciled(..) => "Reconciled",
            Self::Proved(..) => "Proved",
            Self::Append(..) => "Append",
            Self::RunnerDone(_) => "RunnerDone",
            Self::Command(..) => "Command",
            Self::LookNow(..) => "LookNow",
            Self::Read(_) => "Read",
        };
        f.write_str(word)
    }
}
