//! Actions as rules see them: the catalogue's shape, a call, its outcome.
//!
//! The catalogue itself is a value made by `targets`; `check`, plans and the reference page are
//! made from it. No action has more than one effect.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::expr::{Type, Value};
use crate::domain::base::{
    id::{MemberName, RunId},
    time::Time,
};

/// What an action changes of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Changes {
    /// Nothing: it only reads.
    Nothing,
    /// Only our own files and processes beside the cluster's: copies, snapshots, what was restored.
    OwnFiles,
    /// Whether and how a member's process runs.
    Service,
    /// Who the members are.
    Membership,
    /// Where a member's data stands.
    Data,
}

impl Changes {
    /// The word in the catalogue.
    pub fn label(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::OwnFiles => "own files",
            Self::Service => "service",
            Self::Membership => "membership",
            Self::Data => "data",
        }
    }
}

/// What a resumed run does with a call that was started and has no recorded result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnResume {
    /// Run it again: it cleans up after itself.
    Rerun,
    /// Ask reality first; done → its output, not done → run again, unknown → ask again until the
    /// step's limit, then park.
    Probe,
    /// Always ask a person.
    Park,
}

/// The type of an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArgType {
    /// A member of the plan's list.
    Member,
    /// A host of the plan's list.
    Host,
    /// A node of the plan's list.
    Node,
    /// 16 hex digits.
    Id,
    /// `old`, `new`, `failed`, `scratch` or `backup`.
    Place,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Free text.
    Text,
    /// A path that an earlier step gave.
    Path,
    /// A whole number.
    Int,
    /// A list.
    List(Box<ArgType>),
    /// A map from text.
    Map(Box<ArgType>),
    /// Anything an earlier step gave (`etcd.choose_survivor: {among}`).
    Any,
}

/// One argument of an action.
#[derive(Clone, Debug)]
pub struct ArgSpec {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub ty: ArgType,
    /// Whether it must be given.
    pub required: bool,
    /// What it means, with unit.
    pub help: &'static str,
}

/// One row of the catalogue.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a declaration of its own")]
pub struct ActionSpec {
    /// `etcd.restore`.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub help: &'static str,
    /// Its arguments.
    pub args: Vec<ArgSpec>,
    /// The type of its output (a record).
    pub output: Type,
    /// What it changes of the cluster.
    pub changes: Changes,
    /// Whether it cannot be changed back: forward only as an irreversible step, free in `undo` and
    /// `finally`.
    pub is_final: bool,
    /// What a resumed run does with it.
    pub on_resume: OnResume,
    /// The action that takes it back, for the reference page.
    pub undo: Option<&'static str>,
    /// Whether its member is *held* from its `Started` on: its readings stay what they were.
    pub holds: bool,
    /// Whether its `StepDone` ends the hold of its member (a start by this run).
    pub releases: bool,
    /// Whether what is in doubt is done again on the way forward: once more harms nothing.
    pub repeats: bool,
    /// Whether it builds a cluster anew, which its output names.
    pub builds: bool,
    /// Whether it stops, masks or moves what may serve: needs an `approve` before it.
    pub fences: bool,
    /// Whether it chooses the survivor: it is given what was observed before, and its output is a
    /// [`Choice`](super::output::Choice).
    pub chooses: bool,
    /// Whether it proves that all members hold the same.
    pub proves: bool,
    /// Time limit of one try where the step names none.
    pub timeout: Duration,
}

/// Limit of one try of what only reads, where its row names none.
const READ: Duration = Duration::from_secs(30);
/// Limit of one try of what changes something, where its row names none.
const WRITE: Duration = Duration::from_mins(1);

impl ActionSpec {
    /// A row without arguments, output or any declaration.
    pub fn new(
        name: &'static str,
        changes: Changes,
        on_resume: OnResume,
        help: &'static str,
    ) -> Self {
        Self {
            name,
            help,
            args: Vec::new(),
            output: Type::record([]),
            changes,
            is_final: false,
            on_resume,
            undo: None,
            holds: false,
            releases: false,
            repeats: false,
            builds: false,
            fences: false,
            chooses: false,
            proves: false,
            timeout: if changes == Changes::Nothing { READ } else { WRITE },
        }
    }
}

/// All actions, by name.
pub type Catalogue = Arc<BTreeMap<&'static str, ActionSpec>>;

/// A call with its arguments filled in: what is journalled, shown, and done.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The action's name.
    pub action: String,
    /// Arguments by name; only those given.
    pub args: BTreeMap<String, Value>,
    /// The run it belongs to; places and the restore token follow from it.
    pub run: RunId,
    /// When its step's first `Started` was journalled; a probe compares start times with it.
    pub started_at: Time,
}

impl Call {
    /// The member it is about, where it is about one.
    pub fn member(&self) -> Option<MemberName> {
        self.text("member").map(MemberName::from)
    }

    /// A text argument.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.args.get(name).and_then(Value::as_str)
    }

    /// A whole-number argument.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.args.get(name).and_then(Value::as_int)
    }
}

/// What a call did.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// Its output: a map as the catalogue's type says.
    pub output: Value,
    /// Whether there was anything to do: `before` ≠ wanted.
    pub changed: bool,
}

/// What a probe of an in-doubt call found.
///
/// Each answer but the last rests on something that was seen. What is absent (a process, an answer,
/// a reading) proves nothing: it may have been there and be gone.
#[derive(Clone, Debug, PartialEq)]
pub enum Probed {
    /// It took effect; this is its output.
    Done(Done),
    /// It did not: it may be done again, and there is nothing to take back.
    NotDone {
        /// What was seen that it could not be, had it taken effect.
        finding: String,
    },
    /// It cannot be told, and this is why: a person must look.
    Unknown(String),
}

impl Probed {
    /// It did not take effect, by this finding.
    pub fn not_done(finding: impl Into<String>) -> Self {
        Self::NotDone { finding: finding.into() }
    }
}

/// Error kinds for `retry.on`: a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// No result in time.
    Timeout,
    /// The system does not answer.
    Unavailable,
    /// etcd refuses membership changes for now.
    UnhealthyCluster,
    /// Another learner is in the way.
    TooManyLearners,
    /// The learner is not caught up.
    NotInSync,
    /// Somebody else changed it.
    Conflict,
    /// The revision moved while it was compared.
    Moved,
    /// We may not.
    Denied,
    /// It is not there.
    NotFound,
    /// An argument or a state that cannot work.
    Invalid,
    /// A guard said no.
    RefusedByGuard,
    /// A tool failed (etcdutl, a service command).
    Tool,
    /// No room.
    DiskFull,
    /// Anything else.
    Other,
}

impl ErrorKind {
    /// Every kind, in the order of the contract.
    pub const ALL: [Self; 14] = [
        Self::Timeout,
        Self::Unavailable,
        Self::UnhealthyCluster,
        Self::TooManyLearners,
        Self::NotInSync,
        Self::Conflict,
        Self::Moved,
        Self::Denied,
        Self::NotFound,
        Self::Invalid,
        Self::RefusedByGuard,
        Self::Tool,
        Self::DiskFull,
        Self::Other,
    ];

    /// The word in YAML, JSON and messages.
    pub fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::UnhealthyCluster => "unhealthy_cluster",
            Self::TooManyLearners => "too_many_learners",
            Self::NotInSync => "not_in_sync",
            Self::Conflict => "conflict",
            Self::Moved => "moved",
            Self::Denied => "denied",
            Self::NotFound => "not_found",
            Self::Invalid => "invalid",
            Self::RefusedByGuard => "refused_by_guard",
            Self::Tool => "tool",
            Self::DiskFull => "disk_full",
            Self::Other => "other",
        }
    }

    /// The kind that a word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.label() == word)
    }
}

/// A failed call: what a person reads, and what `retry.on` matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// For `retry.on`.
    pub kind: ErrorKind,
    /// What failed, on what, and what to do about it.
    pub message: String,
    /// Whether nothing may touch its member, no other try and no undo, until somebody has looked:
    /// something of the call may still be at work, or what it would move was used by another hand.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub still_running: bool,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), still_running: false }
    }
}
