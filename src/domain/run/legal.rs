//! Which record may follow on which state: every record is legal, or refused with the reason.
//!
//! A refused record changes nothing. What is legal is told by the state of the run, of the one step
//! or entry concerned, and of the scopes around it; only the end of a run asks the whole walk.

use std::collections::BTreeSet;

use super::{
    event::{EntryKey, List, Outcome, RunEvent},
    lists, next,
    path::Path,
    resume,
    state::{Run, Stage, StepRun},
    todo::{At, Todo},
};
use crate::domain::rules::playbook::model::{Step, StepKind};

/// A record that cannot follow on what is journalled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}{} cannot follow: {why}", place(.subject.as_deref()))]
pub struct Illegal {
    /// The record's kind.
    pub kind: &'static str,
    /// The step or entry it is about, if it is about one.
    pub subject: Option<String>,
    /// What stands in the way.
    pub why: String,
}

fn place(subject: Option<&str>) -> String {
    subject.map_or(String::new(), |subject| format!(" of {subject}"))
}

type Check = Result<(), String>;

/// Whether the record may follow.
pub(super) fn check(run: &Run, event: &RunEvent) -> Result<(), Illegal> {
    checked(run, event).map_err(|why| Illegal { kind: event.kind(), subject: subject(event), why })
}

fn subject(event: &RunEvent) -> Option<String> {
    match event {
        RunEvent::ForeachStarted { step, .. }
        | RunEvent::ForeachStopped { step, .. }
        | RunEvent::CallStarted { step, .. }
        | RunEvent::StepSkipped { step }
        | RunEvent::StepStarted { step, .. }
        | RunEvent::StepDone { step, .. }
        | RunEvent::StepFailed { step, .. }
        | RunEvent::StepDisproved { step, .. }
        | RunEvent::StepDoubted { step, .. }
        | RunEvent::ApprovalAsked { step, .. } => Some(step.to_string()),
        RunEvent::EntryStarted { entry, .. }
        | RunEvent::EntryDone { entry, .. }
        | RunEvent::EntrySkipped { entry, .. }
        | RunEvent::EntryFailed { entry, .. }
        | RunEvent::EntryDoubted { entry, .. } => Some(format!("{} {}", entry.step, entry.index)),
        RunEvent::RunStarted { .. }
        | RunEvent::Approved { .. }
        | RunEvent::Denied { .. }
        | RunEvent::UnwindStarted { .. }
        | RunEvent::RunParked { .. }
        | RunEvent::RunResumed { .. }
        | RunEvent::Verified
        | RunEvent::VerifyFailed { .. }
        | RunEvent::RunFinished { .. } => None,
    }
}

fn checked(run: &Run, event: &RunEvent) -> Check {
    if matches!(event, RunEvent::RunStarted { .. }) {
        return Err("the run has begun".into());
    }
    if let Some((outcome, ..)) = &run.finished {
        return Err(format!("the run has ended: {}", outcome.label()));
    }
    let unparks = matches!(event, RunEvent::RunResumed { .. } | RunEvent::UnwindStarted { .. });
    if run.parked.is_some() && !unparks {
        return Err("the run is parked".into());
    }
    match event {
        RunEvent::RunStarted { .. } | RunEvent::RunParked { .. } => Ok(()),
        RunEvent::ForeachStarted { step, .. } => expands(run, step, true),
        RunEvent::CallStarted { step, .. } => expands(run, step, false),
        RunEvent::ForeachStopped { step, item } => stops(run, step, item),
        RunEvent::StepSkipped { step } => {
            forward(run)?;
            open_step(run, step)?;
            unbegun(run, step)
        }
        RunEvent::StepStarted { step, attempt, irreversible, .. } => {
            starts(run, step, *attempt, *irreversible)
        }
        RunEvent::StepDone { step, .. } => ends(run, step, true),
        RunEvent::StepFailed { step, last, .. } => fails(run, step, *last),
        RunEvent::StepDisproved { step, finding } => disproves(run, step, finding),
        RunEvent::StepDoubted { step, .. } => resolves(run, step),
        RunEvent::EntryStarted { entry, attempt, .. } => {
            let row = entry_open(run, entry)?;
            let expected = row.map_or(0, |row| row.attempts) + 1;
            same_try(*attempt, expected)
        }
        RunEvent::EntryDone { entry, .. } => {
            let row = entry_open(run, entry)?;
            let started = row.is_some_and(|row| row.stage == Stage::Started);
            require(started, "it was not started")
        }
        RunEvent::EntrySkipped { entry, .. }
        | RunEvent::EntryFailed { entry, .. }
        | RunEvent::EntryDoubted { entry, .. } => entry_open(run, entry).map(|_| ()),
        RunEvent::ApprovalAsked { step, .. } => asks(run, step),
        RunEvent::Approved { .. } | RunEvent::Denied { .. } => {
            require(run.is_asking(), "nobody is asked")
        }
        RunEvent::UnwindStarted { undo, .. } => unwinds(run, *undo),
        RunEvent::RunResumed { retry, .. } => resumes(run, retry),
        RunEvent::Verified | RunEvent::VerifyFailed { .. } => verifies(run),
        RunEvent::RunFinished { outcome, .. } => finishes(run, *outcome),
    }
}

fn require(holds: bool, why: &str) -> Check {
    if holds { Ok(()) } else { Err(why.to_owned()) }
}

fn forward(run: &Run) -> Check {
    require(run.unwind.is_none(), "the run is on its way back")
}

/// The step, where every scope around it is open.
fn open_step<'r>(run: &'r Run, path: &Path) -> Result<&'r Step, String> {
    let whole = path.segs().last().is_some_and(|seg| seg.item.is_none());
    let step = run.plan.step(path).filter(|_| whole).ok_or("the plan has no such step")?;
    let mut scope = path.scope();
    while !scope.is_root() {
        let open = match (scope.of_loop(), scope.segs().last()) {
            (Some(looped), Some(seg)) => {
                run.items_of(&looped).any(|item| Some(item) == seg.item.as_ref())
            }
            (_, _) => run.calls.contains_key(&scope),
        };
        require(open, &format!("{scope} has not begun"))?;
        scope = scope.scope();
    }
    Ok(step)
}

fn is_action(step: &Step) -> bool {
    matches!(step.kind, StepKind::Action(_))
}

fn unbegun(run: &Run, path: &Path) -> Check {
    let begun = run.steps.contains_key(path)
        || run.items.contains_key(path)
        || run.calls.contains_key(path);
    require(!begun, "it has begun")
}

fn expands(run: &Run, path: &Path, is_loop: bool) -> Check {
    forward(run)?;
    let fits = match open_step(run, path)?.kind {
        StepKind::Foreach { .. } => is_loop,
        StepKind::Call { .. } => !is_loop,
        StepKind::Action(_)
        | StepKind::Wait { .. }
        | StepKind::Expect { .. }
        | StepKind::RecordLoss { .. }
        | StepKind::RecordNote(_)
        | StepKind::Approve(_) => false,
    };
    require(fits, if is_loop { "it is no loop" } else { "it calls nothing" })?;
    unbegun(run, path)
}

fn stops(run: &Run, path: &Path, item: &std::sync::Arc<str>) -> Check {
    forward(run)?;
    open_step(run, path)?;
    require(run.items_of(path).any(|known| known == item), "the loop has no such item left")?;
    let scope = path.iteration(std::sync::Arc::clone(item));
    require(!run.has_begun(&scope), "that iteration has begun")
}

fn starts(run: &Run, path: &Path, attempt: u32, irreversible: bool) -> Check {
    forward(run)?;
    require(!run.is_asking(), "a person is asked")?;
    let step = open_step(run, path)?;
    require(is_action(step), "it is no action")?;
    require(irreversible == step.irreversible, "the plan has it otherwise irreversible")?;
    let row = run.steps.get(path);
    match row.map(|row| &row.stage) {
        None | Some(Stage::Disproved | Stage::Failed { last: false, .. }) => {}
        Some(stage) => return Err(format!("it is {}", stage.label())),
    }
    same_try(attempt, row.map_or(0, |row| row.attempts) + 1)
}

fn same_try(got: u32, expected: u32) -> Check {
    require(got == expected, &format!("it is try {got}, but {expected} is next"))
}

/// What was started ends; a control step ends without; on the way back also what is asked about.
fn ends(run: &Run, path: &Path, done: bool) -> Check {
    let step = open_step(run, path)?;
    let row = run.steps.get(path);
    match row.map(|row| &row.stage) {
        Some(Stage::Started) => Ok(()),
        Some(Stage::Failed { .. } | Stage::Doubted { .. }) if run.unwind.is_some() => {
            require(row.is_some_and(|row| row.started), "it was not started")
        }
        None | Some(Stage::Disproved | Stage::Failed { last: false, .. }) => {
            forward(run)?;
            if row.is_none() {
                unbegun(run, path)?;
            }
            require(!(done && is_action(step)), "it was not started")?;
            let expands = matches!(step.kind, StepKind::Foreach { .. } | StepKind::Call { .. });
            require(!(done && expands), "it ends with what is in it")
        }
        Some(stage) => Err(format!("it is {}", stage.label())),
    }
}

fn fails(run: &Run, path: &Path, last: bool) -> Check {
    ends(run, path, false)?;
    require(last || run.unwind.is_none(), "on the way back nothing is tried again")
}

/// What is in doubt is asked about; on the way back also what failed.
fn resolves(run: &Run, path: &Path) -> Check {
    require(is_action(open_step(run, path)?), "it is no action")?;
    let row = run.steps.get(path).ok_or("it was not started")?;
    let in_doubt = match &row.stage {
        Stage::Started => true,
        Stage::Failed { .. } | Stage::Doubted { .. } => row.started && run.unwind.is_some(),
        Stage::Done { .. } | Stage::Skipped | Stage::Disproved => false,
    };
    require(in_doubt, &format!("it is {}", row.stage.label()))
}

fn disproves(run: &Run, path: &Path, finding: &str) -> Check {
    resolves(run, path)?;
    let passed = run.steps.get(path).is_some_and(|row| row.irreversible);
    require(
        !(passed && finding.trim().is_empty()),
        "a point of no return is disproved by a finding",
    )
}

/// The row of an entry that can be worked on now.
fn entry_open<'r>(run: &'r Run, key: &EntryKey) -> Result<Option<&'r StepRun>, String> {
    let step = open_step(run, &key.step)?;
    let at = At { path: key.step.clone(), step };
    let listed = lists::entries(&at, key.list).get(key.index).is_some();
    require(listed, "the plan has no such entry")?;
    let row = run.steps.get(&key.step).filter(|row| lists::applies(row, key.list));
    row.ok_or("its step left nothing to clean up after")?;
    if key.list == List::Undo {
        let undoes = run.unwind.as_ref().is_some_and(|unwind| unwind.undo);
        require(undoes, "nothing is taken back")?;
    }
    for index in 0..key.index {
        let earlier = EntryKey { index, ..key.clone() };
        let stage = run.entries.get(&earlier).map(|row| &row.stage);
        let over = matches!(stage, Some(Stage::Done { .. } | Stage::Skipped));
        require(over, "an earlier entry of its list is not over")?;
    }
    let row = run.entries.get(key);
    match row.map(|row| &row.stage) {
        None | Some(Stage::Started | Stage::Disproved | Stage::Failed { last: false, .. }) => {
            Ok(row)
        }
        Some(stage) => Err(format!("it is {}", stage.label())),
    }
}

fn asks(run: &Run, path: &Path) -> Check {
    forward(run)?;
    let step = open_step(run, path)?;
    require(matches!(step.kind, StepKind::Approve(_)), "it does not ask")?;
    require(!run.is_asking(), "a person is asked")?;
    unbegun(run, path)
}

/// Back goes what is not on its way back yet, or what a person gives up.
fn unwinds(run: &Run, undo: bool) -> Check {
    require(run.unwind.is_none() || run.parked.is_some(), "the run is on its way back")?;
    require(!(undo && run.past_return.is_some()), "the point of no return is passed")
}

fn resumes(run: &Run, retry: &[Path]) -> Check {
    require(run.parked.is_some(), "the run is not parked")?;
    for path in retry {
        let known = run.plan.step(path).is_some();
        require(known, &format!("the plan has no step {path}"))?;
        let forward = !resume::is_before_return(run, path);
        require(forward, &format!("{path} lies before the point of no return"))?;
    }
    Ok(())
}

fn verifies(run: &Run) -> Check {
    forward(run)?;
    require(run.plan.verify.is_some(), "the plan has nothing to verify")?;
    require(!run.verified, "it is verified")?;
    require(run.unverified.is_none(), "it has failed")
}

fn finishes(run: &Run, outcome: Outcome) -> Check {
    let nothing = BTreeSet::new();
    let todos = next::next(run, &nothing);
    match todos.as_slice() {
        [Todo::Finish(expected, _)] if *expected == outcome => Ok(()),
        [Todo::Finish(expected, _)] => Err(format!("it ends {}", expected.label())),
        _ => Err("something is left to do".into()),
    }
}
