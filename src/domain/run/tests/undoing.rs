//! What cannot be told or cleaned up: the run parks, and says so until that is journalled.

use super::{
    Driver, at, begin, breaks, denied, does, doubted, entry_failed, entry_started, failed,
    frontier, journal, key, parked, refused, resumed, started, todos, unwind,
};
use crate::domain::{
    base::time::Time,
    run::{
        apply::apply,
        event::{List, Outcome, RunEvent},
        state::Stage,
        todo::Todo,
    },
};

const ONE: &str = "
    - name: a
      do.it: {}
      undo: [{do.back: {}}]
      finally: [{do.tidy: {}}]
    - name: b
      do.it: {}
";

/// A kill or a failed commit between the two records changes nothing about it.
/// Rows: A6, E8, E22.
#[test]
fn a_failed_finalizer_parks_until_that_is_journalled() {
    let mut run = begin(ONE);
    does(&mut run, "a", true);
    does(&mut run, "b", true);
    journal(&mut run, [RunEvent::Verified]);
    let finalizer = key("a", List::Finally, 0);
    let start = entry_started(&run, finalizer.clone());
    journal(&mut run, [start, entry_failed(finalizer.clone(), true)]);
    for _ in 0..3 {
        assert_eq!(frontier(&run), ["park: cleaning up after step a failed: no"]);
    }
    let well = RunEvent::RunFinished { outcome: Outcome::Succeeded, failure: None };
    assert_eq!(refused(&mut run, &well).why, "something is left to do");
    let [Todo::Park(parking)] = &todos(&run)[..] else { panic!("it parks") };
    assert_eq!(parking.armed, ["a: finally do.tidy", "a: undo do.back"]);
    let park = RunEvent::RunParked { why: parking.why.clone(), armed: parking.armed.clone() };
    journal(&mut run, [park]);
    assert!(frontier(&run).is_empty(), "a parked run rests");
    let again = resumed(&run);
    journal(&mut run, [again]);
    assert_eq!(frontier(&run), ["finally a 0"]);
}

/// Rows: A5, E22.
#[test]
fn a_step_of_which_nobody_can_tell_parks_and_is_asked_again() {
    let mut run = begin(ONE);
    let start = started(&run, "a");
    journal(&mut run, [start]);
    assert_eq!(frontier(&run), ["? a"]);
    journal(&mut run, [doubted("a")]);
    let parks = "park: step a was started and nobody knows whether it took effect: it does not \
                 answer";
    assert_eq!(frontier(&run), [parks]);
    journal(&mut run, [parked()]);
    let again = resumed(&run);
    journal(&mut run, [again]);
    assert_eq!(frontier(&run), ["? a"]);
    // given up, it is asked once more, and taken back if that tells nothing
    journal(&mut run, [doubted("a"), parked(), unwind(Outcome::Parked, true)]);
    assert_eq!(frontier(&run), ["? a"]);
    journal(&mut run, [doubted("a")]);
    assert_eq!(frontier(&run), ["undo a 0"]);
}

/// An effect that could not be ended at its limit may still be going on.
/// Rows: A5, A6.
#[test]
fn what_may_still_be_going_on_is_not_taken_back() {
    let mut run = begin(ONE);
    does(&mut run, "a", true);
    let start = started(&run, "b");
    journal(&mut run, [start, unwind(Outcome::Cancelled, true), doubted("b")]);
    assert!(frontier(&run)[0].starts_with("park: step b was started"), "{:?}", frontier(&run));
    journal(&mut run, [parked()]);
    let again = resumed(&run);
    journal(&mut run, [again]);
    assert_eq!(frontier(&run), ["? b"]);
    journal(&mut run, [super::disproved("b")]);
    assert_eq!(frontier(&run), ["undo a 0"]);
}

/// A finalizer of one item is under way when the run turns back.
#[test]
fn what_is_under_way_comes_to_its_result_before_a_run_parks_on_its_way_back() {
    let mut run = begin(
        "
    - name: each
      foreach:
        in: 'params.members'
        as: m
        mode: {parallel: 2}
        do:
          - name: a
            do.it: {}
            finally: [{do.tidy: {}}]
",
    );
    journal(&mut run, [super::items("each", &["m1", "m2"])]);
    does(&mut run, "each[m1].a", true);
    let finalizer = key("each[m1].a", List::Finally, 0);
    let start = entry_started(&run, finalizer.clone());
    let other = started(&run, "each[m2].a");
    journal(&mut run, [start, other, unwind(Outcome::Cancelled, true)]);
    assert_eq!(frontier(&run), ["? finally each[m1].a 0", "? each[m2].a"]);
    journal(&mut run, [doubted("each[m2].a")]);
    assert_eq!(frontier(&run), ["? finally each[m1].a 0"]);
    journal(&mut run, [super::entry_done(finalizer)]);
    assert!(frontier(&run)[0].starts_with("park: step each[m2].a was started"));
}

/// Rows: A5, A6.
#[test]
fn an_undo_that_cannot_be_told_parks_and_is_never_called_done() {
    let mut run = begin(ONE);
    does(&mut run, "a", true);
    breaks(&mut run, "b");
    journal(&mut run, [unwind(Outcome::Undone, true), failed("b", true)]);
    assert_eq!(frontier(&run), ["undo a 0"]);
    let undo = key("a", List::Undo, 0);
    let doubt = RunEvent::EntryDoubted { entry: undo.clone(), why: "m3 is silent".into() };
    journal(&mut run, [doubt.clone()]);
    assert_eq!(frontier(&run), ["park: what step a did is not taken back: m3 is silent"]);
    let undone = RunEvent::RunFinished { outcome: Outcome::Undone, failure: None };
    refused(&mut run, &undone);
    journal(&mut run, [parked()]);
    let again = resumed(&run);
    journal(&mut run, [again]);
    assert_eq!(frontier(&run), ["undo a 0"]);
    // who gives up has looked: the rest is cleaned up, and the run says that it failed
    journal(&mut run, [doubt, parked(), unwind(Outcome::Parked, true)]);
    let end = Driver::default().trace(&mut run);
    assert_eq!(end, ["finally a 0", "finish failed"]);
}

/// Rows: E23.
#[test]
fn only_a_finding_disproves_a_point_of_no_return() {
    let steps = format!("{ONE}    - name: gone\n      irreversible: true\n      do.it: {{}}\n");
    let mut run = begin(&steps);
    does(&mut run, "a", true);
    does(&mut run, "b", true);
    let start = started(&run, "gone");
    journal(&mut run, [start]);
    assert_eq!(run.past_return, Some(at("gone")));
    let undo = unwind(Outcome::Cancelled, true);
    assert_eq!(refused(&mut run, &undo).why, "the point of no return is passed");
    let nothing = RunEvent::StepDisproved { step: at("gone"), finding: " ".into() };
    let why = refused(&mut run, &nothing).why;
    assert_eq!(why, "a point of no return is disproved by a finding");
    let mut doubts = run.clone();
    journal(&mut doubts, [doubted("gone")]);
    assert!(frontier(&doubts)[0].starts_with("park: step gone was started"));
    journal(&mut run, [super::disproved("gone")]);
    assert_eq!((run.past_return.clone(), frontier(&run)), (None, vec!["begin gone".to_owned()]));
    journal(&mut run, [undo]);
    assert_eq!(frontier(&run), ["undo a 0"], "what was disproved needs no undo");
}

#[test]
fn what_fails_before_it_is_started_is_a_try_without_traces() {
    let steps =
        ONE.replacen("do.it: {}\n", "do.it: {}\n      retry: {attempts: 3, delay: 1s}\n", 1);
    let mut run = begin(&steps);
    journal(&mut run, [failed("a", false)]);
    assert_eq!((frontier(&run), run.step("a").unwrap().attempts), (vec!["retry a".into()], 1));
    let start = started(&run, "a");
    assert!(matches!(start, RunEvent::StepStarted { attempt: 2, .. }));
    let mut unstarted = run.clone();
    journal(&mut unstarted, [failed("a", true)]);
    let end = Driver::default().trace(&mut unstarted);
    assert_eq!(end, ["unwind undone: step a: no", "finish undone"], "nothing to ask or take back");
    journal(&mut run, [start, failed("a", false)]);
    assert_eq!(run.step("a").unwrap().next_try(), 3);
    journal(&mut run, [failed("a", true)]);
    let end = Driver::default().trace(&mut run);
    assert_eq!(end[..3], ["unwind undone: step a: no", "? a", "undo a 0"], "the second try began");
}

#[test]
fn an_entry_has_tries_of_its_own() {
    let steps = ONE
        .replace("undo: [{do.back: {}}]", "undo: [{do.back: {}, retry: {attempts: 3, delay: 5s}}]");
    let mut run = begin(&steps);
    does(&mut run, "a", true);
    breaks(&mut run, "b");
    journal(&mut run, [unwind(Outcome::Undone, true), failed("b", true)]);
    let undo = key("a", List::Undo, 0);
    let start = entry_started(&run, undo.clone());
    apply(&mut run, &start, Time(1000)).unwrap();
    apply(&mut run, &entry_failed(undo.clone(), false), Time(2000)).unwrap();
    let found = todos(&run);
    assert!(matches!(&found[..], [Todo::RetryEntry(_, _, _, Time(7000))]), "{found:?}");
    journal(&mut run, [entry_failed(undo.clone(), false)]);
    assert_eq!(run.entries[&undo].next_try(), 3, "one that failed before it began counts, too");
    let start = entry_started(&run, undo.clone());
    journal(&mut run, [start, super::entry_done(undo.clone())]);
    assert!(matches!(run.entries[&undo].stage, Stage::Done { .. }));
}

#[test]
fn a_no_goes_back_and_after_the_return_it_parks() {
    let ask = "    - name: ask\n      approve: {show: [evidence]}\n";
    let mut run = begin(&format!("{ask}{ONE}"));
    journal(&mut run, [super::asked("ask"), denied()]);
    assert_eq!(frontier(&run), ["unwind undone: denied by ann: no"]);
    let gone = "    - name: gone\n      irreversible: true\n      do.it: {}\n";
    let mut run = begin(&format!("{gone}{ask}{ONE}"));
    does(&mut run, "gone", true);
    journal(&mut run, [super::asked("ask"), denied()]);
    assert_eq!(frontier(&run), ["park: denied by ann: no"]);
    journal(&mut run, [parked()]);
    let again = resumed(&run);
    journal(&mut run, [again]);
    assert_eq!(frontier(&run), ["begin ask"], "it may be asked anew");
    journal(&mut run, [super::asked("ask"), super::approved()]);
    assert_eq!(frontier(&run), ["begin ask"]);
    // a question that lapses is a step that failed
    let mut run = begin(&format!("{ask}{ONE}"));
    journal(&mut run, [super::asked("ask")]);
    assert_eq!((frontier(&run), run.is_asking()), (vec!["await ask".to_owned()], true));
    journal(&mut run, [failed("ask", true)]);
    assert_eq!(frontier(&run), ["unwind undone: step ask: no"]);
    assert!(!run.is_asking());
}

#[test]
fn what_verify_found_wrong_goes_back_or_parks() {
    let failed = || RunEvent::VerifyFailed { failure: super::failure() };
    let mut run = begin(ONE);
    does(&mut run, "a", true);
    does(&mut run, "b", true);
    assert_eq!(frontier(&run), ["verify"]);
    journal(&mut run, [failed()]);
    assert_eq!(frontier(&run), ["unwind undone: no"]);
    let gone = "    - name: gone\n      irreversible: true\n      do.it: {}\n";
    let mut run = begin(gone);
    does(&mut run, "gone", true);
    journal(&mut run, [failed()]);
    assert_eq!(frontier(&run), ["park: no"]);
    journal(&mut run, [parked()]);
    let again = resumed(&run);
    journal(&mut run, [again]);
    assert_eq!(frontier(&run), ["verify"]);
}
