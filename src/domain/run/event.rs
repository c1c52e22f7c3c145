//! What can happen to a run: the journal's records about it, past tense.
//!
//! The run is the fold of these ([`super::state::Run::apply`]); nothing else changes it. A step is
//! named by its path: `rejoin[m2].add`.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::plan::Plan;
use crate::domain::{
    base::{
        id::{EtcdId, IncidentId, MemberName, RunId},
        kinds,
        time::Time,
    },
    etcd::evidence::MemberEvidence,
    inventory::Mode,
    rules::action::Failure,
};

/// A step's path, unique in its run.
pub type StepPath = String;

/// How a run ended, also the `outcome` of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every step done, verified.
    Succeeded,
    /// It failed, and not everything could be taken back.
    Failed,
    /// It failed before the point of no return and everything was taken back.
    Undone,
    /// The cluster got well by itself before the point of no return; taken back.
    Cancelled,
    /// A person must look.
    Parked,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 5] =
        [Self::Succeeded, Self::Failed, Self::Undone, Self::Cancelled, Self::Parked];

    /// The word in labels and JSON.
    pub fn label(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Undone => "undone",
            Self::Cancelled => "cancelled",
            Self::Parked => "parked",
        }
    }
}

/// Which list an entry stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum List {
    /// `undo`.
    Undo,
    /// `finally`.
    Finally,
}

/// An entry of `undo` or `finally` of one step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EntryKey {
    /// The step it belongs to.
    pub step: StepPath,
    /// Which list.
    pub list: List,
    /// Its place in the list, from 0.
    pub index: usize,
}

/// What a person is asked at `approve`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// What the approval is bound to.
    pub digest: String,
    /// The chosen survivor.
    pub survivor: Option<MemberName>,
    /// Lower bound of the expected loss, in revisions.
    pub loss_lower: u64,
    /// Upper bound; `None` is unknown.
    pub loss_upper: Option<u64>,
    /// What is lost and why that is thought, for people.
    pub evidence: Vec<String>,
    /// Every command that follows.
    pub commands: Vec<String>,
    /// When the question lapses.
    pub until: Time,
}

/// One record about a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RunEvent {
    /// The plan was fixed and the run began.
    RunStarted {
        /// The incident it answers; `None` by hand.
        incident: Option<IncidentId>,
        /// What is done, to what.
        plan: Box<Plan>,
        /// How irreversible steps are dispatched.
        mode: ModeWord,
        /// Who or what dispatched it.
        by: String,
    },
    /// The items of a loop were fixed.
    ForeachStarted {
        /// The loop.
        step: StepPath,
        /// Its items, in the order they are taken.
        items: Vec<String>,
    },
    /// `until` of a loop came true: the items from here on are left out.
    ForeachStopped {
        /// The loop.
        step: StepPath,
        /// The first item left out.
        item: String,
    },
    /// `when` was false.
    StepSkipped {
        /// The step.
        step: StepPath,
    },
    /// About to act.
    StepStarted {
        /// The step.
        step: StepPath,
        /// Which try, from 1.
        attempt: u32,
        /// The filled arguments.
        args: Json,
        /// What stands there now.
        before: Json,
        /// The member that is held from here on, with its readings from before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        held: Option<(MemberName, Box<MemberEvidence>)>,
        /// Whether it is the point of no return.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        irreversible: bool,
    },
    /// It took effect.
    StepDone {
        /// The step.
        step: StepPath,
        /// Its output.
        output: Json,
        /// Whether there was anything to do.
        changed: bool,
        /// The member whose hold ends.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        released: Option<MemberName>,
        /// The id of the cluster that this step built anew.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        built: Option<EtcdId>,
    },
    /// It failed.
    StepFailed {
        /// The step.
        step: StepPath,
        /// Why.
        failure: Failure,
        /// Whether that was the last try.
        last: bool,
    },
    /// An in-doubt step was asked for and had not taken effect.
    StepDisproved {
        /// The step.
        step: StepPath,
    },
    /// About to act for an entry of `undo` or `finally`.
    EntryStarted {
        /// The entry.
        #[serde(flatten)]
        entry: EntryKey,
        /// The filled arguments.
        args: Json,
        /// What stands there now.
        before: Json,
    },
    /// The entry took effect.
    EntryDone {
        /// The entry.
        #[serde(flatten)]
        entry: EntryKey,
        /// Whether there was anything to do.
        changed: bool,
        /// The member whose hold ends.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        released: Option<MemberName>,
    },
    /// The entry was not needed.
    EntrySkipped {
        /// The entry.
        #[serde(flatten)]
        entry: EntryKey,
        /// Why.
        why: String,
    },
    /// The entry failed for good; the rest of its list is left out.
    EntryFailed {
        /// The entry.
        #[serde(flatten)]
        entry: EntryKey,
        /// Why.
        failure: Failure,
    },
    /// A person is asked.
    ApprovalAsked {
        /// The `approve` step.
        step: StepPath,
        /// The question.
        ask: Box<Ask>,
    },
    /// A person said yes.
    Approved {
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// What the yes is bound to.
        digest: String,
        /// The most that may be lost at the point of no return, in revisions.
        max_loss: Option<u64>,
    },
    /// A person said no.
    Denied {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// The run goes back: undo and finalizers, then the end.
    UnwindStarted {
        /// What it will have been.
        outcome: Outcome,
        /// The run's first error, or why it was cancelled.
        failure: Failure,
        /// Whether what was done is taken back (not when abandoned).
        undo: bool,
    },
    /// A person must look.
    RunParked {
        /// What happened, what is uncertain, what to check.
        why: String,
        /// What is armed or left changed.
        armed: Vec<String>,
    },
    /// A person looked, and the run goes on.
    RunResumed {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// `verify` held.
    Verified,
    /// The end.
    RunFinished {
        /// How.
        outcome: Outcome,
        /// The run's first error.
        failure: Option<Failure>,
    },
}

/// A mode as it is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModeWord {
    /// See [`Mode::Propose`].
    Propose,
    /// See [`Mode::Auto`].
    Auto,
}

impl From<Mode> for ModeWord {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Propose => Self::Propose,
            Mode::Auto => Self::Auto,
        }
    }
}

impl From<ModeWord> for Mode {
    fn from(word: ModeWord) -> Self {
        match word {
            ModeWord::Propose => Self::Propose,
            ModeWord::Auto => Self::Auto,
        }
    }
}

kinds! { RunEvent {
    Self::RunStarted { .. } => "run_started",
    Self::ForeachStarted { .. } => "foreach_started",
    Self::ForeachStopped { .. } => "foreach_stopped",
    Self::StepSkipped { .. } => "step_skipped",
    Self::StepStarted { .. } => "step_started",
    Self::StepDone { .. } => "step_done",
    Self::StepFailed { .. } => "step_failed",
    Self::StepDisproved { .. } => "step_disproved",
    Self::EntryStarted { entry: EntryKey { list: List::Undo, .. }, .. } => "undo_started",
    Self::EntryDone { entry: EntryKey { list: List::Undo, .. }, .. } => "undo_done",
    Self::EntrySkipped { entry: EntryKey { list: List::Undo, .. }, .. } => "undo_skipped",
    Self::EntryFailed { entry: EntryKey { list: List::Undo, .. }, .. } => "undo_failed",
    Self::EntryStarted { entry: EntryKey { list: List::Finally, .. }, .. } => "finalizer_started",
    Self::EntryDone { entry: EntryKey { list: List::Finally, .. }, .. } => "finalizer_done",
    Self::EntrySkipped { entry: EntryKey { list: List::Finally, .. }, .. } => "finalizer_skipped",
    Self::EntryFailed { entry: EntryKey { list: List::Finally, .. }, .. } => "finalizer_failed",
    Self::ApprovalAsked { .. } => "approval_asked",
    Self::Approved { .. } => "approved",
    Self::Denied { .. } => "denied",
    Self::UnwindStarted { .. } => "unwind_started",
    Self::RunParked { .. } => "run_parked",
    Self::RunResumed { .. } => "run_resumed",
    Self::Verified => "verified",
    Self::RunFinished { .. } => "run_finished",
} }

/// A record about a run, with the run it is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The run.
    pub run: RunId,
    /// What happened.
    #[serde(flatten)]
    pub event: RunEvent,
}
