//! What a cell wants done: a closed list. Each effect that asks something brings back exactly one
//! input, whatever happens to it.

use std::{sync::Arc, time::Duration};

use super::order::{OrderError, Reply, Ticket};
use crate::domain::{
    alert::labels::Labels,
    base::{
        id::{EtcdId, MemberName, ResponseName, RunId},
        time::Time,
    },
    incident::{decision::Reason, ledger::Subject},
    journal::record::Watch,
    rules::{action::Call, expr::Value},
    run::{event::EntryKey, path::Path},
};

/// Something to perform once the step's commit is durable.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Look at the cluster; brings back `Looked` or `LookFailed`.
    Look(LookWanted),
    /// Look at it for a run; brings back `RunLooked`.
    RunLook(Pace),
    /// One call of an action; brings back `Called`.
    Call(Box<CallWanted>),
    /// Ask the cluster's Alertmanager; brings back `Reconciled`.
    Reconcile,
    /// Compare all members again; brings back `Proved`.
    Prove(Watch, Call),
    /// Answer a person.
    Answer(Ticket, Result<Reply, OrderError>),
}

/// How long a run's look waits for what is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As long as any look.
    Full,
    /// A port that stays silent although the member's others answered is given up soon.
    FailFast,
    /// Everything is given up soon: for the point of no return, which rests on nothing old.
    Brief,
}

/// A look that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookWanted {
    /// Whether the client ports are enough.
    pub is_shallow: bool,
    /// Whether an incident or a run waits for it.
    pub is_urgent: bool,
    /// The span before an outage in which Prometheus is asked for the last revision.
    pub outage: Option<(Time, Time)>,
    /// Whether the tools are asked.
    pub tools: bool,
}

/// Which call of a run: a step, or an entry of its `undo` or `finally`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallKey {
    /// The run.
    pub run: RunId,
    /// The place in it.
    pub place: Place,
}

/// A place in a run that may have a call under way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A step.
    Step(Path),
    /// An entry of `undo` or `finally`.
    Entry(EntryKey),
}

/// One call of an action.
#[derive(Clone, Debug)]
pub struct CallWanted {
    /// Which.
    pub key: CallKey,
    /// The filled call.
    pub call: Call,
    /// What of it.
    pub what: Ask,
    /// Its limit.
    pub timeout: Duration,
    /// What acts does not begin after this: what it was allowed by would be too old.
    pub begin_by: Option<Time>,
}

/// What is asked of an action.
#[derive(Clone, Debug)]
pub enum Ask {
    /// What stands there now.
    Before,
    /// Do it; with what stood there before.
    Act(Value),
    /// Did an earlier one take effect; with what stood there before it.
    Probe(Value),
}

/// What is counted or logged beside the records.
#[derive(Clone, Debug)]
pub enum Note {
    /// A decision not to act is in force from now on.
    Skipped {
        /// The response.
        response: ResponseName,
        /// Why.
        reason: Reason,
    },
    /// From the alert's arrival, or the end of a wait, to a new decision.
    DecisionLatency(Duration),
    /// A response has too many subjects.
    SubjectRefused {
        /// The subject that was not taken.
        subject: Subject,
        /// The alert about it.
        alert: Labels,
        /// Whether it is the first since there was room.
        is_first: bool,
    },
    /// A response has too many open incidents.
    IncidentRefused {
        /// The subject without an incident.
        subject: Subject,
        /// Whether it is the first since there was room.
        is_first: bool,
    },
    /// There is room again.
    Room {
        /// The response.
        response: ResponseName,
        /// Whether for incidents, else for subjects.
        incidents: bool,
        /// How many there are.
        held: usize,
    },
    /// A member answers under another cluster's id.
    Foreign {
        /// The member.
        member: MemberName,
        /// The id that it answers with.
        found: EtcdId,
        /// The cluster's own.
        ours: EtcdId,
    },
    /// A look brought nothing.
    LookFailed(Arc<str>),
}
