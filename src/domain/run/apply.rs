//! A run as the fold of its records. [`Run::apply`] is the only function that changes one.
//!
//! It decides nothing and asks nothing: live and replayed records go through the same code, so a
//! resumed run cannot drift from one that was never interrupted.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::Value as Json;

use super::{
    event::{Ask, EntryKey, List, ModeWord, Outcome, RunEvent, StepPath},
    plan::Plan,
};
use crate::domain::{
    base::{
        id::{EtcdId, IncidentId, MemberName, RunId},
        time::Time,
    },
    etcd::evidence::{Held, MemberEvidence},
    rules::action::Failure,
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
}

/// One step (or entry) of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRun {
    /// Where it stands.
    pub stage: Stage,
    /// Tries so far.
    pub attempts: u32,
    /// Tries that no longer count against the step's limit: a person had it tried again.
    pub forgiven: u32,
    /// Whether an earlier try failed or was cut off, so that it may have taken effect: then a later
    /// one that finds nothing to do found our own traces.
    pub in_doubt: bool,
    /// Whether reality was asked about it on the way back.
    pub asked: bool,
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
#[derive(Clone, Debug, PartialEq)]
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

/// A parked run's reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Parked {
    /// What happened, what is uncertain, what to check.
    pub why: String,
    /// What is armed or left changed.
    pub armed: Vec<String>,
    /// Since when.
    pub at: Time,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its id.
    pub id: RunId,
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
    pub steps: BTreeMap<StepPath, StepRun>,
    /// Entries that have begun.
    pub entries: BTreeMap<EntryKey, StepRun>,
    /// The items of loops that have begun.
    pub items: BTreeMap<StepPath, Vec<String>>,
    /// Loops cut short by `until`, at this item.
    pub stopped: BTreeMap<StepPath, String>,
    /// Members this run stopped, masked or moved, with their readings from before.
    pub held: Held,
    /// The open or answered question, and the step that asked.
    pub ask: Option<(StepPath, Ask)>,
    /// The answer, where it was yes.
    pub approval: Option<Approval>,
    /// The answer, where it was no: who and why.
    pub denied: Option<(String, String)>,
    /// Time spent waiting for people, left out of the run's limit.
    pub waited: Duration,
    /// The id of the cluster that this run built anew.
    pub built: Option<EtcdId>,
    /// The point of no return that was started, if one was.
    pub past_return: Option<StepPath>,
    /// The way back, where it has begun.
    pub unwind: Option<Unwind>,
    /// Why it is parked.
    pub parked: Option<Parked>,
    /// Whether `verify` held.
    pub verified: bool,
    /// The end.
    pub finished: Option<(Outcome, Option<Failure>, Time)>,
    asked_at: Option<Time>,
}

impl Run {
    /// A new run from its first record; `None` if that is no `RunStarted`.
    pub fn start(id: RunId, event: &RunEvent, at: Time) -> Option<Self> {
        let RunEvent::RunStarted { incident, plan, mode, by } = event else { return None };
        Some(Self {
            id,
            incident: *incident,
            plan: Arc::new((**plan).clone()),
            mode: *mode,
            by: by.clone(),
            started_at: at,
            at,
            version: 1,
            steps: BTreeMap::new(),
            entries: BTreeMap::new(),
            items: BTreeMap::new(),
            stopped: BTreeMap::new(),
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
            finished: None,
            asked_at: None,
        })
    }

    /// Folds one record in.
    pub fn apply(&mut self, event: &RunEvent, at: Time) {
        self.at = at;
        self.version += 1;
        match event {
            RunEvent::RunStarted { .. } => {}
            RunEvent::ForeachStarted { step, items } => {
                self.items.insert(step.clone(), items.clone());
            }
            RunEvent::ForeachStopped { step, item } => {
                self.stopped.insert(step.clone(), item.clone());
            }
            RunEvent::StepStarted { step, attempt, args, before, held, irreversible } => {
                self.begin_step(step, *attempt, args, before, at);
                self.hold(held.as_ref());
                self.past_return = irreversible.then(|| step.clone()).or(self.past_return.take());
            }
            RunEvent::StepSkipped { step } => self.set(step, Stage::Skipped, at),
            RunEvent::StepDone { step, output, changed, released, built } => {
                self.done(step, output, *changed, at);
                self.built = built.or(self.built);
                self.release(released.as_ref());
            }
            RunEvent::StepFailed { step, failure, last } => {
                self.set(step, Stage::Failed { failure: failure.clone(), last: *last }, at);
            }
            RunEvent::StepDisproved { step } => {
                self.set(step, Stage::Disproved, at);
                self.past_return.take_if(|past| past == step);
            }
            RunEvent::EntryStarted { entry, args, before } => {
                self.begin_entry(entry, args, before, at);
            }
            RunEvent::EntryDone { entry, changed, released } => {
                let stage = Stage::Done { output: Json::Null, changed: *changed };
                self.set_entry(entry, stage, at);
                self.release(released.as_ref());
            }
            RunEvent::EntrySkipped { entry, .. } => self.set_entry(entry, Stage::Skipped, at),
            RunEvent::EntryFailed { entry, failure } => {
                let stage = Stage::Failed { failure: failure.clone(), last: true };
                self.set_entry(entry, stage, at);
            }
            RunEvent::ApprovalAsked { step, ask } => self.ask(step, ask, at),
            RunEvent::Approved { by, reason, digest, max_loss } => {
                self.stop_waiting(at);
                let (by, reason, digest) = (by.clone(), reason.clone(), digest.clone());
                self.approval = Some(Approval { by, reason, digest, max_loss: *max_loss, at });
            }
            RunEvent::Denied { by, reason } => {
                self.stop_waiting(at);
                self.denied = Some((by.clone(), reason.clone()));
            }
            RunEvent::UnwindStarted { outcome, failure, undo } => {
                self.parked = None;
                self.stop_waiting(at);
                self.unwind =
                    Some(Unwind { outcome: *outcome, failure: failure.clone(), undo: *undo });
            }
            RunEvent::RunParked { why, armed } => {
                self.stop_waiting(at);
                self.parked = Some(Parked { why: why.clone(), armed: armed.clone(), at });
            }
            RunEvent::RunResumed { .. } => self.resume(at),
            RunEvent::Verified => self.verified = true,
            RunEvent::RunFinished { outcome, failure } => {
                self.finished = Some((*outcome, failure.clone(), at));
                self.parked = None;
                self.held.clear();
            }
        }
    }

    /// A try that found nothing to do after one in doubt found that one's traces.
    fn done(&mut self, step: &str, output: &Json, changed: bool, at: Time) {
        let changed = changed || self.steps.get(step).is_some_and(|row| row.in_doubt);
        self.set(step, Stage::Done { output: output.clone(), changed }, at);
    }

    /// The readings from before the *first* touch are the ones that count.
    fn hold(&mut self, held: Option<&(MemberName, Box<MemberEvidence>)>) {
        if let Some((member, readings)) = held {
            self.held.entry(member.clone()).or_insert_with(|| (**readings).clone());
        }
    }

    fn release(&mut self, member: Option<&MemberName>) {
        if let Some(member) = member {
            self.held.remove(member);
        }
    }

    fn ask(&mut self, step: &str, ask: &Ask, at: Time) {
        self.ask = Some((step.to_owned(), ask.clone()));
        (self.approval, self.denied) = (None, None);
        self.asked_at = Some(at);
    }

    fn begin_entry(&mut self, entry: &EntryKey, args: &Json, before: &Json, at: Time) {
        let order = self.entries.len();
        let row = self.entries.entry(entry.clone()).or_insert_with(|| StepRun::new(at, order));
        if row.attempts == 0 {
            row.before = before.clone();
        }
        row.args = args.clone();
        row.attempts += 1;
        row.stage = Stage::Started;
        row.at = at;
    }

    fn set_entry(&mut self, entry: &EntryKey, stage: Stage, at: Time) {
        let order = self.entries.len();
        let row = self.entries.entry(entry.clone()).or_insert_with(|| StepRun::new(at, order));
        row.stage = stage;
        row.at = at;
    }

    fn begin_step(&mut self, step: &str, attempt: u32, args: &Json, before: &Json, at: Time) {
        let order = self.next_order();
        let fresh = !self.steps.contains_key(step);
        let row = self.steps.entry(step.to_owned()).or_insert_with(|| StepRun::new(at, order));
        if fresh || row.attempts == 0 {
            row.before = before.clone();
            row.started_at = at;
        }
        row.in_doubt |= row.attempts > 0 && matches!(row.stage, Stage::Failed { .. });
        row.attempts = attempt;
        row.args = args.clone();
        row.stage = Stage::Started;
        row.at = at;
    }

    fn set(&mut self, step: &str, stage: Stage, at: Time) {
        let order = self.next_order();
        let unwinds = self.unwind.is_some();
        let row = self.steps.entry(step.to_owned()).or_insert_with(|| StepRun::new(at, order));
        row.asked |= unwinds;
        row.stage = stage;
        row.at = at;
    }

    /// A parked run goes on where it stopped, with its whole time limit again: what failed for good
    /// may be tried again, and so may an entry whose outcome was uncertain. A failed iteration that
    /// its finalizers cleaned up begins anew; one where a finalizer found that there was nothing to
    /// clean up (a member that joined after all) goes on where it failed, its finalizers armed again.
    fn resume(&mut self, at: Time) {
        self.parked = None;
        self.waited = at.since(self.started_at);
        if self.unwind.is_some() {
            // on the way back nothing begins anew; only what could not be told is asked again
            self.entries.retain(|_, row| !matches!(row.stage, Stage::Failed { .. }));
            return;
        }
        let failed = |row: &StepRun| matches!(row.stage, Stage::Failed { last: true, .. });
        let failed = self.steps.iter().filter(|(_, row)| failed(row)).map(|(path, _)| path);
        let over: Vec<String> = failed
            .filter_map(|path| Some(path[..path.rfind("].")? + 2].to_owned()))
            .filter(|scope| self.is_over(scope))
            .collect();
        self.forget_looks_before_failures();
        for scope in over {
            self.forget_looks_after(&scope);
            if self.finalizers(&scope).any(|row| row.stage == Stage::Skipped) {
                self.entries.retain(|key, _| !key.step.starts_with(&scope));
                continue;
            }
            self.steps.retain(|path, _| !path.starts_with(&scope));
            self.items.retain(|path, _| !path.starts_with(&scope));
            self.stopped.retain(|path, _| !path.starts_with(&scope));
            self.entries.retain(|key, _| !key.step.starts_with(&scope));
        }
        for row in self.steps.values_mut() {
            if let Stage::Failed { last: last @ true, .. } = &mut row.stage {
                *last = false;
                row.forgiven = row.attempts;
            }
        }
        self.entries.retain(|_, row| !matches!(row.stage, Stage::Failed { .. }));
    }

    /// What only looked, after the loop of an iteration that begins anew, looks again: it saw the
    /// patient without what is still to come.
    fn forget_looks_after(&mut self, scope: &str) {
        let inside = self.steps.range(scope.to_owned()..);
        let inside = inside.take_while(|(path, _)| path.starts_with(scope));
        let Some(first) = inside.map(|(_, row)| row.order).min() else { return };
        let whole = &scope[..=scope.rfind('[').unwrap_or(0)];
        self.steps.retain(|path, row| {
            let looked = matches!(row.stage, Stage::Done { changed: false, .. });
            path.starts_with(whole) || row.order < first || !looked
        });
    }

    /// What only looked right before a step that failed looks again: the step judged what it saw.
    fn forget_looks_before_failures(&mut self) {
        let mut rows: Vec<(usize, StepPath)> =
            self.steps.iter().map(|(path, row)| (row.order, path.clone())).collect();
        rows.sort_unstable();
        let asked = self.ask.as_ref().map(|(step, _)| step.clone());
        let mut follows_failure = false;
        for (_, path) in rows.into_iter().rev() {
            follows_failure = match &self.steps[&path].stage {
                Stage::Failed { last: true, .. } => true,
                Stage::Done { changed: false, .. } if !path.contains('[') => {
                    let forgets = follows_failure && asked.as_ref() != Some(&path);
                    if forgets {
                        self.steps.remove(&path);
                    }
                    forgets
                }
                Stage::Done { .. }
                | Stage::Started
                | Stage::Skipped
                | Stage::Disproved
                | Stage::Failed { .. } => false,
            };
        }
    }

    /// The finalizers of one iteration.
    fn finalizers<'a>(&'a self, scope: &'a str) -> impl Iterator<Item = &'a StepRun> {
        let inside = move |key: &EntryKey| key.list == List::Finally && key.step.starts_with(scope);
        self.entries.iter().filter(move |(key, _)| inside(key)).map(|(_, row)| row)
    }

    /// Whether finalizers of this iteration ran.
    fn is_over(&self, scope: &str) -> bool {
        self.finalizers(scope).any(|row| matches!(row.stage, Stage::Done { .. } | Stage::Skipped))
    }

    /// The next place in the order of first starts.
    fn next_order(&self) -> usize {
        self.steps.values().map(|row| row.order + 1).max().unwrap_or(0)
    }

    fn stop_waiting(&mut self, at: Time) {
        if let Some(asked) = self.asked_at.take() {
            self.waited += at.since(asked);
        }
    }

    /// Whether a person is being asked right now.
    pub fn is_asking(&self) -> bool {
        self.asked_at.is_some() && self.parked.is_none()
    }

    /// Whether it has neither finished nor been parked.
    pub fn is_active(&self) -> bool {
        self.finished.is_none() && self.parked.is_none()
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
            (None, None, None) if self.steps.is_empty() && self.items.is_empty() => "planned",
            (None, None, None) => "running",
        }
    }
}

impl StepRun {
    fn new(at: Time, order: usize) -> Self {
        Self {
            stage: Stage::Started,
            attempts: 0,
            forgiven: 0,
            in_doubt: false,
            asked: false,
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
            Stage::Started | Stage::Skipped | Stage::Failed { .. } | Stage::Disproved => None,
        }
    }
}
