//! What people want of a cluster: approve, deny, resume, abandon, acknowledge, attest, pause.

use std::time::Duration;

use crate::domain::{
    base::id::{LossId, MemberName, RunId},
    journal::record::Attribution,
};

/// Who waits for an answer, as the shell numbers them.
pub type Ticket = u64;

/// Something a person wants of one cluster.
#[derive(Clone, Debug)]
pub enum Order {
    /// Yes to what a run asks.
    Approve {
        /// The run.
        run: RunId,
        /// Who and why.
        said: Attribution,
        /// The digest that was seen, where the caller names one: another is refused.
        digest: Option<String>,
        /// The most that may be lost; none: what was shown.
        max_loss: Option<u64>,
    },
    /// No to what a run asks.
    Deny(RunId, Attribution),
    /// A parked run goes on.
    Resume(RunId, Attribution),
    /// A parked run is given up: its finalizers run, and before the point of no return what it did
    /// is taken back.
    Abandon(RunId, Attribution),
    /// A loss is acknowledged.
    Ack(LossId, Attribution),
    /// A member will not come back.
    Attest {
        /// The member.
        member: MemberName,
        /// Who and why.
        said: Attribution,
        /// For how long that counts.
        lasts: Duration,
    },
    /// Nothing is done for now.
    Pause {
        /// Who and why.
        said: Attribution,
        /// For how long; for good where there is none.
        lasts: Option<Duration>,
    },
    /// The pause ends.
    Unpause(Attribution),
    /// Every vantage is asked; answered when that is complete.
    Look,
}

/// What came of it, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// One sentence.
    pub text: String,
}

/// Why it cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// There is no such thing.
    #[error("there is no {0}")]
    NotFound(String),
    /// It is not in a state for that.
    #[error("{message}")]
    Conflict {
        /// What stands in the way.
        message: String,
        /// The run concerned, if one is.
        run: Option<RunId>,
    },
    /// What was approved is not what is asked any more.
    #[error("{0}")]
    Gone(String),
    /// A value that cannot be.
    #[error("{0}")]
    Invalid(String),
}
