//! What a run can do now: the words of the frontier.

use std::sync::Arc;

use super::{
    event::{EntryKey, Outcome},
    path::Path,
};
use crate::domain::{
    base::time::Time,
    rules::{
        action::Failure,
        expr::Expr,
        playbook::model::{Entry, Step},
    },
};

/// A step at its place.
#[derive(Clone, Debug, PartialEq)]
pub struct At<'r> {
    /// Its path.
    pub path: Path,
    /// The step.
    pub step: &'r Step,
}

impl At<'_> {
    /// The scope it stands in: whose names its expressions see.
    pub fn scope(&self) -> Path {
        self.path.scope()
    }
}

/// One thing that can be done now.
#[derive(Clone, Debug, PartialEq)]
pub enum Todo<'r> {
    /// Begin a step (evaluate `when` first).
    Begin(At<'r>),
    /// Try a step again, not before this time.
    Retry(At<'r>, Time),
    /// A step was started and its result is not known: ask reality. Where its effect is still under
    /// way, wait for that instead.
    Resolve(At<'r>),
    /// Fix the items of a loop, or what a called playbook is given (evaluate `when` first).
    Expand(At<'r>),
    /// Evaluate `until` of a loop before this item; true: it stops there, false: ask again with the
    /// iteration among the checked ones.
    Until(At<'r>, &'r Expr, Arc<str>),
    /// The answer of the person asked is awaited until this time.
    Await(At<'r>, Time),
    /// An entry of `undo` or `finally` (evaluate `when` first).
    Entry(EntryKey, At<'r>, &'r Entry),
    /// Try an entry again, not before this time.
    RetryEntry(EntryKey, At<'r>, &'r Entry, Time),
    /// An entry that was started and whose result is not known.
    ResolveEntry(EntryKey, At<'r>, &'r Entry),
    /// The run failed before the point of no return: go back.
    Unwind(Outcome, Failure),
    /// A person must look.
    Park(Parking),
    /// All steps are done: wait for `verify`.
    Verify(&'r Expr),
    /// The end.
    Finish(Outcome, Option<Failure>),
}

impl Todo<'_> {
    /// The step that it begins, tries again, expands, or waits for an answer of.
    pub fn begins(&self) -> Option<&Path> {
        match self {
            Self::Begin(at) | Self::Retry(at, _) | Self::Expand(at) | Self::Await(at, _) => {
                Some(&at.path)
            }
            Self::Resolve(_)
            | Self::Until(..)
            | Self::Entry(..)
            | Self::RetryEntry(..)
            | Self::ResolveEntry(..)
            | Self::Unwind(..)
            | Self::Park(_)
            | Self::Verify(_)
            | Self::Finish(..) => None,
        }
    }

    /// The entry that it is about.
    pub fn entry(&self) -> Option<&EntryKey> {
        match self {
            Self::Entry(key, ..) | Self::RetryEntry(key, ..) | Self::ResolveEntry(key, ..) => {
                Some(key)
            }
            Self::Begin(_)
            | Self::Retry(..)
            | Self::Resolve(_)
            | Self::Expand(_)
            | Self::Until(..)
            | Self::Await(..)
            | Self::Unwind(..)
            | Self::Park(_)
            | Self::Verify(_)
            | Self::Finish(..) => None,
        }
    }

    /// Whether it concerns the run as a whole: then it is the only thing to do.
    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Unwind(..) | Self::Park(_) | Self::Verify(_) | Self::Finish(..))
    }
}

/// Why a run parks, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parking {
    /// What happened, what is uncertain, what to check, and how to go on.
    pub why: String,
    /// What is armed or left changed.
    pub armed: Vec<String>,
}
