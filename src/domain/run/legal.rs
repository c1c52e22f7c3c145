//! Which record may follow on which state: every record is legal, or refused with the reason.
//!
//! A refused record changes nothing. Steps begin in the order of the plan: that is told by the step
//! before, and the scopes around, since what has begun was in order itself. Where a loop works on
//! several items at once, and for what is said of the run as a whole, the walk is asked.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    event::{EntryKey, List, Outcome, RunEvent},
    forward, lists, next,
    path::Path,
    plan::{ITEMS_MAX, inside},
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
        // also for a reason from outside: what is under way then is in doubt when it goes on
        RunEvent::RunStarted { .. } | RunEvent::RunParked { .. } => Ok(()),
        RunEvent::ForeachStarted { step, items } => {
            require(items.len() <= ITEMS_MAX, "it has too many items")?;
            expands(run, step, true)
        }
        RunEvent::CallStarted { step, .. } => expands(run, step, false),
        RunEvent::ForeachStopped { step, item } => stops(run, step, item),
        RunEvent::StepSkipped { step } => {
            forward(run)?;
            let found = open_step(run, step)?;
            unbegun(run, step)?;
            require(found.when.is_some(), "it has no `when`")?;
            in_order(run, step)
        }
        RunEvent::StepStarted { step, attempt, irreversible, .. } => {
            starts(run, step, *attempt, *irreversible)
        }
        RunEvent::StepDone { step, .. } => ends(run, step, true),
        RunEvent::StepFailed { step, last, .. } => fails(run, step, *last),
        RunEvent::StepDisproved { step, finding } => disproves(run, step, finding),
        RunEvent::StepDoubted { step, .. } => resolves(run, step),
        RunEvent::EntryStarted { entry, attempt, .. } => {
            let row = entry_next(run, entry)?;
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
        | RunEvent::EntryDoubted { entry, .. } => entry_ends(run, entry),
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
    unbegun(run, path)?;
    in_order(run, path)
}

fn stops(run: &Run, path: &Path, item: &str) -> Check {
    let asks = |todo: &Todo<'_>| matches!(todo, Todo::Until(at, _, next) if at.path == *path && **next == *item);
    let asked = next::next(run, &iterations_around(run, path)).iter().any(asks);
    require(asked, "its `until` is not asked before that item")
}

/// The iterations of all loops around a step.
fn iterations_around(run: &Run, path: &Path) -> BTreeSet<Path> {
    let around = run.items.iter().filter(|(of, _)| *of != path && path.is_of(of));
    around.flat_map(|(of, items)| items.iter().map(|item| of.iteration(item.clone()))).collect()
}

fn todos(run: &Run) -> Vec<Todo<'_>> {
    next::next(run, &BTreeSet::new())
}

/// Whether what comes before a step is over, in its scope and in those around it.
fn in_order(run: &Run, path: &Path) -> Check {
    let mut at = path.clone();
    loop {
        let scope = at.scope();
        if let Some(before) = step_before(run, &at) {
            let over = forward::is_over(run, &before);
            require(over, &format!("step {} is not over", before.path))?;
        }
        if scope.is_root() {
            return Ok(());
        }
        if let Some(looped) = scope.of_loop() {
            has_room(run, path, &looped, &scope)?;
            at = looped;
        } else {
            at = scope;
        }
    }
}

fn step_before<'r>(run: &'r Run, path: &Path) -> Option<At<'r>> {
    let scope = path.scope();
    let steps = if scope.is_root() { &run.plan.steps } else { inside(run.plan.step(&scope)?)? };
    let place = steps.iter().position(|step| step.name == path.name())?;
    let step = &steps[place.checked_sub(1)?];
    Some(At { path: scope.step(step.name.as_str()), step })
}

/// Whether a loop may work on this item now: those before have begun, and not too many are open.
fn has_room(run: &Run, path: &Path, looped: &Path, scope: &Path) -> Check {
    let Some(StepKind::Foreach { at_once, .. }) = run.plan.step(looped).map(|step| &step.kind)
    else {
        return Err("it stands in no loop".into());
    };
    if *at_once > 1 {
        // a failure elsewhere in the loop ends what has not begun; `until` was asked before
        let todos = next::next(run, &iterations_around(run, path));
        let listed = todos.iter().any(|todo| todo.begins() == Some(path));
        return require(listed, "it is not its turn");
    }
    for item in run.items_of(looped) {
        let other = looped.iteration(Arc::clone(item));
        if other == *scope {
            return Ok(());
        }
        let over = forward::iteration_is_over(run, looped, &other);
        require(over, &format!("{other} is not over"))?;
    }
    Err(format!("{scope} has not begun"))
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
    same_try(attempt, row.map_or(0, |row| row.attempts) + 1)?;
    in_order(run, path)
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
            require(!(done && expands), "it ends with what is in it")?;
            require(!(done && waits(run, path)), "nobody said yes")?;
            in_order(run, path)
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

/// Whether a step asked, and was not answered with a yes.
fn waits(run: &Run, path: &Path) -> bool {
    run.ask.as_ref().is_some_and(|(asked, _)| asked == path) && run.approval.is_none()
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
    let row = run.entries.get(key);
    match row.map(|row| &row.stage) {
        None | Some(Stage::Started | Stage::Disproved | Stage::Failed { last: false, .. }) => {}
        Some(stage) => return Err(format!("it is {}", stage.label())),
    }
    Ok(row)
}

/// The row of an entry that is next. The result of one that was started comes whenever it comes.
fn entry_next<'r>(run: &'r Run, key: &EntryKey) -> Result<Option<&'r StepRun>, String> {
    let row = entry_open(run, key)?;
    let listed = todos(run).iter().any(|todo| todo.entry() == Some(key));
    require(listed, "it is not its turn")?;
    Ok(row)
}

fn entry_ends(run: &Run, key: &EntryKey) -> Check {
    let is_started = entry_open(run, key)?.is_some_and(|row| row.stage == Stage::Started);
    if is_started { Ok(()) } else { entry_next(run, key).map(|_| ()) }
}

fn asks(run: &Run, path: &Path) -> Check {
    forward(run)?;
    let step = open_step(run, path)?;
    require(matches!(step.kind, StepKind::Approve(_)), "it does not ask")?;
    let asked = run.ask.as_ref().is_some_and(|(asked, _)| asked == path);
    require(!(asked || run.is_asking()), "a person is asked, or was")?;
    unbegun(run, path)?;
    in_order(run, path)
}

/// Back goes what is not on its way back yet, or what a person gives up.
fn unwinds(run: &Run, undo: bool) -> Check {
    require(run.unwind.is_none() || run.parked.is_some(), "the run is on its way back")?;
    require(!(undo && run.past_return.is_some()), "the point of no return is passed")?;
    require(undo || run.past_return.is_some(), "what was done can be taken back")
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
    require(run.unverified.is_none(), "it has failed")?;
    require(matches!(todos(run).as_slice(), [Todo::Verify(_)]), "a step is not over")
}

fn finishes(run: &Run, outcome: Outcome) -> Check {
    match todos(run).as_slice() {
        [Todo::Finish(expected, _)] if *expected == outcome => Ok(()),
        [Todo::Finish(expected, _)] => Err(format!("it ends {}", expected.label())),
        _ => Err("something is left to do".into()),
    }
}
