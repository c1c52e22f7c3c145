//! The lists of `undo` and `finally` beside the steps that were started: which entry is next.

use super::{
    event::{EntryKey, List},
    path::Path,
    state::{Run, Stage, StepRun},
    todo::{At, Todo},
};
use crate::domain::rules::playbook::model::Entry;

/// Where the list of one step stands.
pub(super) enum Listed<'r> {
    /// Nothing is left of it, or there is nothing to clean up after.
    Clear,
    /// This is next.
    Next(Todo<'r>),
    /// An entry failed for good, or nobody can tell about it: the rest is left out.
    Broken(Broken),
}

/// An entry that ended its list, in words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) entry: EntryKey,
    pub(super) why: String,
    /// Whether nobody can tell; else it failed.
    pub(super) is_doubt: bool,
}

/// The steps that were started, the last one first.
pub(super) fn started(run: &Run) -> Vec<(&StepRun, At<'_>)> {
    started_in(run, &Path::root())
}

/// The steps in a scope that were started, the last one first.
fn started_in<'r>(run: &'r Run, scope: &Path) -> Vec<(&'r StepRun, At<'r>)> {
    let rows = run.steps.range(scope..).take_while(|(path, _)| path.is_in(scope));
    let rows = rows.filter(|(_, row)| row.started);
    let found = rows.filter_map(|(path, row)| {
        Some((row, At { path: path.clone(), step: run.plan.step(path)? }))
    });
    let mut found: Vec<_> = found.collect();
    found.sort_by_key(|(row, _)| std::cmp::Reverse(row.order));
    found
}

/// The entries of one of a step's lists.
pub(super) fn entries<'r>(at: &At<'r>, list: List) -> &'r [Entry] {
    match list {
        List::Undo => &at.step.undo,
        List::Finally => &at.step.finally,
    }
}

/// Whether there is something to clean up after: a write that found nothing to do left nothing, and
/// what was disproved needs no undo.
pub(super) fn applies(row: &StepRun, list: List) -> bool {
    match &row.stage {
        Stage::Done { changed, .. } => *changed,
        Stage::Skipped => false,
        Stage::Disproved => row.started && list == List::Finally,
        Stage::Started | Stage::Failed { .. } | Stage::Doubted { .. } => row.started,
    }
}

/// Where a list stands.
pub(super) fn next<'r>(run: &'r Run, row: &StepRun, at: &At<'r>, list: List) -> Listed<'r> {
    if !applies(row, list) {
        return Listed::Clear;
    }
    for (index, entry) in entries(at, list).iter().enumerate() {
        let key = EntryKey { step: at.path.clone(), list, index };
        let Some(row) = run.entries.get(&key) else {
            return Listed::Next(Todo::Entry(key, at.clone(), entry));
        };
        match &row.stage {
            Stage::Done { .. } | Stage::Skipped => {}
            Stage::Disproved => return Listed::Next(Todo::Entry(key, at.clone(), entry)),
            Stage::Started => return Listed::Next(Todo::ResolveEntry(key, at.clone(), entry)),
            Stage::Failed { last: false, .. } => {
                let not_before = row.at.after(entry.retry.delay);
                return Listed::Next(Todo::RetryEntry(key, at.clone(), entry, not_before));
            }
            Stage::Failed { failure, .. } => {
                let why =
                    format!("cleaning up after step {} failed: {}", key.step, failure.message);
                return Listed::Broken(Broken { entry: key, why, is_doubt: false });
            }
            Stage::Doubted { why } => {
                let why = format!("what step {} did is not taken back: {why}", key.step);
                return Listed::Broken(Broken { entry: key, why, is_doubt: true });
            }
        }
    }
    Listed::Clear
}

/// The next finalizer of one scope that ends: first of what a failure left open inside it, then of
/// its own steps; the last armed comes first.
pub(super) fn finalizer<'r>(run: &'r Run, scope: &Path) -> Listed<'r> {
    let begun = started_in(run, scope);
    let inside = begun.iter().filter(|(_, at)| at.scope() != *scope);
    let own = begun.iter().filter(|(_, at)| at.scope() == *scope);
    for (row, at) in inside.chain(own) {
        match next(run, row, at, List::Finally) {
            Listed::Clear => {}
            found @ (Listed::Next(_) | Listed::Broken(_)) => return found,
        }
    }
    Listed::Clear
}

/// Whether finalizers of this scope's own steps ran: then it is over.
pub(super) fn is_over(run: &Run, scope: &Path) -> bool {
    let own = run.entries.iter().filter(|(key, _)| key.list == List::Finally);
    let mut own = own.filter(|(key, _)| key.step.scope() == *scope);
    own.any(|(_, row)| matches!(row.stage, Stage::Done { .. } | Stage::Skipped))
}
