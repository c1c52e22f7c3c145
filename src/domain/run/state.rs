//! A run: what its records come to. [`super::apply::apply`] is the only function that changes one.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{
    event::{Ask, EntryKey, ModeWord, Outcome, RunEvent},
    path::Path,
    plan::Plan,
};
use crate::domain::{
    base::{
        id::{EtcdId, IncidentId, RunId},
        time::Time,
    },
    etcd::evidence::Held,
    rules::{
        action::{Changes, Failure},
        expr::Value,
        playbook::model::StepKind,
    },
};

/// Where a step or an entry stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// `Started` is journalled; there is no result yet. After a restart: in doubt.
    Started,
    /// It took effect.
    Done {
        /// Its output.
        output: Json,
        /// Whether there was anything to do.
        changed: bool,
    },
    /// It was not needed.
    Skipped,
    /// This try failed.
    Failed {
        /// Why.
        failure: Failure,
        /// Whether that was the last try.
        last: bool,
    },
    /// In doubt, asked for, and it had not taken effect: it may be started again.
    Disproved,
    /// In doubt, asked for, and nobody can tell: a person must look.
    Doubted {
        /// What cannot be told.
        why: String,
    },
}

impl Stage {
    /// The word for logs and refusals.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Done { .. } => "done",
            Self::Skipped => "skipped",
            Self::Failed { last: true, .. } => "failed for good",
            Self::Failed { .. } => "failed",
            Self::Disproved => "disproved",
            Self::Doubted { .. } => "doubted",
        }
    }

    /// Whether it failed for good, or nobody can tell.
    pub fn is_broken(&self) -> bool {
        match self {
            Self::Failed { last, .. } => *last,
            Self::Doubted { .. } => true,
            Self::Started | Self::Done { .. } | Self::Skipped | Self::Disproved => false,
        }
    }
}

/// One step (or entry) of a run.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct StepRun {
    /// Where it stands.
    pub stage: Stage,
    /// Tries so far, also those that failed before they could act.
    pub attempts: u32,
    /// Tries that no longer count against the limit: a person had it tried again.
    pub forgiven: u32,
    /// Whether a `Started` was ever journalled: without one it can have had no effect.
    pub started: bool,
    /// Whether an earlier try failed or was cut off, so that it may have taken effect: then a later
    /// one that finds nothing to do found our own traces.
    pub in_doubt: bool,
    /// Whether reality was asked about it on the way back.
    pub asked: bool,
    /// Whether it is a point of no return that was started, and not disproved.
    pub irreversible: bool,
    /// The arguments of the last try.
    pub args: Json,
    /// What stood there before the first try: a later try sees its own traces.
    pub before: Json,
    /// When the first try started.
    pub started_at: Time,
    /// When it last changed.
    pub at: Time,
    /// The order of first starts, from 0: undo goes backwards through it.
    pub order: usize,
}

/// A person's yes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Approval {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// What it is bound to.
    pub digest: String,
    /// The most that may be lost.
    pub max_loss: Option<u64>,
    /// When.
    pub at: Time,
}

/// A run on its way back.
#[derive(Clone, Debug, PartialEq)]
pub struct Unwind {
    /// What it will have been, if all can be taken back.
    pub outcome: Outcome,
    /// The run's first error.
    pub failure: Failure,
    /// Whether what was done is taken back.
    pub undo: bool,
}

impl Unwind {
    /// Whether a person gave the run up: somebody has looked already.
    pub fn is_given_up(&self) -> bool {
        self.outcome == Outcome::Parked
    }
}

/// A parked run's reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parked {
    /// What happened, what is uncertain, what to check.
    pub why: String,
    /// What is armed or left changed.
    pub armed: Vec<String>,
    /// Since when.
    pub at: Time,
}

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// Where its records stand in their stream.
    pub places: Vec<u64>,
    /// The incident it answers.
    pub incident: Option<IncidentId>,
    /// What is done, to what.
    pub plan: Arc<Plan>,
    /// How irreversible steps are dispatched.
    pub mode: ModeWord,
    /// Who or what dispatched it.
    pub by: String,
    /// When it began.
    pub started_at: Time,
    /// When its last record was made.
    pub at: Time,
    /// How many records there are: who decided upon an older run looks again.
    pub version: u64,
    /// Steps that have begun, by path.
    pub steps: BTreeMap<Path, StepRun>,
    /// Entries that have begun.
    pub entries: BTreeMap<EntryKey, StepRun>,
    /// The items of loops that have begun.
    pub items: BTreeMap<Path, Vec<Arc<str>>>,
    /// Loops cut short by `until`, at this item.
    pub stopped: BTreeMap<Path, Arc<str>>,
    /// The parameters of calls that have begun.
    pub calls: BTreeMap<Path, BTreeMap<String, Value>>,
    /// Members this run stopped, masked or moved, with their readings from before.
    pub held: Held,
    /// The open or answered question, and the step that asked.
    pub ask: Option<(Path, Ask)>,
    /// The answer, where it was yes.
    pub approval: Option<Approval>,
    /// The answer, where it was no: who and why.
    pub denied: Option<(String, String)>,
    /// Time spent waiting for people, left out of the run's limit.
    pub waited: Duration,
    /// The id of the cluster that this run built anew.
    pub built: Option<EtcdId>,
    /// The first point of no return that was started and not disproved.
    pub past_return: Option<Path>,
    /// The way back, where it has begun.
    pub unwind: Option<Unwind>,
    /// Why it is parked.
    pub parked: Option<Parked>,
    /// Whether `verify` held.
    pub verified: bool,
    /// Why `verify` did not hold in time.
    pub unverified: Option<Failure>,
    /// The end.
    pub finished: Option<(Outcome, Option<Failure>, Time)>,
    pub(super) asked_at: Option<Time>,
    pub(super) next_order: usize,
}

impl Run {
    /// A new run from its first record; `None` if that is no `RunStarted`.
    pub fn start(id: RunId, event: &RunEvent, at: Time) -> Option<Self> {
        let RunEvent::RunStarted { incident, plan, mode, by } = event else { return None };
        Some(Self::new(id, (*incident, plan.clone(), *mode, by.clone()), at))
    }

    /// A run that has just begun.
    pub(super) fn new(
        id: RunId,
        (incident, plan, mode, by): (Option<IncidentId>, Arc<Plan>, ModeWord, String),
        at: Time,
    ) -> Self {
        Self {
            id,
            places: Vec::new(),
            incident,
            plan,
            mode,
            by,
            started_at: at,
            at,
            version: 1,
            steps: BTreeMap::new(),
            entries: BTreeMap::new(),
            items: BTreeMap::new(),
            stopped: BTreeMap::new(),
            calls: BTreeMap::new(),
            held: Held::new(),
            ask: None,
            approval: None,
            denied: None,
            waited: Duration::ZERO,
            built: None,
            past_return: None,
            unwind: None,
            parked: None,
            verified: false,
            unverified: None,
            finished: None,
            asked_at: None,
            next_order: 0,
        }
    }

    /// The row of a step by its path as text, as people name it.
    pub fn step(&self, path: &str) -> Option<&StepRun> {
        self.steps.get(&path.parse::<Path>().ok()?)
    }

    /// Whether a step is an action that changes nothing, however it ends.
    pub(super) fn only_reads(&self, step: &Path) -> bool {
        self.plan.step(step).is_some_and(|step| match &step.kind {
            StepKind::Action(action) => action.traits.changes == Changes::Nothing,
            StepKind::Foreach { .. }
            | StepKind::Call { .. }
            | StepKind::Wait { .. }
            | StepKind::Expect { .. }
            | StepKind::RecordLoss { .. }
            | StepKind::RecordNote(_)
            | StepKind::Approve(_) => false,
        })
    }

    /// The items a loop takes, without those left out by `until`.
    pub fn items_of(&self, looped: &Path) -> impl Iterator<Item = &Arc<str>> {
        let stopped = self.stopped.get(looped);
        let items = self.items.get(looped).into_iter().flatten();
        items.take_while(move |item| Some(*item) != stopped)
    }

    /// Whether anything of a scope has begun.
    pub fn has_begun(&self, scope: &Path) -> bool {
        fn touches<T>(map: &BTreeMap<Path, T>, scope: &Path) -> bool {
            map.range(scope..).next().is_some_and(|(path, _)| path.is_in(scope))
        }
        touches(&self.steps, scope) || touches(&self.items, scope) || touches(&self.calls, scope)
    }

    /// Whether a person is being asked right now.
    pub fn is_asking(&self) -> bool {
        self.asked_at.is_some() && self.parked.is_none()
    }

    /// Whether it has neither finished nor been parked.
    pub fn is_active(&self) -> bool {
        self.finished.is_none() && self.parked.is_none()
    }

    /// Whether a step in doubt is done again by itself: on the way forward, where once more harms nothing.
    /// On the way back it is not disproved: a member that was told to end may yet do so.
    pub fn repeats(&self, path: &Path) -> bool {
        let step = self.plan.step(path).map(|step| &step.kind);
        let repeats = matches!(step, Some(StepKind::Action(call)) if call.traits.repeats);
        repeats && self.unwind.is_none()
    }

    /// Whether a step in doubt goes forward on a person's word: past the point of no return what only
    /// starts a member is done again, which harms neither one that runs nor its data.
    pub fn starts_again(&self, path: &Path) -> bool {
        let step = self.plan.step(path).map(|step| &step.kind);
        let starts = matches!(step, Some(StepKind::Action(call)) if call.traits.releases);
        starts && self.past_return.is_some() && self.unwind.is_none()
    }

    /// How long it has worked until `now`, without the time it waited for people.
    pub fn worked(&self, now: Time) -> Duration {
        let waiting = self.asked_at.map_or(Duration::ZERO, |asked| now.since(asked));
        now.since(self.started_at).saturating_sub(self.waited).saturating_sub(waiting)
    }

    /// The state's word in the closed list.
    pub fn state(&self) -> &'static str {
        match (&self.finished, &self.parked, &self.unwind) {
            (Some((Outcome::Succeeded, ..)), ..) => "succeeded",
            (Some((Outcome::Cancelled, ..)), ..) => "cancelled",
            (Some(_), ..) => "failed",
            (None, Some(_), _) => "parked",
            (None, None, Some(unwind)) if unwind.undo => "undoing",
            (None, None, Some(_)) => "finalizing",
            (None, None, None) if self.is_asking() => "awaiting_approval",
            (None, None, None) if !self.has_begun(&Path::root()) => "planned",
            (None, None, None) => "running",
        }
    }
}

impl StepRun {
    pub(super) fn new(at: Time, order: usize) -> Self {
        Self {
            stage: Stage::Started,
            attempts: 0,
            forgiven: 0,
            started: false,
            in_doubt: false,
            asked: false,
            irreversible: false,
            args: Json::Null,
            before: Json::Null,
            started_at: at,
            at,
            order,
        }
    }

    /// Its output, where it is done.
    pub fn output(&self) -> Option<&Json> {
        match &self.stage {
            Stage::Done { output, .. } => Some(output),
            Stage::Started
            | Stage::Skipped
            | Stage::Failed { .. }
            | Stage::Disproved
            | Stage::Doubted { .. } => None,
        }
    }

    /// Whether a person said, since its last try, that it is to be tried again.
    pub fn is_forgiven(&self) -> bool {
        self.forgiven > 0 && self.forgiven == self.attempts
    }

    /// Tries that count against the limit, this next one too.
    pub fn next_try(&self) -> u32 {
        self.attempts - self.forgiven.min(self.attempts) + 1
    }
}
