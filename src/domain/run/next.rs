//! What a run does next: a pure walk over its plan and what is journalled so far.
//!
//! The same walk serves a live run and a resumed one. It performs nothing; who drives the run does
//! what it answers, journals it, and asks again. Going back, parking and the end are answers like
//! any other: a run that must park is told to park again and again until that is journalled.

use std::collections::BTreeSet;

pub use super::todo::{At, Parking, Todo};
use super::{
    event::{List, Outcome},
    forward::{self, Forward},
    lists::{self, Listed},
    parking::parking,
    path::Path,
    state::{Run, Stage, StepRun, Unwind},
};
pub use crate::domain::rules::playbook::model::VERIFY_TIMEOUT;
use crate::domain::rules::{action::Failure, playbook::model::StepKind};

/// What can be done now, in order; several in a loop that works on several items at once. Empty
/// where nothing is to be done until somebody says something: parked or finished.
///
/// `checked` holds the iterations for which `until` was just found false. What concerns the run as
/// a whole (`Unwind`, `Park`, `Verify`, `Finish`) comes alone, and only when nothing is in doubt or
/// under way.
pub fn next<'r>(run: &'r Run, checked: &BTreeSet<Path>) -> Vec<Todo<'r>> {
    if !run.is_active() {
        return Vec::new();
    }
    match &run.unwind {
        Some(unwind) => back(run, unwind),
        None => ahead(run, forward::walk(run, checked)),
    }
}

fn ahead<'r>(run: &'r Run, found: Forward<'r>) -> Vec<Todo<'r>> {
    let mut causes: Vec<String> = found.doubted.iter().map(|doubted| doubt(run, doubted)).collect();
    causes.extend(found.broken.into_iter().map(|broken| broken.why));
    let failure = found.failed.into_iter().next().map(|(_, failure)| failure);
    if !causes.is_empty() || failure.is_some() {
        return stop(run, causes, failure);
    }
    if !found.is_over {
        return found.todos;
    }
    if let Some(verify) = run.plan.verify.as_ref().filter(|_| !run.verified) {
        return match &run.unverified {
            Some(failure) => stop(run, Vec::new(), Some(failure.clone())),
            None => vec![Todo::Verify(verify)],
        };
    }
    match lists::finalizer(run, &Path::root()) {
        Listed::Clear => vec![Todo::Finish(Outcome::Succeeded, None)],
        Listed::Next(todo) => vec![todo],
        Listed::Broken(broken) => stop(run, vec![broken.why], None),
    }
}

fn doubt(run: &Run, (path, why): &(Path, String)) -> String {
    let again = if run.starts_again(path) {
        ". Resumed, the run starts it again where that still cannot be told"
    } else {
        ""
    };
    format!("step {path} was started and nobody knows whether it took effect: {why}{again}")
}

/// The run cannot go on. What is still under way in other iterations comes to its result first; then
/// a doubt parks, and so does a failure after the point of no return; before it, the run goes back.
fn stop(run: &Run, mut causes: Vec<String>, failure: Option<Failure>) -> Vec<Todo<'_>> {
    let open = unresolved(run);
    if !open.is_empty() {
        return open;
    }
    match failure {
        Some(failure) if causes.is_empty() && run.past_return.is_none() => {
            vec![Todo::Unwind(Outcome::Undone, failure)]
        }
        failure => {
            causes.extend(failure.map(|failure| failure.message));
            vec![Todo::Park(parking(run, &causes))]
        }
    }
}

/// Everything that was started and has no result.
fn unresolved(run: &Run) -> Vec<Todo<'_>> {
    let begun = lists::started(run);
    let mut open = unresolved_entries(run, &begun);
    let steps = begun.into_iter().filter(|(row, _)| row.stage == Stage::Started);
    open.extend(steps.map(|(_, at)| Todo::Resolve(at)));
    open
}

fn unresolved_entries<'r>(run: &'r Run, begun: &[(&StepRun, At<'r>)]) -> Vec<Todo<'r>> {
    let mut open = Vec::new();
    for (row, at) in begun {
        for list in [List::Undo, List::Finally] {
            match lists::next(run, row, at, list) {
                Listed::Next(todo @ Todo::ResolveEntry(..)) => open.push(todo),
                Listed::Next(_) | Listed::Clear | Listed::Broken(_) => {}
            }
        }
    }
    open
}

/// The way back: what is under way or in doubt first (a failed one may have taken effect, too; it
/// parks where nobody can tell), then the scopes that are still open from the inside out, then undo,
/// the last step first, then the run's own finalizers.
fn back<'r>(run: &'r Run, unwind: &Unwind) -> Vec<Todo<'r>> {
    let begun = lists::started(run);
    let mut open = unresolved_entries(run, &begun);
    let asked = begun.iter().filter(|(row, at)| must_ask(row, at, unwind.undo));
    open.extend(asked.map(|(_, at)| Todo::Resolve(at.clone())));
    if !open.is_empty() {
        return open;
    }
    // what may still be going on is not touched, unless somebody who gave the run up has looked
    let doubted = begun.iter().find_map(|(row, at)| match &row.stage {
        Stage::Doubted { why } if !unwind.is_given_up() => Some((at.path.clone(), why.clone())),
        Stage::Doubted { .. }
        | Stage::Started
        | Stage::Done { .. }
        | Stage::Skipped
        | Stage::Failed { .. }
        | Stage::Disproved => None,
    });
    if let Some(found) = doubted {
        return vec![Todo::Park(parking(run, &[doubt(run, &found)]))];
    }
    let inner = begun.iter().filter(|(_, at)| !at.scope().is_root());
    let undo = begun.iter().filter(|_| unwind.undo);
    let outer = begun.iter().filter(|(_, at)| at.scope().is_root());
    let order = inner.map(|step| (step, List::Finally));
    let order = order.chain(undo.map(|step| (step, List::Undo)));
    let mut not_undone = Vec::new();
    for ((row, at), list) in order.chain(outer.map(|step| (step, List::Finally))) {
        if list == List::Undo && not_undone.iter().any(|(of, _)| shares(*of, member_of(row))) {
            continue; // it would be taken back from under what stands there still
        }
        match lists::next(run, row, at, list) {
            Listed::Next(todo) => return vec![todo],
            Listed::Broken(broken) if broken.is_doubt && !unwind.is_given_up() => {
                return vec![Todo::Park(parking(run, &[broken.why]))];
            }
            Listed::Broken(broken) if list == List::Undo => {
                not_undone.push((member_of(row), broken.why));
            }
            Listed::Clear | Listed::Broken(_) => {} // a failed entry ends its own list
        }
    }
    if !not_undone.is_empty() && !unwind.is_given_up() {
        let causes: Vec<String> = not_undone.into_iter().map(|(_, why)| why).collect();
        return vec![Todo::Park(parking(run, &causes))];
    }
    let broken = run.entries.values().any(|row| row.stage.is_broken());
    let outcome = if broken { Outcome::Failed } else { unwind.outcome };
    vec![Todo::Finish(outcome, Some(unwind.failure.clone()))]
}

/// The member a step was about.
fn member_of(row: &StepRun) -> Option<&str> {
    row.args.get("member")?.as_str()
}

/// Whether the undo of one step may rest on that of the other: about the same member, or about no
/// single one.
fn shares(one: Option<&str>, other: Option<&str>) -> bool {
    one.zip(other).is_none_or(|(one, other)| one == other)
}

/// Whether reality is asked about a step before it is taken back.
fn must_ask(row: &StepRun, at: &At<'_>, undo: bool) -> bool {
    let may_have_acted = match &row.stage {
        Stage::Started => true,
        Stage::Failed { .. } | Stage::Doubted { .. } => undo && !row.asked,
        Stage::Done { .. } | Stage::Skipped | Stage::Disproved => false,
    };
    may_have_acted && matches!(at.step.kind, StepKind::Action(_))
}
