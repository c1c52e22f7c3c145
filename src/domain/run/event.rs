//! What can happen to a run: the journal's records about it, past tense.
//!
//! The run is the fold of these ([`super::apply::apply`]); nothing else changes it. A step is named
//! by its path: `rejoin[m2].add`.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{path::Path, plan::Plan};
use crate::domain::{
    base::{
        id::{EtcdId, IncidentId, MemberName, RunId},
        kinds,
        time::Time,
    },
    etcd::evidence::MemberEvidence,
    inventory::Mode,
    rules::{
        action::Failure,
        expr::{Value, stored::exact_map},
        playbook::model::Show,
    },
};

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
    pub step: Path,
    /// Which list.
    pub list: List,
    /// Its place in the list, from 0.
    pub index: usize,
}

/// What a person is asked at `approve`. It holds what the step's `show` lists and no more: what is
/// not listed is left out, so that nobody is shown what the playbook does not want judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// What the approval is bound to.
    pub digest: String,
    /// The chosen survivor.
    pub survivor: Option<MemberName>,
    /// What the step lists.
    pub show: Vec<Show>,
    /// The expected loss, in revisions, where it is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<LossShown>,
    /// What the members and hosts say, for people, where it is shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    /// Every command that follows, where they are shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
    /// When the question lapses.
    pub until: Time,
}

impl Ask {
    /// The question with what is listed, and nothing else.
    #[must_use]
    pub fn showing(mut self, show: &[Show]) -> Self {
        let lists = |what| show.contains(&what);
        self.loss = self.loss.filter(|_| lists(Show::Loss));
        if !lists(Show::Evidence) {
            self.evidence.clear();
        }
        if !lists(Show::Commands) {
            self.commands.clear();
        }
        self.show = show.to_vec();
        self
    }
}

/// The expected loss as a person is shown it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossShown {
    /// At least so many revisions.
    pub lower: u64,
    /// At most so many; `None` is unknown.
    pub upper: Option<u64>,
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
        plan: Arc<Plan>,
        /// How irreversible steps are dispatched.
        mode: ModeWord,
        /// Who or what dispatched it.
        by: String,
    },
    /// The items of a loop were fixed.
    ForeachStarted {
        /// The loop.
        step: Path,
        /// Its items, in the order they are taken.
        items: Vec<Arc<str>>,
    },
    /// `until` of a loop came true: the items from here on are left out.
    ForeachStopped {
        /// The loop.
        step: Path,
        /// The first item left out.
        item: Arc<str>,
    },
    /// What a called playbook is given was fixed.
    CallStarted {
        /// The call.
        step: Path,
        /// Its parameters by name, defaults too.
        #[serde(with = "exact_map")]
        params: BTreeMap<String, Value>,
    },
    /// `when` was false.
    StepSkipped {
        /// The step.
        step: Path,
    },
    /// About to act.
    StepStarted {
        /// The step.
        step: Path,
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
        step: Path,
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
    /// A try failed. Where none was started, it failed before it could act.
    StepFailed {
        /// The step.
        step: Path,
        /// Why.
        failure: Failure,
        /// Whether that was the last try.
        last: bool,
    },
    /// An in-doubt step was asked for and had not taken effect, or what was started never began.
    StepDisproved {
        /// The step.
        step: Path,
        /// What was found that shows it.
        finding: String,
    },
    /// An in-doubt step was asked for, and it cannot be told whether it took effect.
    StepDoubted {
        /// The step.
        step: Path,
        /// What cannot be told, and why.
        why: String,
    },
    /// About to act for an entry of `undo` or `finally`.
    EntryStarted {
        /// The entry.
        #[serde(flatten)]
        entry: EntryKey,
        /// Which try, from 1.
        attempt: u32,
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
    /// A try of the entry failed. After the last one the rest of its list is left out.
    EntryFailed {
        /// The entry.
        #[serde(flatten)]
        entry: EntryKey,
        /// Why.
        failure: Failure,
        /// Whether that was the last try.
        last: bool,
    },
    /// It cannot be told whether the entry is needed, or with which arguments: it was not run.
    EntryDoubted {
        /// The entry.
        #[serde(flatten)]
        entry: EntryKey,
        /// What cannot be told.
        why: String,
    },
    /// A person is asked.
    ApprovalAsked {
        /// The `approve` step.
        step: Path,
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
        /// What is tried again: a step, a whole iteration or call, or a step whose entries are. See
        /// [`super::resume`].
        retry: Vec<Path>,
    },
    /// `verify` held.
    Verified,
    /// `verify` did not hold in time.
    VerifyFailed {
        /// What it was.
        failure: Failure,
    },
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
    Self::CallStarted { .. } => "call_started",
    Self::StepSkipped { .. } => "step_skipped",
    Self::StepStarted { .. } => "step_started",
    Self::StepDone { .. } => "step_done",
    Self::StepFailed { .. } => "step_failed",
    Self::StepDisproved { .. } => "step_disproved",
    Self::StepDoubted { .. } => "step_doubted",
    Self::EntryStarted { entry: EntryKey { list: List::Undo, .. }, .. } => "undo_started",
    Self::EntryDone { entry: EntryKey { list: List::Undo, .. }, .. } => "undo_done",
    Self::EntrySkipped { entry: EntryKey { list: List::Undo, .. }, .. } => "undo_skipped",
    Self::EntryFailed { entry: EntryKey { list: List::Undo, .. }, .. } => "undo_failed",
    Self::EntryDoubted { entry: EntryKey { list: List::Undo, .. }, .. } => "undo_doubted",
    Self::EntryStarted { entry: EntryKey { list: List::Finally, .. }, .. } => "finalizer_started",
    Self::EntryDone { entry: EntryKey { list: List::Finally, .. }, .. } => "finalizer_done",
    Self::EntrySkipped { entry: EntryKey { list: List::Finally, .. }, .. } => "finalizer_skipped",
    Self::EntryFailed { entry: EntryKey { list: List::Finally, .. }, .. } => "finalizer_failed",
    Self::EntryDoubted { entry: EntryKey { list: List::Finally, .. }, .. } => "finalizer_doubted",
    Self::ApprovalAsked { .. } => "approval_asked",
    Self::Approved { .. } => "approved",
    Self::Denied { .. } => "denied",
    Self::UnwindStarted { .. } => "unwind_started",
    Self::RunParked { .. } => "run_parked",
    Self::RunResumed { .. } => "run_resumed",
    Self::Verified => "verified",
    Self::VerifyFailed { .. } => "verify_failed",
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
