//! Every record on every state, as a table: what follows, or why it is refused.

use std::collections::BTreeMap;

use super::{
    approved, asked, at, begin_with, breaks, called, denied, disproved, does, done, doubted,
    entry_done, entry_failed, entry_started, failed, failure, frontier, items, journal, key,
    parked, started, unwind,
};
use crate::domain::{
    base::time::Time,
    run::{
        apply::apply,
        event::{List, Outcome, RunEvent},
        state::Run,
    },
};

const STEPS: &str = "
    - name: a
      when: 'true'
      do.it: {}
      retry: {attempts: 2, delay: 1s}
      undo: [{do.back: {}}]
      finally: [{do.tidy: {}}]
    - name: each
      foreach: {in: 'params.members', as: m, until: 'true', do: [{name: in, do.it: {}}]}
    - name: fix
      call: {playbook: part0}
    - name: ask
      approve: {show: [evidence]}
    - name: gone
      irreversible: true
      do.it: {}
    - name: wait
      wait: {until: 'true', timeout: 5s}
";
const PART: &str = "    - {name: b, do.it: {}}\n";

fn undo() -> super::EntryKey {
    key("a", List::Undo, 0)
}

fn finalizer() -> super::EntryKey {
    key("a", List::Finally, 0)
}

/// One run for each state that decides what may follow.
fn states() -> Vec<(&'static str, Run)> {
    let fresh = begin_with(STEPS, PART);
    let after = |run: &Run, events: Vec<RunEvent>| {
        let mut run = run.clone();
        journal(&mut run, events);
        run
    };
    let start_a = started(&fresh, "a");
    let a_started = after(&fresh, vec![start_a]);
    let a_done = after(&a_started, vec![done("a", true)]);
    let a_failed = after(&a_started, vec![failed("a", true)]);
    let loop_open = after(&a_done, vec![items("each", &["m1", "m2"])]);
    let mut in_iteration = loop_open.clone();
    does(&mut in_iteration, "each[m1].in", true);
    let call_open = after(&in_iteration, vec![stopped(), called("fix")]);
    let mut called_done = call_open.clone();
    does(&mut called_done, "fix.b", true);
    let called_done = after(&called_done, vec![done("fix.verify", false)]);
    let asking = after(&called_done, vec![asked("ask")]);
    let answered = after(&asking, vec![approved()]);
    let mut past = after(&answered, vec![done("ask", false)]);
    let start_gone = started(&past, "gone");
    let gone_started = after(&past, vec![start_gone]);
    does(&mut past, "gone", true);
    let all_done = after(&past, vec![done("wait", false)]);
    let mut back = a_done.clone();
    journal(&mut back, [items("each", &["m1"])]);
    breaks(&mut back, "each[m1].in");
    let back = after(&back, vec![unwind(Outcome::Undone, true)]);
    let asked_back = after(&back, vec![failed("each[m1].in", true)]);
    let undo_started = after(&asked_back, vec![entry_started(&asked_back, undo())]);
    let undone = after(&undo_started, vec![entry_done(undo())]);
    let all_back =
        after(&undone, vec![entry_started(&undone, finalizer()), entry_done(finalizer())]);
    let verified = after(&all_done, vec![RunEvent::Verified]);
    let finished = RunEvent::RunFinished { outcome: Outcome::Undone, failure: None };
    vec![
        ("fresh", fresh.clone()),
        ("a started", a_started.clone()),
        ("a failed, to be tried again", after(&a_started, vec![failed("a", false)])),
        ("a failed before it started", after(&fresh, vec![failed("a", false)])),
        ("a failed for good", a_failed),
        ("a doubted", after(&a_started, vec![doubted("a")])),
        ("a disproved", after(&a_started, vec![disproved("a")])),
        ("a skipped", after(&fresh, vec![RunEvent::StepSkipped { step: at("a") }])),
        ("a done", a_done),
        ("loop open", loop_open),
        ("in an iteration", in_iteration),
        ("call open", call_open),
        ("asking", asking.clone()),
        ("answered yes", answered),
        ("answered no", after(&asking, vec![denied()])),
        ("point of no return started", gone_started.clone()),
        ("point of no return doubted", after(&gone_started, vec![doubted("gone")])),
        ("past the return", past),
        ("all done", all_done.clone()),
        ("verified", verified),
        ("verify failed", after(&all_done, vec![unverified()])),
        ("on the way back", back),
        ("on the way back, all asked", asked_back.clone()),
        ("undo started", undo_started.clone()),
        ("undo failed, to be tried again", after(&undo_started, vec![entry_failed(undo(), false)])),
        ("undo failed for good", after(&undo_started, vec![entry_failed(undo(), true)])),
        ("undo doubted", after(&asked_back, vec![entry_doubted()])),
        ("undo done", undone),
        ("all taken back", all_back.clone()),
        ("parked", after(&all_done, vec![unverified(), parked()])),
        ("parked on the way back", after(&asked_back, vec![entry_doubted(), parked()])),
        ("finished", after(&all_back, vec![finished])),
    ]
}

fn unverified() -> RunEvent {
    RunEvent::VerifyFailed { failure: failure() }
}

fn stopped() -> RunEvent {
    RunEvent::ForeachStopped { step: at("each"), item: "m2".into() }
}

fn entry_doubted() -> RunEvent {
    RunEvent::EntryDoubted { entry: undo(), why: "it is silent".into() }
}

/// One record of each kind; those about steps on the steps that tell most.
fn records(run: &Run) -> Vec<(String, RunEvent)> {
    let started = |path: &str| started(run, path);
    let skipped = |path: &str| RunEvent::StepSkipped { step: at(path) };
    let entry_skipped = |entry| RunEvent::EntrySkipped { entry, why: "`when` is false".to_owned() };
    let finished = |outcome| RunEvent::RunFinished { outcome, failure: None };
    let retry = Vec::new();
    let resumed = RunEvent::RunResumed { by: "ann".into(), reason: "looked".into(), retry };
    let mut again = started("a");
    if let RunEvent::StepStarted { attempt, .. } = &mut again {
        *attempt += 1;
    }
    let plan = run.plan.clone();
    let begun = RunEvent::RunStarted { incident: None, plan, mode: run.mode, by: "x".into() };
    let about: Vec<(&str, RunEvent)> = vec![
        ("", begun),
        ("a", started("a")),
        ("a with the wrong try", again),
        ("a, done", done("a", true)),
        ("a, last", failed("a", true)),
        ("a, not last", failed("a", false)),
        ("a", disproved("a")),
        ("a", doubted("a")),
        ("a", skipped("a")),
        ("each", items("each", &["m1"])),
        ("fix, which is no loop", items("fix", &["m1"])),
        ("each", stopped()),
        ("each[m1].in", started("each[m1].in")),
        ("each[m9].in", skipped("each[m9].in")),
        ("each, itself", done("each", true)),
        ("fix", called("fix")),
        ("fix.b", started("fix.b")),
        ("gone", started("gone")),
        ("gone", disproved("gone")),
        ("wait, without a start", done("wait", false)),
        ("gone, without a start", done("gone", true)),
        ("wait", started("wait")),
        ("ask", asked("ask")),
        ("", approved()),
        ("", denied()),
        ("a", entry_started(run, undo())),
        ("a", entry_done(undo())),
        ("a", entry_skipped(undo())),
        ("a, last", entry_failed(undo(), true)),
        ("a, not last", entry_failed(undo(), false)),
        ("a", entry_doubted()),
        ("a", entry_started(run, finalizer())),
        ("a", entry_done(finalizer())),
        ("a, of which there is no second", entry_started(run, key("a", List::Finally, 1))),
        ("with undo", unwind(Outcome::Cancelled, true)),
        ("without undo", unwind(Outcome::Parked, false)),
        ("", parked()),
        ("", resumed),
        ("", RunEvent::Verified),
        ("", unverified()),
        ("succeeded", finished(Outcome::Succeeded)),
        ("undone", finished(Outcome::Undone)),
    ];
    let named = about.into_iter().map(|(what, event)| (format!("{} {what}", event.kind()), event));
    named.map(|(name, event)| (name.trim_end().to_owned(), event)).collect()
}

/// Where a run is and what it does next, in a few words.
fn place(run: &Run) -> String {
    let next = frontier(run);
    let next = if next.is_empty() { "rest".to_owned() } else { next.join(" | ") };
    format!("{}: {next}", run.state())
}

/// Rows: E22, E23.
#[test]
fn every_record_on_every_state_is_legal_or_refused() {
    let mut table = Vec::new();
    for (name, run) in states() {
        table.push(format!("## {name} ({})", place(&run)));
        let mut refused: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (record, event) in records(&run) {
            let mut next = run.clone();
            match apply(&mut next, &event, Time(1)) {
                Ok(()) => table.push(format!("  {record} -> {}", place(&next))),
                Err(illegal) => {
                    assert_eq!(next, run, "what is refused changes nothing");
                    refused.entry(illegal.why).or_default().push(record);
                }
            }
        }
        for (why, records) in refused {
            table.push(format!("  no: {why}: {}", records.join(", ")));
        }
        table.push(String::new());
    }
    insta::assert_snapshot!(table.join("\n"));
}
