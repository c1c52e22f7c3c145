//! What a run does next: a pure walk over its playbook and what is journalled so far.
//!
//! The same walk serves a live run and a resumed one. It performs nothing; the runner does the one
//! thing it answers, journals it, and asks again.

use std::time::Duration;

use super::{
    apply::{Run, Stage, StepRun},
    event::{EntryKey, List, Outcome, StepPath},
};
use crate::domain::{
    base::time::Time,
    rules::{
        action::{ErrorKind, Failure},
        expr::Expr,
        playbook::model::{Entry, OnError, Playbook, Step, StepKind},
    },
};

/// The names a step sees beside the playbook's own: loop variables, outermost first.
pub type Scope = Vec<(String, String)>;

/// A step at its place.
#[derive(Clone, Debug)]
pub struct At<'p> {
    /// Its path.
    pub path: StepPath,
    /// The step.
    pub step: &'p Step,
    /// The loop variables it sees.
    pub scope: Scope,
}

/// The one thing to do next.
#[derive(Debug)]
pub enum Next<'p> {
    /// Nothing, until somebody says something: parked, finished, or waiting for a person.
    Rest,
    /// Begin a step (evaluate `when` first).
    Start(At<'p>),
    /// Try a step again, not before this time.
    Retry(At<'p>, Time),
    /// A step was started and its result is not known: ask reality.
    Resolve(At<'p>),
    /// Fix the items of a loop (evaluate `when` first).
    Expand(At<'p>),
    /// Evaluate `until` of a loop before this item; true: stop, false: [`Next::Start`] its inside.
    Until(At<'p>, &'p Expr, String),
    /// Answer of the person asked is awaited until this time.
    Await(At<'p>, Time),
    /// An entry of `undo` or `finally`.
    Entry(EntryKey, At<'p>, &'p Entry),
    /// An entry that was started and whose result is not known.
    ResolveEntry(EntryKey, At<'p>, &'p Entry),
    /// The run failed before the point of no return: go back.
    Unwind(Outcome, Failure),
    /// The run failed after the point of no return: a person must look.
    Park(Failure),
    /// All steps are done: wait for `verify`.
    Verify(&'p Expr),
    /// The end.
    Finish(Outcome, Option<Failure>),
}

/// How a walk over steps came out where nothing is left to do in it.
enum Walked<'p> {
    /// Do this.
    Do(Next<'p>),
    /// Everything is done or skipped.
    Done,
    /// A step failed for good.
    Failed(StepPath, Failure),
}

/// The next thing to do. `checked_until` is the item for which `until` was just found false.
pub fn next<'p>(run: &Run, playbook: &'p Playbook, checked_until: Option<&str>) -> Next<'p> {
    if run.finished.is_some() || run.parked.is_some() {
        return Next::Rest;
    }
    let walk = Walk { run, checked_until };
    if let Some(unwind) = &run.unwind {
        return walk.back(playbook, unwind.undo, unwind.outcome, &unwind.failure);
    }
    walk.forward(playbook)
}

struct Walk<'r> {
    run: &'r Run,
    checked_until: Option<&'r str>,
}

impl Walk<'_> {
    fn forward<'p>(&self, playbook: &'p Playbook) -> Next<'p> {
        match self.steps(&playbook.steps, "", &Scope::new()) {
            Walked::Do(next) => next,
            Walked::Failed(path, failure) => self.failed(&path, &failure),
            Walked::Done => match &playbook.verify {
                Some(verify) if !self.run.verified => Next::Verify(verify),
                _ => self
                    .finalizers(&playbook.steps, "", &Scope::new())
                    .unwrap_or(Next::Finish(Outcome::Succeeded, None)),
            },
        }
    }

    fn failed<'p>(&self, path: &str, failure: &Failure) -> Next<'p> {
        let message = format!("step {path}: {}", failure.message);
        let failure = Failure::new(failure.kind, message);
        if self.run.past_return.is_some() {
            return Next::Park(failure);
        }
        Next::Unwind(Outcome::Undone, failure)
    }

    fn steps<'p>(&self, steps: &'p [Step], prefix: &str, scope: &Scope) -> Walked<'p> {
        for step in steps {
            let at = At { path: format!("{prefix}{}", step.name), step, scope: scope.clone() };
            let walked = match &step.kind {
                StepKind::Foreach { item, until, steps, .. } => {
                    self.foreach(at, item, until.as_ref(), steps)
                }
                StepKind::Action(_)
                | StepKind::Wait { .. }
                | StepKind::Expect { .. }
                | StepKind::RecordLoss { .. }
                | StepKind::RecordNote(_)
                | StepKind::Approve(_) => self.leaf(at),
            };
            match walked {
                Walked::Done => {}
                Walked::Do(_) | Walked::Failed(..) => return walked,
            }
        }
        Walked::Done
    }

    fn leaf<'p>(&self, at: At<'p>) -> Walked<'p> {
        let Some(row) = self.run.steps.get(&at.path) else {
            return Walked::Do(self.begin(at));
        };
        match &row.stage {
            Stage::Done { .. } | Stage::Skipped => Walked::Done,
            Stage::Started => Walked::Do(Next::Resolve(at)),
            Stage::Disproved => Walked::Do(self.begin(at)),
            Stage::Failed { last: false, .. } => {
                let not_before = row.at.after(at.step.retry.delay);
                Walked::Do(Next::Retry(at, not_before))
            }
            Stage::Failed { failure, .. } => match at.step.on_error {
                OnError::Continue => Walked::Done,
                OnError::Fail => Walked::Failed(at.path, failure.clone()),
            },
        }
    }

    /// Begins a step, or waits where it has asked and is not answered.
    fn begin<'p>(&self, at: At<'p>) -> Next<'p> {
        match &self.run.ask {
            Some((step, ask)) if *step == at.path => match (&self.run.denied, &self.run.approval) {
                (Some((by, reason)), _) => Next::Unwind(
                    Outcome::Undone,
                    Failure::new(ErrorKind::Denied, format!("denied by {by}: {reason}")),
                ),
                (None, Some(_)) => Next::Start(at),
                (None, None) => Next::Await(at, ask.until),
            },
            _ => Next::Start(at),
        }
    }

    fn foreach<'p>(
        &self,
        at: At<'p>,
        item_name: &str,
        until: Option<&'p Expr>,
        steps: &'p [Step],
    ) -> Walked<'p> {
        match self.run.steps.get(&at.path).map(|row| &row.stage) {
            Some(Stage::Skipped) => return Walked::Done,
            Some(Stage::Failed { failure, last: true }) => {
                return match at.step.on_error {
                    OnError::Continue => Walked::Done,
                    OnError::Fail => Walked::Failed(at.path, failure.clone()),
                };
            }
            Some(Stage::Started | Stage::Done { .. } | Stage::Disproved | Stage::Failed { .. })
            | None => {}
        }
        let Some(items) = self.run.items.get(&at.path) else {
            return Walked::Do(Next::Expand(at));
        };
        for (index, item) in items.iter().enumerate() {
            if self.run.stopped.get(&at.path) == Some(item) {
                break;
            }
            let (prefix, scope) = inside(&at, item_name, item);
            if let Some(until) = until.filter(|_| index > 0 && !self.touched(&prefix))
                && self.checked_until != Some(prefix.as_str())
            {
                return Walked::Do(Next::Until(at, until, item.clone()));
            }
            match self.steps(steps, &prefix, &scope) {
                Walked::Do(next) => return Walked::Do(next),
                Walked::Failed(path, failure) if at.step.on_error == OnError::Fail => {
                    return Walked::Failed(path, failure);
                }
                // the iteration is over, well or not: its scope ends
                Walked::Done | Walked::Failed(..) => {
                    if let Some(next) = self.finalizers(steps, &prefix, &scope) {
                        return Walked::Do(next);
                    }
                }
            }
        }
        Walked::Done
    }

    fn touched(&self, prefix: &str) -> bool {
        self.run
            .steps
            .range(prefix.to_owned()..)
            .next()
            .is_some_and(|(path, _)| path.starts_with(prefix))
            || self.run.items.keys().any(|path| path.starts_with(prefix))
    }

    /// The next finalizer of one scope: the steps of these (not of the loops inside, whose scopes
    /// ended before), last armed first.
    fn finalizers<'p>(&self, steps: &'p [Step], prefix: &str, scope: &Scope) -> Option<Next<'p>> {
        let mut armed: Vec<(&StepRun, At<'p>)> = Vec::new();
        for step in steps {
            let path = format!("{prefix}{}", step.name);
            if let Some(row) = self.run.steps.get(&path).filter(|row| row.attempts > 0) {
                armed.push((row, At { path, step, scope: scope.clone() }));
            }
        }
        armed.sort_by_key(|(row, _)| std::cmp::Reverse(row.order));
        armed.into_iter().find_map(|(row, at)| self.entries(row, &at, List::Finally))
    }

    /// The next entry of one list, if there is one left.
    fn entries<'p>(&self, row: &StepRun, at: &At<'p>, list: List) -> Option<Next<'p>> {
        if matches!(row.stage, Stage::Done { changed: false, .. } | Stage::Skipped) {
            return None;
        }
        if list == List::Undo && row.stage == Stage::Disproved {
            return None;
        }
        let entries = match list {
            List::Undo => &at.step.undo,
            List::Finally => &at.step.finally,
        };
        for (index, entry) in entries.iter().enumerate() {
            let key = EntryKey { step: at.path.clone(), list, index };
            match self.run.entries.get(&key).map(|row| &row.stage) {
                None | Some(Stage::Disproved) => return Some(Next::Entry(key, at.clone(), entry)),
                Some(Stage::Started) => return Some(Next::ResolveEntry(key, at.clone(), entry)),
                Some(Stage::Done { .. } | Stage::Skipped) => {}
                Some(Stage::Failed { .. }) => return None, // a failed entry ends its list
            }
        }
        None
    }

    /// The way back: steps in doubt first (a failed one may have taken effect, too), then the scopes that are still open from the inside out,
    /// then undo, last step first, then the run's own finalizers.
    fn back<'p>(
        &self,
        playbook: &'p Playbook,
        undo: bool,
        outcome: Outcome,
        failure: &Failure,
    ) -> Next<'p> {
        let mut begun = Vec::new();
        self.collect(&playbook.steps, "", &Scope::new(), &mut begun);
        begun.sort_by_key(|(order, _)| std::cmp::Reverse(*order));
        for (_, at) in &begun {
            let row = &self.run.steps[&at.path];
            let failed = undo && !row.asked && matches!(row.stage, Stage::Failed { .. });
            let in_doubt = row.stage == Stage::Started || failed;
            if in_doubt && matches!(at.step.kind, StepKind::Action(_)) {
                return Next::Resolve(at.clone());
            }
        }
        let inner = begun.iter().filter(|(_, at)| !at.scope.is_empty());
        for (_, at) in inner {
            if let Some(next) = self.entries(&self.run.steps[&at.path], at, List::Finally) {
                return next;
            }
        }
        for (_, at) in begun.iter().filter(|_| undo) {
            if let Some(next) = self.entries(&self.run.steps[&at.path], at, List::Undo) {
                return next;
            }
        }
        for (_, at) in begun.iter().filter(|(_, at)| at.scope.is_empty()) {
            if let Some(next) = self.entries(&self.run.steps[&at.path], at, List::Finally) {
                return next;
            }
        }
        let broken = self.run.entries.values().any(|row| matches!(row.stage, Stage::Failed { .. }));
        let outcome = if broken { Outcome::Failed } else { outcome };
        Next::Finish(outcome, Some(failure.clone()))
    }

    /// Every step that has begun, with its order.
    fn collect<'p>(
        &self,
        steps: &'p [Step],
        prefix: &str,
        scope: &Scope,
        found: &mut Vec<(usize, At<'p>)>,
    ) {
        for step in steps {
            let at = At { path: format!("{prefix}{}", step.name), step, scope: scope.clone() };
            if let StepKind::Foreach { item, steps, .. } = &step.kind {
                for name in self.run.items.get(&at.path).into_iter().flatten() {
                    let (prefix, scope) = inside(&at, item, name);
                    self.collect(steps, &prefix, &scope, found);
                }
            } else if let Some(row) = self.run.steps.get(&at.path).filter(|row| row.attempts > 0) {
                found.push((row.order, at));
            }
        }
    }
}

/// The prefix and the names inside one iteration.
fn inside(at: &At<'_>, item_name: &str, item: &str) -> (String, Scope) {
    let mut scope = at.scope.clone();
    scope.push((item_name.to_owned(), item.to_owned()));
    (format!("{}[{item}].", at.path), scope)
}

/// What is armed or left changed while a run is parked, for people.
pub fn armed(run: &Run, playbook: &Playbook) -> Vec<String> {
    let walk = Walk { run, checked_until: None };
    let mut begun = Vec::new();
    walk.collect(&playbook.steps, "", &Scope::new(), &mut begun);
    let mut out = Vec::new();
    for (_, at) in &begun {
        let row = &run.steps[&at.path];
        for (list, entries) in [(List::Finally, &at.step.finally), (List::Undo, &at.step.undo)] {
            let open = matches!(
                walk.entries(row, at, list),
                Some(Next::Entry(..) | Next::ResolveEntry(..))
            );
            if !open || (list == List::Undo && run.past_return.is_some()) {
                continue;
            }
            let actions: Vec<_> = entries.iter().map(|entry| entry.call.action).collect();
            let word = if list == List::Finally { "finally" } else { "undo" };
            out.push(format!("{}: {word} {}", at.path, actions.join(", ")));
        }
    }
    out
}

/// How long `verify` is waited for after the last step.
pub const VERIFY_TIMEOUT: Duration = Duration::from_mins(1);
