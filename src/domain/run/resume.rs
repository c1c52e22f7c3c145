//! What a person's `resume` tries again: computed once, when it is said, and journalled as paths.
//!
//! Only the scope that failed is tried again, and nothing before the point of no return. [`retry`]
//! names it, `follow` does it; in between lies the journal, so a replay does the same.
//!
//! # What a path means
//!
//! - A step of which an entry of `undo` or `finally` ended its list: these entries run again.
//! - A step that failed, or of which nobody could tell: it is tried again, or asked about again; a
//!   question is put anew. Past the point of no return a start that nobody can tell of still is done
//!   again.
//! - A step that found nothing to do or only looked: it looks again. One that changed something
//!   stays done, and its finalizers are armed again.
//! - An iteration, a loop or a call: everything in it begins anew.

use std::collections::BTreeSet;

use super::{
    event::{EntryKey, List},
    forward, lists,
    path::Path,
    state::{Run, Stage, StepRun},
};
use crate::domain::rules::playbook::model::{OnError, StepKind};

/// What is tried again where this parked run goes on.
pub fn retry(run: &Run) -> Vec<Path> {
    let broken = run.entries.iter().filter(|(_, row)| row.stage.is_broken());
    if run.unwind.is_some() {
        // on the way back nothing begins anew; only what could not be told or done is tried again
        let doubted =
            run.steps.iter().filter(|(_, row)| matches!(row.stage, Stage::Doubted { .. }));
        let doubted = doubted.map(|(path, _)| path.clone());
        return sorted(broken.map(|(key, _)| key.step.clone()).chain(doubted).collect());
    }
    let found = forward::walk(run, &BTreeSet::new());
    let mut paths: Vec<Path> = found.doubted.into_iter().map(|(path, _)| path).collect();
    paths.extend(
        broken.filter(|(key, _)| key.list == List::Finally).map(|(key, _)| key.step.clone()),
    );
    for (path, _) in &found.failed {
        paths.push(path.clone());
        paths.extend(looks_before(run, path));
        paths.extend(passed_over(run, &path.scope(), Some(path)));
    }
    if run.unverified.is_some() {
        paths.extend(passed_over(run, &Path::root(), None));
    }
    sorted(paths)
}

fn sorted(paths: Vec<Path>) -> Vec<Path> {
    paths.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

/// The order below which nothing is tried again.
fn floor(run: &Run) -> Option<usize> {
    run.past_return.as_ref().and_then(|path| run.steps.get(path)).map(|row| row.order)
}

/// Whether what this path names began before the point of no return that was passed.
pub(super) fn is_before_return(run: &Run, path: &Path) -> bool {
    let Some(floor) = floor(run) else { return false };
    let entries = run.entries.iter().any(|(key, row)| key.step == *path && row.stage.is_broken());
    let first = rows_of(run, path).map(|(_, row)| row.order).min();
    !entries && first.is_some_and(|first| first < floor)
}

/// The rows of a step, of one iteration, or of all that is in a loop or a call.
fn rows_of<'r>(run: &'r Run, path: &'r Path) -> impl Iterator<Item = (&'r Path, &'r StepRun)> {
    run.steps.iter().filter(move |(of, _)| of.is_of(path))
}

fn only_looked(row: &StepRun) -> bool {
    matches!(row.stage, Stage::Done { changed: false, .. })
}

fn asks(run: &Run, path: &Path) -> bool {
    run.plan.step(path).is_some_and(|step| matches!(step.kind, StepKind::Approve(_)))
}

fn has_asked(run: &Run, path: &Path) -> bool {
    run.ask.as_ref().is_some_and(|(asked, _)| asked == path)
}

/// What only looked right before a step that failed looks again: the step judged what it saw.
fn looks_before(run: &Run, failed: &Path) -> Vec<Path> {
    let Some(order) = run.steps.get(failed).map(|row| row.order) else { return Vec::new() };
    let (scope, floor) = (failed.scope(), floor(run));
    let mut before: Vec<_> = rows_of(run, &scope).filter(|(_, row)| row.order < order).collect();
    before.sort_unstable_by_key(|(_, row)| std::cmp::Reverse(row.order));
    let looked = before.into_iter().take_while(|(path, row)| {
        only_looked(row)
            && path.scope() == scope
            && !has_asked(run, path)
            && floor.is_none_or(|floor| row.order > floor)
    });
    looked.map(|(path, _)| path.clone()).collect()
}

/// Failures in a scope that the playbook went past (`on_error: continue`), and what only looked
/// after them: it saw its target without what is still to come. Where something was changed after
/// such a failure it stays as it is, since doing it now would turn the order of the repair round.
fn passed_over(run: &Run, scope: &Path, cause: Option<&Path>) -> Vec<Path> {
    let failed = rows_of(run, scope).filter(|(path, row)| {
        matches!(row.stage, Stage::Failed { last: true, .. }) && Some(*path) != cause
    });
    let mut units: Vec<(Path, Path)> = failed
        .filter_map(|(path, _)| Some((unit(run, path)?, path.clone())))
        .filter(|(unit, _)| unit != scope && unit.is_in(scope))
        .collect();
    units.sort();
    let mut paths = Vec::new();
    for (unit, leaf) in &units {
        let Some(first) = rows_of(run, unit).map(|(_, row)| row.order).min() else { continue };
        if floor(run).is_some_and(|floor| first <= floor) || is_closed(run, unit, scope) {
            continue;
        }
        let whole = unit.of_loop().unwrap_or_else(|| unit.clone());
        let after: Vec<_> = rows_of(run, scope)
            .filter(|(path, row)| row.order > first && !path.is_of(&whole))
            .filter(|(path, _)| Some(*path) != cause && !units.iter().any(|(u, _)| path.is_of(u)))
            .collect();
        if after.iter().any(|(path, row)| !(changed_nothing(row) || run.only_reads(path))) {
            continue;
        }
        paths.extend(begins_anew(run, unit, leaf));
        let looked = after.iter().filter(|(path, row)| only_looked(row) && !has_asked(run, path));
        paths.extend(looked.map(|(path, _)| outermost(path, scope, &whole)));
    }
    paths
}

/// A later step that may have changed the patient stands in the way of going back to an earlier one.
fn changed_nothing(row: &StepRun) -> bool {
    match &row.stage {
        Stage::Done { changed, .. } => !changed,
        Stage::Skipped | Stage::Disproved => true,
        Stage::Failed { .. } => !row.started,
        Stage::Started | Stage::Doubted { .. } => false,
    }
}

/// What went past the failure of this step: the step itself, or the iteration or call around it.
fn unit(run: &Run, failed: &Path) -> Option<Path> {
    let goes_on =
        |path: &Path| run.plan.step(path).is_some_and(|step| step.on_error == OnError::Continue);
    let mut unit = failed.clone();
    while !unit.is_root() {
        if goes_on(&unit) {
            return Some(unit);
        }
        unit = unit.scope();
    }
    None
}

/// Whether a scope between the two is over: its finalizers ran, so nothing in it goes on.
fn is_closed(run: &Run, unit: &Path, scope: &Path) -> bool {
    let mut around = unit.scope();
    while around != *scope && !around.is_root() {
        if lists::is_over(run, &around) {
            return true;
        }
        around = around.scope();
    }
    false
}

/// An iteration (or call) that its finalizers cleaned up begins anew. One where a finalizer found
/// that there was nothing to clean up (a member that joined after all) goes on where it failed, its
/// finalizers armed again; so does one that had none.
fn begins_anew(run: &Run, unit: &Path, leaf: &Path) -> Vec<Path> {
    let mut cleaned = None;
    let mut scope = leaf.clone();
    while scope != *unit && !scope.is_root() {
        scope = scope.scope();
        if lists::is_over(run, &scope) {
            cleaned = Some(scope.clone());
        }
    }
    let Some(cleaned) = cleaned else { return vec![leaf.clone()] };
    // the finalizers of the scopes that the failure ended
    let ended = |key: &EntryKey| {
        let scope = key.step.scope();
        key.list == List::Finally && scope.is_in(&cleaned) && leaf.is_in(&scope)
    };
    let finalizers: Vec<_> = run.entries.iter().filter(|(key, _)| ended(key)).collect();
    if !finalizers.iter().any(|(_, row)| row.stage == Stage::Skipped) {
        return vec![cleaned];
    }
    finalizers.into_iter().map(|(key, _)| key.step.clone()).chain([leaf.clone()]).collect()
}

/// The loop or call of this scope that a step stands in: as a whole it looks again.
fn outermost(path: &Path, scope: &Path, not: &Path) -> Path {
    let seg = path.segs().get(scope.segs().len());
    let whole = seg.map(|seg| scope.step(std::sync::Arc::clone(&seg.name)));
    whole.filter(|whole| whole != path && !not.is_of(whole)).unwrap_or_else(|| path.clone())
}

/// Does what a journalled path says.
pub(super) fn follow(run: &mut Run, path: &Path) {
    let broken = |key: &EntryKey, row: &StepRun| key.step == *path && row.stage.is_broken();
    let entries = run.entries.iter().any(|(key, row)| broken(key, row));
    if entries || run.unwind.is_some() {
        run.entries.retain(|key, row| !broken(key, row));
        let doubted =
            run.steps.get_mut(path).filter(|row| matches!(row.stage, Stage::Doubted { .. }));
        if let Some(row) = doubted.filter(|_| !entries) {
            row.stage = Stage::Started;
        }
        return;
    }
    let holds_steps = run.plan.step(path).is_some_and(|step| match &step.kind {
        StepKind::Foreach { .. } | StepKind::Call { .. } => true,
        StepKind::Action(_)
        | StepKind::Wait { .. }
        | StepKind::Expect { .. }
        | StepKind::RecordLoss { .. }
        | StepKind::RecordNote(_)
        | StepKind::Approve(_) => false,
    });
    run.entries.retain(|key, _| !key.step.is_of(path));
    if holds_steps {
        run.steps.retain(|of, _| !of.is_of(path));
        run.items.retain(|of, _| !of.is_of(path));
        run.stopped.retain(|of, _| !of.is_of(path));
        run.calls.retain(|of, _| !of.is_of(path));
        return;
    }
    if asks(run, path) {
        // a new question, if one was put: the answer to the old one is why the run parked
        if has_asked(run, path) {
            (run.ask, run.approval, run.denied) = (None, None, None);
        }
        run.steps.remove(path);
        return;
    }
    let Some(row) = run.steps.get_mut(path) else { return };
    match &mut row.stage {
        Stage::Failed { last, .. } => {
            *last = false;
            row.forgiven = row.attempts;
        }
        Stage::Doubted { .. } => {
            row.stage = Stage::Started;
            row.forgiven = row.attempts;
        }
        Stage::Done { changed: false, .. } | Stage::Skipped => drop(run.steps.remove(path)),
        Stage::Started | Stage::Done { .. } | Stage::Disproved => {}
    }
}
