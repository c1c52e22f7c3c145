//! The systems we read and repair, behind one trait: nothing above this layer knows a protocol.
//!
//! Reading ([`Target::assess`]) and acting ([`Target::act`]) are apart: a look never changes
//! anything, an action never decides anything. The catalogue of actions is a value.

pub(crate) mod action;
mod alertmanager;
pub mod catalogue;
pub mod cluster;
pub(crate) mod effect;
pub(crate) mod etcd;
mod host;
mod http;
mod prometheus;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use self::{
    effect::Deadline,
    host::child::{bind_children_by, verb as child},
};

use std::{fmt::Debug, time::Duration};

use futures::future::BoxFuture;

pub use crate::domain::etcd::versions::{Tool, Toolset};
use crate::domain::{
    base::time::Time,
    etcd::evidence::Evidence,
    rules::{
        action::{Call, Done, Failure, Probed},
        expr::Value,
    },
};

/// What one look must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Client ports, the data directories' marks and the linearizable voter set only: the watch of
    /// a healthy cluster. All else reads as not configured.
    Watch,
    /// Every vantage.
    Full,
    /// Every vantage, but a client port that stays silent although its member's other ports answered
    /// is given up soon: for a run that waits for members it started itself. A member that joins is
    /// silent there for seven seconds.
    FailFast,
    /// Every vantage, and each is given up after [`BRIEF`]: for evidence that may not be old.
    Brief,
}

/// How long a vantage may take in a brief look: below the five seconds that evidence for a point of no
/// return may be old, with time left for the commit and for the act's turn.
pub const BRIEF: Duration = Duration::from_secs(3);

/// One cluster's systems.
///
/// *Guarantees*: `assess` and `before` change nothing. A silent system delays an answer by no more
/// than the probe timeout. Errors carry what failed, on what, and what to do; never a secret.
/// *Assumptions*: the caller journals before and after `act`.
pub trait Target: Send + Sync + Debug {
    /// One look, every member and host in parallel. `now` is asked for each reading's time.
    fn assess<'a>(
        &'a self,
        depth: Depth,
        now: &'a (dyn Fn() -> Time + Send + Sync),
    ) -> BoxFuture<'a, Evidence>;

    /// The call's own reading of what it is about to change; journalled before it acts.
    fn before<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Value, Failure>>;

    /// Does it. `changed` of the result is `before` ≠ wanted. At the deadline the effect is cut off, and
    /// the answer comes when all of it has ended; what could not be ended, the failure tells. One that is
    /// dropped instead ends what it can, and nobody knows when.
    fn act<'a>(
        &'a self,
        call: &'a Call,
        before: &'a Value,
        deadline: &'a Deadline,
    ) -> BoxFuture<'a, Result<Done, Failure>>;

    /// Asks reality whether an earlier, unrecorded `act` took effect.
    fn probe<'a>(&'a self, call: &'a Call, before: &'a Value) -> BoxFuture<'a, Probed>;

    /// The exact commands of a call, for a person who approves; holes as `<…>`.
    fn commands(&self, call: &Call) -> Vec<String>;

    /// The highest revision any member showed in Prometheus in `[from, until]`; `None` where there
    /// is no Prometheus or no sample.
    fn revision_max(&self, from: Time, until: Time) -> BoxFuture<'_, Option<i64>>;

    /// The tools of a repair, where they can be used: there, new enough, and on data that can be
    /// moved. `Err` says what is in the way, where, and what to do.
    fn tools(&self) -> BoxFuture<'_, Result<Toolset, String>>;

    /// What fires and what is suppressed (`GET /api/v2/alerts`); `None` where there is no Alertmanager.
    fn alerts(&self) -> BoxFuture<'_, Option<Result<Vec<AlertState>, Failure>>>;
}

/// One alert as its Alertmanager has it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertState {
    /// Its labels.
    pub labels: crate::domain::alert::labels::Labels,
    /// When it started to fire, as that Alertmanager has it.
    pub starts_at: Time,
    /// Whether it is suppressed: silenced, inhibited or muted.
    pub silenced: bool,
}
