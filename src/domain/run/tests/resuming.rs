//! What a person's `resume` tries again.

use super::{
    at, begin, breaks, does, done, entry_failed, entry_started, failed, frontier, items, journal,
    key, parked, refused, resumed, started, tidies, todos,
};
use crate::domain::run::{
    event::{List, RunEvent},
    resume,
    state::Run,
    todo::Todo,
};

fn retry(run: &Run) -> Vec<String> {
    resume::retry(run).iter().map(ToString::to_string).collect()
}

/// Parks as the run itself says, then goes on.
#[track_caller]
fn parks_and_goes_on(run: &mut Run) -> Vec<String> {
    let todos = todos(run);
    let [Todo::Park(parking)] = &todos[..] else { panic!("it parks, not {todos:?}") };
    let (why, armed) = (parking.why.clone(), parking.armed.clone());
    journal(run, [RunEvent::RunParked { why, armed }]);
    let paths = retry(run);
    let again = resumed(run);
    journal(run, [again]);
    paths
}

const SAVE: &str = "
    - name: save
      on_error: continue
      foreach:
        in: 'params.members'
        as: m
        do:
          - name: scratch
            do.it: {}
            finally: [{do.tidy: {}}]
          - name: snapshot
            do.it: {}
    - name: start
      irreversible: true
      do.it: {}
    - name: after
      do.it: {}
";

/// Rows: E22, E23.
#[test]
fn a_resume_never_goes_back_before_the_point_of_no_return() {
    let mut run = begin(SAVE);
    journal(&mut run, [items("save", &["m1", "m2"])]);
    for m in ["m1", "m2"] {
        does(&mut run, &format!("save[{m}].scratch"), true);
        let snapshot = format!("save[{m}].snapshot");
        if m == "m1" {
            does(&mut run, &snapshot, true);
        } else {
            breaks(&mut run, &snapshot);
        }
        tidies(&mut run, key(&format!("save[{m}].scratch"), List::Finally, 0));
    }
    does(&mut run, "start", true);
    breaks(&mut run, "after");
    let known: Vec<_> = run.steps.keys().cloned().collect();
    assert_eq!(parks_and_goes_on(&mut run), ["after"]);
    assert_eq!(run.steps.keys().cloned().collect::<Vec<_>>(), known);
    assert_eq!(frontier(&run), ["retry after"]);
    // nobody else's list of paths gets past it either
    journal(&mut run, [failed("after", true), parked()]);
    let (by, reason) = ("ann".to_owned(), "looked".to_owned());
    let back = RunEvent::RunResumed { by, reason, retry: vec![at("save[m2]"), at("after")] };
    let why = refused(&mut run, &back).why;
    assert_eq!(why, "save[m2] lies before the point of no return");
}

#[test]
fn a_point_of_no_return_that_failed_is_tried_again_and_nothing_before_it() {
    let mut run = begin(
        "
    - name: look
      do.look: {}
    - name: start
      irreversible: true
      do.it: {}
",
    );
    does(&mut run, "look", false);
    breaks(&mut run, "start");
    assert_eq!(parks_and_goes_on(&mut run), ["start"]);
    assert_eq!(frontier(&run), ["retry start"]);
}

/// Rows: E22.
#[test]
fn what_only_looked_right_before_a_failure_looks_again() {
    let mut run = begin(
        "
    - name: gone
      irreversible: true
      do.it: {}
    - name: first
      do.look: {}
    - name: change
      do.it: {}
    - name: look
      do.look: {}
    - name: judge
      expect: {that: 'true', message: no}
",
    );
    does(&mut run, "gone", true);
    does(&mut run, "first", false);
    does(&mut run, "change", true);
    does(&mut run, "look", false);
    journal(&mut run, [failed("judge", true)]);
    assert_eq!(parks_and_goes_on(&mut run), ["judge", "look"]);
    assert_eq!(frontier(&run), ["begin look"]);
    does(&mut run, "look", false);
    assert_eq!(frontier(&run), ["retry judge"]);
    journal(&mut run, [done("judge", false)]);
    assert_eq!(frontier(&run), ["verify"]);
}

const REJOIN: &str = "
    - name: gone
      irreversible: true
      do.it: {}
    - name: rejoin
      on_error: continue
      foreach:
        in: 'params.members'
        as: m
        do:
          - name: add
            do.it: {}
            finally: [{do.tidy: {}}]
          - name: promote
            do.it: {}
    - name: left_out
      foreach:
        in: 'params.members'
        as: m
        do:
          - name: report
            record: {note: it is left out}
    - name: compare
      do.look: {}
    - name: same
      expect: {that: 'true', message: no}
";

/// `m1` fails at its second step and `m2` joins; then what `same` judges is wrong.
fn one_did_not_join(skips: bool) -> Run {
    let mut run = begin(REJOIN);
    does(&mut run, "gone", true);
    journal(&mut run, [items("rejoin", &["m1", "m2"])]);
    does(&mut run, "rejoin[m1].add", true);
    breaks(&mut run, "rejoin[m1].promote");
    let finalizer = key("rejoin[m1].add", List::Finally, 0);
    if skips {
        let why = "`when` is false".to_owned();
        journal(&mut run, [RunEvent::EntrySkipped { entry: finalizer, why }]);
    } else {
        tidies(&mut run, finalizer);
    }
    does(&mut run, "rejoin[m2].add", true);
    does(&mut run, "rejoin[m2].promote", true);
    tidies(&mut run, key("rejoin[m2].add", List::Finally, 0));
    journal(&mut run, [items("left_out", &["m3"]), done("left_out[m3].report", false)]);
    does(&mut run, "compare", false);
    journal(&mut run, [failed("same", true)]);
    run
}

/// Rows: E6.
#[test]
fn an_iteration_that_was_cleaned_up_begins_anew_and_what_looked_after_it_looks_again() {
    let mut run = one_did_not_join(false);
    let paths = parks_and_goes_on(&mut run);
    assert_eq!(paths, ["compare", "left_out", "rejoin[m1]", "same"]);
    assert_eq!(frontier(&run), ["begin rejoin[m1].add"]);
    assert!(run.step("rejoin[m2].add").is_some());
    does(&mut run, "rejoin[m1].add", true);
    does(&mut run, "rejoin[m1].promote", true);
    tidies(&mut run, key("rejoin[m1].add", List::Finally, 0));
    assert_eq!(frontier(&run), ["expand left_out"], "who is left out is told anew");
}

/// A finalizer that found nothing to clean up shows that the member joined after all.
/// Rows: A22, A24, E6.
#[test]
fn an_iteration_that_needed_no_cleaning_goes_on_where_it_failed() {
    let mut run = one_did_not_join(true);
    let paths = parks_and_goes_on(&mut run);
    let expected = ["compare", "left_out", "rejoin[m1].add", "rejoin[m1].promote", "same"];
    assert_eq!(paths, expected);
    assert_eq!(frontier(&run), ["retry rejoin[m1].promote"]);
    does(&mut run, "rejoin[m1].promote", true);
    assert_eq!(frontier(&run), ["finally rejoin[m1].add 0"], "its finalizers are armed again");
}

/// The order of a repair is not turned round: what changed something since stands in the way.
#[test]
fn what_was_gone_past_is_not_tried_again_after_something_changed() {
    let steps = format!(
        "{REJOIN}    - name: change\n      do.it: {{}}\n    - name: last\n      do.it: {{}}\n"
    );
    let mut run = begin(&steps);
    does(&mut run, "gone", true);
    journal(&mut run, [items("rejoin", &["m1"])]);
    does(&mut run, "rejoin[m1].add", true);
    breaks(&mut run, "rejoin[m1].promote");
    tidies(&mut run, key("rejoin[m1].add", List::Finally, 0));
    journal(&mut run, [items("left_out", &[])]);
    does(&mut run, "compare", false);
    journal(&mut run, [done("same", false)]);
    does(&mut run, "change", true);
    breaks(&mut run, "last");
    assert_eq!(parks_and_goes_on(&mut run), ["last"]);
    assert_eq!(frontier(&run), ["retry last"]);
}

/// A look that was cut off and made again found no traces of itself.
/// Rows: E22.
#[test]
fn a_look_that_was_cut_off_stands_in_the_way_of_nothing() {
    let mut run = begin(REJOIN);
    does(&mut run, "gone", true);
    journal(&mut run, [items("rejoin", &["m1"])]);
    does(&mut run, "rejoin[m1].add", true);
    breaks(&mut run, "rejoin[m1].promote");
    tidies(&mut run, key("rejoin[m1].add", List::Finally, 0));
    journal(&mut run, [items("left_out", &[])]);
    let cut_off = started(&run, "compare");
    journal(&mut run, [cut_off, failed("compare", false)]);
    does(&mut run, "compare", false);
    journal(&mut run, [failed("same", true)]);
    let paths = parks_and_goes_on(&mut run);
    assert!(paths.iter().any(|path| path.starts_with("rejoin[m1]")), "{paths:?}");
}

#[test]
fn where_verify_failed_the_items_that_were_gone_past_are_tried_again() {
    let mut run = one_did_not_join(false);
    let again = [done("same", false)];
    journal(&mut run, [parked()]);
    let retry = vec![at("same")];
    let resumed = RunEvent::RunResumed { by: "ann".into(), reason: "looked".into(), retry };
    journal(&mut run, [resumed]);
    journal(&mut run, again);
    journal(&mut run, [RunEvent::VerifyFailed { failure: super::failure() }]);
    let paths = parks_and_goes_on(&mut run);
    assert_eq!(paths, ["compare", "left_out", "rejoin[m1]", "same"]);
}

/// Rows: A6.
#[test]
fn a_finalizer_that_failed_is_tried_again_and_its_step_is_not() {
    let mut run = begin(SAVE);
    journal(&mut run, [items("save", &["m1", "m2"])]);
    does(&mut run, "save[m1].scratch", true);
    breaks(&mut run, "save[m1].snapshot");
    let finalizer = key("save[m1].scratch", List::Finally, 0);
    let start = entry_started(&run, finalizer.clone());
    journal(&mut run, [start, entry_failed(finalizer, true)]);
    assert_eq!(parks_and_goes_on(&mut run), ["save[m1].scratch"]);
    assert_eq!(frontier(&run), ["finally save[m1].scratch 0"]);
    let stage = |run: &Run, path: &str| run.step(path).unwrap().stage.label();
    assert_eq!(stage(&run, "save[m1].scratch"), "done");
    assert_eq!(stage(&run, "save[m1].snapshot"), "failed for good");
}

/// A question that was answered is not asked again.
#[test]
fn a_question_before_a_failure_is_not_asked_again() {
    let mut run = begin(
        "
    - name: gone
      irreversible: true
      do.it: {}
    - name: look
      do.look: {}
    - name: ask
      approve: {show: [evidence]}
    - name: judge
      expect: {that: 'true', message: no}
",
    );
    does(&mut run, "gone", true);
    does(&mut run, "look", false);
    journal(&mut run, [super::asked("ask"), super::approved(), done("ask", false)]);
    journal(&mut run, [failed("judge", true)]);
    assert_eq!(parks_and_goes_on(&mut run), ["judge"]);
}

#[test]
fn a_failure_in_one_item_tries_that_item_again_and_no_other() {
    let mut run = begin(
        "
    - name: gone
      irreversible: true
      do.it: {}
    - name: outer
      foreach:
        in: 'params.members'
        as: m
        do:
          - name: inner
            on_error: continue
            foreach:
              in: 'params.members'
              as: n
              do:
                - name: a
                  do.it: {}
          - name: b
            do.it: {}
",
    );
    does(&mut run, "gone", true);
    journal(&mut run, [items("outer", &["m1", "m2"])]);
    for m in ["m1", "m2"] {
        journal(&mut run, [items(&format!("outer[{m}].inner"), &["n1"])]);
        breaks(&mut run, &format!("outer[{m}].inner[n1].a"));
        if m == "m1" {
            does(&mut run, "outer[m1].b", true);
        }
    }
    let start = started(&run, "outer[m2].b");
    journal(&mut run, [start, failed("outer[m2].b", true)]);
    let paths = parks_and_goes_on(&mut run);
    assert_eq!(paths, ["outer[m2].b", "outer[m2].inner[n1].a"]);
}
