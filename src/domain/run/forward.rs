//! The way forward: a walk over the plan and what is journalled so far, to what can be done now.
//!
//! It performs nothing and decides nothing about the run as a whole: what it finds broken is told,
//! and [`super::next`] says what that means.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    lists::{self, Broken, Listed},
    path::Path,
    plan::inside,
    state::{Run, Stage},
    todo::{At, Todo},
};
use crate::domain::rules::{
    action::{ErrorKind, Failure},
    expr::Expr,
    playbook::model::{OnError, Step, StepKind},
};

/// What the way forward comes to.
#[derive(Default)]
pub(super) struct Forward<'r> {
    /// What can be done, in the order of the plan.
    pub(super) todos: Vec<Todo<'r>>,
    /// Steps that failed for good, and that nothing passes over.
    pub(super) failed: Vec<(Path, Failure)>,
    /// Steps of which nobody can tell whether they took effect.
    pub(super) doubted: Vec<(Path, String)>,
    /// Finalizers of ended iterations and calls that ended their list.
    pub(super) broken: Vec<Broken>,
    /// Whether every step is over.
    pub(super) is_over: bool,
}

/// Walks the whole plan.
pub(super) fn walk<'r>(run: &'r Run, checked: &BTreeSet<Path>) -> Forward<'r> {
    let mut walk = Walk::new(run, checked);
    let walked = walk.steps(&run.plan.steps, &Path::root());
    walk.out.is_over = walked == Walked::Over;
    walk.out
}

/// Whether a step is over: done, skipped, or passed over, with all that is in it.
pub(super) fn is_over<'r>(run: &'r Run, at: &At<'r>) -> bool {
    let checked = BTreeSet::new();
    Walk::new(run, &checked).step(at.clone()) == Walked::Over
}

/// Whether one iteration of a loop is over, its finalizers too.
pub(super) fn iteration_is_over(run: &Run, looped: &Path, iteration: &Path) -> bool {
    let checked = BTreeSet::new();
    let Some(step) = run.plan.step(looped) else { return false };
    let steps = inside(step).unwrap_or_default();
    Walk::new(run, &checked).inside(steps, iteration, step.on_error) == Walked::Over
}

/// How a walk over a scope came out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Walked {
    /// Everything in it is done, skipped, or passed over.
    Over,
    /// Something in it is to be done, or waited for.
    Busy,
    /// A step failed for good.
    Failed,
}

struct Walk<'r, 'c> {
    run: &'r Run,
    checked: &'c BTreeSet<Path>,
    out: Forward<'r>,
}

impl<'r, 'c> Walk<'r, 'c> {
    fn new(run: &'r Run, checked: &'c BTreeSet<Path>) -> Self {
        Self { run, checked, out: Forward::default() }
    }

    fn steps(&mut self, steps: &'r [Step], scope: &Path) -> Walked {
        for step in steps {
            let walked = self.step(At { path: scope.step(step.name.as_str()), step });
            match walked {
                Walked::Over => {}
                Walked::Busy | Walked::Failed => return walked,
            }
        }
        Walked::Over
    }

    fn step(&mut self, at: At<'r>) -> Walked {
        match &at.step.kind {
            StepKind::Foreach { until, steps, at_once, .. } => {
                self.foreach(at, until.as_ref(), steps, *at_once)
            }
            StepKind::Call { steps, .. } => self.call(at, steps),
            StepKind::Action(_)
            | StepKind::Wait { .. }
            | StepKind::Expect { .. }
            | StepKind::RecordLoss { .. }
            | StepKind::RecordNote(_)
            | StepKind::Approve(_) => self.leaf(at),
        }
    }

    fn todo(&mut self, todo: Todo<'r>) -> Walked {
        self.out.todos.push(todo);
        Walked::Busy
    }

    fn leaf(&mut self, at: At<'r>) -> Walked {
        let Some(row) = self.run.steps.get(&at.path) else { return self.begin(at) };
        match &row.stage {
            Stage::Done { .. } | Stage::Skipped => Walked::Over,
            Stage::Started => self.todo(Todo::Resolve(at)),
            Stage::Disproved => self.begin(at),
            Stage::Doubted { why } => {
                self.out.doubted.push((at.path, why.clone()));
                Walked::Busy
            }
            Stage::Failed { last: false, .. } => {
                let not_before = row.at.after(at.step.retry.delay);
                self.todo(Todo::Retry(at, not_before))
            }
            Stage::Failed { failure, .. } => self.failed(at, failure),
        }
    }

    fn failed(&mut self, at: At<'r>, failure: &Failure) -> Walked {
        if at.step.on_error == OnError::Continue {
            return Walked::Over;
        }
        let message = format!("step {}: {}", at.path, failure.message);
        self.out.failed.push((at.path, Failure::new(failure.kind, message)));
        Walked::Failed
    }

    /// Begins a step, or waits where it has asked and is not answered.
    fn begin(&mut self, at: At<'r>) -> Walked {
        let run = self.run;
        let Some((_, ask)) = run.ask.as_ref().filter(|(step, _)| *step == at.path) else {
            return self.todo(Todo::Begin(at));
        };
        if let Some((by, reason)) = &run.denied {
            let failure = Failure::new(ErrorKind::Denied, format!("denied by {by}: {reason}"));
            self.out.failed.push((at.path, failure));
            return Walked::Failed;
        }
        let answered = run.approval.is_some();
        self.todo(if answered { Todo::Begin(at) } else { Todo::Await(at, ask.until) })
    }

    /// What is recorded of a loop or call itself: it was skipped, or could not be expanded.
    fn unexpanded(&mut self, at: &At<'r>) -> Option<Walked> {
        match &self.run.steps.get(&at.path)?.stage {
            Stage::Skipped => Some(Walked::Over),
            Stage::Failed { failure, last: true } => Some(self.failed(at.clone(), failure)),
            Stage::Started
            | Stage::Done { .. }
            | Stage::Disproved
            | Stage::Doubted { .. }
            | Stage::Failed { .. } => None,
        }
    }

    fn call(&mut self, at: At<'r>, steps: &'r [Step]) -> Walked {
        if let Some(walked) = self.unexpanded(&at) {
            return walked;
        }
        if !self.run.calls.contains_key(&at.path) {
            return self.todo(Todo::Expand(at));
        }
        let scope = at.path;
        self.inside(steps, &scope, at.step.on_error)
    }

    /// The steps of an iteration or call, and its finalizers once it is over, well or not.
    fn inside(&mut self, steps: &'r [Step], scope: &Path, on_error: OnError) -> Walked {
        let before = self.out.failed.len();
        match self.steps(steps, scope) {
            Walked::Busy => return Walked::Busy,
            Walked::Failed if on_error == OnError::Fail => return Walked::Failed,
            Walked::Failed | Walked::Over => self.out.failed.truncate(before),
        }
        match lists::finalizer(self.run, scope) {
            Listed::Clear => Walked::Over,
            Listed::Next(todo) => self.todo(todo),
            Listed::Broken(broken) => {
                self.out.broken.push(broken);
                Walked::Busy
            }
        }
    }

    fn foreach(
        &mut self,
        at: At<'r>,
        until: Option<&'r Expr>,
        steps: &'r [Step],
        at_once: usize,
    ) -> Walked {
        if let Some(walked) = self.unexpanded(&at) {
            return walked;
        }
        if !self.run.items.contains_key(&at.path) {
            return self.todo(Todo::Expand(at));
        }
        let before = (self.out.todos.len(), self.out.failed.len());
        let (mut open, mut has_failed) = (0, false);
        for (index, item) in self.run.items_of(&at.path).enumerate() {
            let scope = at.path.iteration(Arc::clone(item));
            let has_begun = self.run.has_begun(&scope);
            // after a failure nothing begins, but what is under way in others is looked at
            if if has_failed { !has_begun } else { open >= at_once } {
                break;
            }
            if let Some(until) = until.filter(|_| index > 0 && !has_begun)
                && !self.checked.contains(&scope)
            {
                return self.todo(Todo::Until(at.clone(), until, Arc::clone(item)));
            }
            match self.inside(steps, &scope, at.step.on_error) {
                Walked::Over => {}
                Walked::Busy => open += 1,
                Walked::Failed => has_failed = true,
            }
            if until.is_some() && !has_begun {
                break; // it is asked before each item, so the next waits until this one has begun
            }
        }
        match (has_failed, open) {
            (true, _) => self.failed_loop(before),
            (false, 0) => Walked::Over,
            (false, _) => Walked::Busy,
        }
    }

    /// A loop of which an item failed: it has failed once nothing of the others is under way.
    fn failed_loop(&mut self, (todos, failed): (usize, usize)) -> Walked {
        let mut left = self.out.todos.split_off(todos);
        left.retain(|todo| matches!(todo, Todo::Resolve(_) | Todo::ResolveEntry(..)));
        if left.is_empty() {
            return Walked::Failed;
        }
        self.out.todos.append(&mut left);
        self.out.failed.truncate(failed);
        Walked::Busy
    }
}
