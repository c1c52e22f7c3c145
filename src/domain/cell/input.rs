//! What comes into a cell: a closed list.

use std::sync::Arc;

use super::{
    Setup,
    effect::CallKey,
    order::{Order, Ticket},
};
use crate::domain::{
    alert::Alert,
    base::time::Time,
    etcd::{evidence::Evidence, versions::Toolset},
    journal::{record::Watch, snapshot::Rested},
    rules::{
        action::{Done, Failure, Probed},
        expr::Value,
    },
};

/// Something that a cell takes in.
#[derive(Clone, Debug)]
pub enum Input {
    /// Alerts about the cluster, new, changed, repeated or handed out again; and those that are gone.
    Alerts {
        /// The alerts.
        alerts: Vec<Arc<Alert>>,
        /// Rows that were dropped.
        forgotten: Vec<i64>,
        /// When they arrived.
        arrived: Time,
    },
    /// A look is complete.
    Looked(Box<Looked>),
    /// A look brought nothing.
    LookFailed(String),
    /// A look for a run is complete; `None` where it brought nothing.
    RunLooked(Box<RunLooked>),
    /// A call's answer.
    Called(Box<Answer>),
    /// The cluster's Alertmanager was asked, whatever it said.
    Reconciled,
    /// A look-out's repeated proof is complete: whether all members hold the same, if it can be told.
    Proved(Watch, Option<bool>),
    /// A person wants something.
    Ordered(Ticket, Order),
    /// Works by something else from now on.
    Reload(Arc<Setup>),
    /// A snapshot holds these in brief: so does the cell from now on.
    Compacted(Rested),
    /// Forgets what ended before this time.
    Sweep(Time),
    /// The first input after a start.
    Started,
    /// Quorate stops: nothing is begun any more.
    Stopping,
    /// Nothing but time.
    Wake,
}

/// What a look brings back.
#[derive(Clone, Debug)]
pub struct Looked {
    /// When it began.
    pub began: Time,
    /// The readings.
    pub evidence: Evidence,
    /// Whether only the client ports were asked.
    pub is_shallow: bool,
    /// The highest revision in Prometheus before the outage, where it was asked.
    pub prometheus_max: Option<i64>,
    /// The tools of a repair or why they cannot be used, where they were asked.
    pub tools: Option<Result<Toolset, String>>,
}

/// What a run's own look brings back.
#[derive(Clone, Debug)]
pub struct RunLooked {
    /// When it began.
    pub began: Time,
    /// The readings; `None` where there are none.
    pub evidence: Option<Evidence>,
}

/// What a call brings back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Which call.
    pub key: CallKey,
    /// What came of it.
    pub result: Answered,
}

/// What came of one call.
#[derive(Clone, Debug)]
pub enum Answered {
    /// What stands there now.
    Before(Result<Value, Failure>),
    /// It was done, or not.
    Acted(Result<Done, Failure>),
    /// It never began, and why: nothing of it was done.
    Unbegun(String),
    /// What reality says of an earlier call.
    Probed(Probed),
}
