//! The order of things in a run, as tables: small playbooks are walked without any effect.

use std::{collections::BTreeSet, sync::Arc};

use super::bed::{book, plan_of};
use crate::domain::{
    base::{id::RunId, time::Time},
    rules::{
        action::{ErrorKind, Failure},
        playbook::model::Playbook,
    },
    run::{
        apply::apply,
        event::{List, ModeWord, RunEvent},
        next::{At, Todo, next},
        path::Path,
        resume,
        state::{Run, Stage},
    },
};

/// One walk: which steps fail, which find nothing to do, and where it stops for a question.
#[derive(Default)]
struct Walk {
    fails: &'static [&'static str],
    unchanged: &'static [&'static str],
    /// Until of a loop is true before these items.
    stops: &'static [&'static str],
}

impl Walk {
    /// Everything that is done, in order.
    fn of(&self, steps: &str) -> Vec<String> {
        let book = book(steps);
        let mut run = begin(&book);
        let mut trace = Vec::new();
        let mut checked = BTreeSet::new();
        for _ in 0..200 {
            let known = std::mem::take(&mut checked);
            let Some(what) = next(&run, &known).into_iter().next() else { return trace };
            let Some(events) = self.answer(&run, what, &mut trace, &mut checked) else {
                return trace;
            };
            for event in &events {
                apply(&mut run, event, Time(0)).unwrap();
            }
        }
        panic!("no end: {trace:?}");
    }

    /// What a runner would journal for it; `None` at the end.
    fn answer(
        &self,
        run: &Run,
        what: Todo<'_>,
        trace: &mut Vec<String>,
        checked: &mut BTreeSet<Path>,
    ) -> Option<Vec<RunEvent>> {
        match what {
            Todo::Begin(at) | Todo::Retry(at, _) => {
                trace.push(at.path.to_string());
                Some(self.tried(run, &at))
            }
            Todo::Resolve(at) => {
                trace.push(format!("? {}", at.path));
                Some(vec![RunEvent::StepFailed { step: at.path, failure: failure(), last: true }])
            }
            Todo::Expand(at) => {
                let items = vec![Arc::from("m1"), Arc::from("m2")];
                Some(vec![RunEvent::ForeachStarted { step: at.path, items }])
            }
            Todo::Until(at, _, item) if self.stops.contains(&&*item) => {
                trace.push(format!("stop before {item}"));
                Some(vec![RunEvent::ForeachStopped { step: at.path, item }])
            }
            Todo::Until(at, _, item) => {
                checked.insert(at.path.iteration(item));
                Some(Vec::new())
            }
            Todo::Entry(key, _, entry)
            | Todo::RetryEntry(key, _, entry, _)
            | Todo::ResolveEntry(key, _, entry) => {
                let word = if key.list == List::Undo { "undo" } else { "finally" };
                trace.push(format!("{word} {} {}", key.step, entry.call.action));
                let attempt = run.entries.get(&key).map_or(0, |row| row.attempts) + 1;
                let nothing = serde_json::Value::Null;
                let started = RunEvent::EntryStarted {
                    entry: key.clone(),
                    attempt,
                    args: nothing.clone(),
                    before: nothing,
                };
                let name = format!("{word} {}", key.step);
                let fails = self.fails.contains(&name.as_str());
                let ended = if fails {
                    RunEvent::EntryFailed { entry: key, failure: failure(), last: true }
                } else {
                    RunEvent::EntryDone { entry: key, changed: true, released: None }
                };
                Some(vec![started, ended])
            }
            Todo::Unwind(outcome, failure) => {
                trace.push("unwind".into());
                Some(vec![RunEvent::UnwindStarted { outcome, failure, undo: true }])
            }
            Todo::Park(parking) => {
                let (cause, _) = parking.why.split_once(". ").unwrap();
                trace.push(format!("park: {cause}"));
                None
            }
            Todo::Verify(_) => Some(vec![RunEvent::Verified]),
            Todo::Finish(outcome, _) => {
                trace.push(outcome.label().into());
                None
            }
            Todo::Await(..) => {
                trace.push("await".into());
                None
            }
        }
    }

    fn tried(&self, run: &Run, at: &At<'_>) -> Vec<RunEvent> {
        let step = at.path.clone();
        let attempt = run.steps.get(&step).map_or(0, |row| row.attempts) + 1;
        let started = RunEvent::StepStarted {
            step: step.clone(),
            attempt,
            args: serde_json::Value::Null,
            before: serde_json::Value::Null,
            held: None,
            irreversible: at.step.irreversible,
        };
        let name = step.to_string();
        let listed = |names: &[&str]| names.contains(&name.as_str());
        let result = if listed(self.fails) {
            let last = attempt >= at.step.retry.attempts;
            RunEvent::StepFailed { step, failure: failure(), last }
        } else {
            let changed = !listed(self.unchanged);
            RunEvent::StepDone {
                step,
                output: serde_json::json!({}),
                changed,
                released: None,
                built: None,
            }
        };
        vec![started, result]
    }
}

fn failure() -> Failure {
    Failure::new(ErrorKind::Tool, "no")
}

fn begin(book: &Playbook) -> Run {
    let plan = Arc::new(plan_of(book));
    let started =
        RunEvent::RunStarted { incident: None, plan, mode: ModeWord::Auto, by: "a test".into() };
    Run::start(RunId(uuid::Uuid::nil()), &started, Time(0)).unwrap()
}

const TWO: &str = r#"
    - name: a
      host.service.unmask: {member: m1}
      undo: [{host.service.set_args: {member: m1, args: {x: "1"}}}, {host.service.start: {member: m1}}]
      finally: [{host.service.reset_args: {member: m1}}]
    - name: b
      host.service.unmask: {member: m2}
      undo: [{host.service.start: {member: m2}}]
      finally: [{host.service.reset_args: {member: m2}}]
    - name: c
      host.service.unmask: {member: m3}
"#;

/// Rows: A1, A2, A3, A6.
#[test]
fn undo_goes_backwards_over_what_was_done_and_finalizers_come_last() {
    let well = Walk::default().of(TWO);
    let end =
        ["finally b host.service.reset_args", "finally a host.service.reset_args", "succeeded"];
    assert_eq!(well, [&["a", "b", "c"][..], &end[..]].concat());
    let walk = Walk { fails: &["c"], ..Walk::default() }.of(TWO);
    let back = [
        "a",
        "b",
        "c",
        "unwind",
        "? c",
        "undo b host.service.start",
        "undo a host.service.set_args",
        "undo a host.service.start",
        "finally b host.service.reset_args",
        "finally a host.service.reset_args",
        "undone",
    ];
    assert_eq!(walk, back);
}

/// Rows: A6.
#[test]
fn a_failed_entry_ends_its_list_and_no_other() {
    let walk = Walk { fails: &["c", "undo a"], ..Walk::default() }.of(TWO);
    let after: Vec<_> = walk.iter().skip_while(|line| *line != "? c").map(String::as_str).collect();
    let expected = [
        "? c",
        "undo b host.service.start",
        "undo a host.service.set_args",
        "finally b host.service.reset_args",
        "finally a host.service.reset_args",
        "failed",
    ];
    assert_eq!(after, expected);
}

/// Rows: A4.
#[test]
fn what_found_nothing_to_do_is_neither_undone_nor_finalized() {
    let walk = Walk { fails: &["c"], unchanged: &["b"], ..Walk::default() }.of(TWO);
    assert!(walk.iter().all(|line| !line.contains(" b ")), "{walk:?}");
    assert!(walk.contains(&"undo a host.service.start".to_owned()));
}

/// Rows: E22.
#[test]
fn a_later_try_that_finds_nothing_to_do_found_the_traces_of_the_first() {
    let mut run = begin(&book(TWO));
    let walk = Walk { unchanged: &["a"], ..Walk::default() };
    let tried = walk.tried(&run, &begins(&run));
    apply(&mut run, &tried[0], Time(0)).unwrap();
    let step = Path::root().step("a");
    let cut = RunEvent::StepFailed { step, failure: failure(), last: false };
    apply(&mut run, &cut, Time(0)).unwrap();
    let again = next(&run, &BTreeSet::new());
    let [Todo::Retry(at, _)] = &again[..] else { panic!("it tries again: {again:?}") };
    for event in walk.tried(&run, at) {
        apply(&mut run, &event, Time(0)).unwrap();
    }
    let stage = &run.step("a").unwrap().stage;
    assert!(matches!(stage, Stage::Done { changed: true, .. }), "{stage:?}");
}

const LOOP: &str = r#"
    - name: each
      on_error: continue
      foreach:
        in: 'params.members'
        as: m
        do:
          - name: in
            host.service.set_args: {member: "${m}", args: {x: "1"}}
            undo: [{host.service.start: {member: "${m}"}}]
            finally: [{host.service.reset_args: {member: "${m}"}}]
          - name: on
            host.service.unmask: {member: "${m}"}
    - name: last
      host.service.unmask: {member: m1}
"#;

#[test]
fn an_iteration_s_finalizers_run_when_it_ends_well_or_not() {
    let well = [
        "each[m1].in",
        "each[m1].on",
        "finally each[m1].in host.service.reset_args",
        "each[m2].in",
        "each[m2].on",
        "finally each[m2].in host.service.reset_args",
        "last",
        "succeeded",
    ];
    assert_eq!(Walk::default().of(LOOP), well);
    // with `continue` a failed item is left where it failed, and the others go on
    assert_eq!(Walk { fails: &["each[m1].on"], ..Walk::default() }.of(LOOP), well);
}

#[test]
fn a_failing_item_ends_the_run_and_iterations_unwind_in_reverse() {
    let steps = LOOP.replace("      on_error: continue\n", "");
    let walk = Walk { fails: &["each[m2].on"], ..Walk::default() }.of(&steps);
    let expected = [
        "each[m1].in",
        "each[m1].on",
        "finally each[m1].in host.service.reset_args",
        "each[m2].in",
        "each[m2].on",
        "unwind",
        "? each[m2].on",
        "finally each[m2].in host.service.reset_args",
        "undo each[m2].in host.service.start",
        "undo each[m1].in host.service.start",
        "undone",
    ];
    assert_eq!(walk, expected);
}

#[test]
fn until_is_asked_before_every_item_but_the_first() {
    let steps = LOOP
        .replace("        as: m\n", "        as: m\n        until: 'size(params.members) == 1'\n");
    let walk = Walk { stops: &["m1", "m2"], ..Walk::default() }.of(&steps);
    let expected = [
        "each[m1].in",
        "each[m1].on",
        "finally each[m1].in host.service.reset_args",
        "stop before m2",
        "last",
        "succeeded",
    ];
    assert_eq!(walk, expected);
}

#[test]
fn tries_are_bounded_and_each_is_a_try_of_the_same_step() {
    let steps = r"
    - name: a
      host.service.unmask: {member: m1}
      retry: {attempts: 3, delay: 1s}
";
    let walk = Walk { fails: &["a"], ..Walk::default() }.of(steps);
    assert_eq!(walk, ["a", "a", "a", "unwind", "? a", "undone"]);
}

/// Rows: E23.
#[test]
fn after_the_point_of_no_return_a_failure_parks() {
    let steps = r"
    - name: a
      host.service.unmask: {member: m1}
      undo: [{host.service.start: {member: m1}}]
    - name: gone
      irreversible: true
      host.service.start: {member: m1}
    - name: b
      host.service.unmask: {member: m2}
";
    let walk = Walk { fails: &["b"], ..Walk::default() }.of(steps);
    assert_eq!(walk, ["a", "gone", "b", "park: step b: no"]);
    let walk = Walk { fails: &["gone"], ..Walk::default() }.of(steps);
    assert_eq!(walk, ["a", "gone", "park: step gone: no"]);
    let names: BTreeSet<String> = Walk::default().of(steps).into_iter().collect();
    assert!(!names.contains("undo a host.service.start"));
}

/// A comparison is made again before what it showed is judged again.
/// Rows: E22.
#[test]
fn a_resumed_run_looks_again_before_it_judges_again() {
    let steps = r"
    - name: gone
      irreversible: true
      host.service.start: {member: m1}
    - name: look
      host.service.unmask: {member: m2}
    - name: judge
      host.service.unmask: {member: m3}
";
    let mut run = begin(&book(steps));
    let walk = Walk { fails: &["judge"], unchanged: &["look"], ..Walk::default() };
    for _ in 0..3 {
        for event in walk.tried(&run, &begins(&run)) {
            apply(&mut run, &event, Time(0)).unwrap();
        }
    }
    let parked = RunEvent::RunParked { why: "no".into(), armed: Vec::new() };
    apply(&mut run, &parked, Time(0)).unwrap();
    let retry = resume::retry(&run);
    let resumed = RunEvent::RunResumed { by: "ann".into(), reason: "looked".into(), retry };
    apply(&mut run, &resumed, Time(0)).unwrap();
    assert_eq!(begins(&run).path.to_string(), "look");
}

/// The one step that can begin.
fn begins(run: &Run) -> At<'_> {
    match next(run, &BTreeSet::new()).into_iter().next() {
        Some(Todo::Begin(at)) => at,
        other => panic!("a step begins, not {other:?}"),
    }
}
