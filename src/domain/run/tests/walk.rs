//! The order of things in a run, as tables.

use super::{
    Driver, at, begin, begin_with, called, does, failed, frontier, items, journal, started,
};
use crate::domain::run::{event::RunEvent, plan::ITEMS_MAX, state::Stage};

const TWO: &str = "
    - name: a
      do.it: {}
      undo: [{do.back: {}}, {do.tidy: {}}]
      finally: [{do.tidy: {}}]
    - name: b
      do.it: {}
      undo: [{do.back: {}}]
      finally: [{do.tidy: {}}]
    - name: c
      do.it: {}
";

/// Rows: A1, A2, A3, A6.
#[test]
fn undo_goes_backwards_over_what_was_done_and_finalizers_come_last() {
    let well = Driver::default().trace(&mut begin(TWO));
    let end = ["verify", "finally b 0", "finally a 0", "finish succeeded"];
    assert_eq!(well, [&["begin a", "begin b", "begin c"][..], &end[..]].concat());
    let walk = Driver { fails: &["c"], ..Driver::default() }.trace(&mut begin(TWO));
    let back = [
        "begin a",
        "begin b",
        "begin c",
        "unwind undone: step c: no",
        "? c",
        "undo b 0",
        "undo a 0",
        "undo a 1",
        "finally b 0",
        "finally a 0",
        "finish undone",
    ];
    assert_eq!(walk, back);
}

/// Rows: A6.
#[test]
fn a_failed_entry_ends_its_list_and_parks_at_the_end() {
    let walk = Driver { fails: &["c", "undo a 0"], ..Driver::default() }.trace(&mut begin(TWO));
    let after: Vec<_> = walk.iter().skip_while(|line| *line != "? c").map(String::as_str).collect();
    let expected = ["? c", "undo b 0", "undo a 0", "finally b 0", "finally a 0"];
    assert_eq!(after[..expected.len()], expected);
    let last = after.last().unwrap();
    assert!(last.starts_with("park") && last.contains("cleaning up after step a"), "{last}");
}

/// What stands there still is not taken away from under it, and a person is asked.
#[test]
fn a_failed_undo_holds_back_what_came_before_it() {
    let walk = Driver { fails: &["c", "undo b 0"], ..Driver::default() }.trace(&mut begin(TWO));
    let after: Vec<_> = walk.iter().skip_while(|line| *line != "? c").map(String::as_str).collect();
    assert_eq!(after[..4], ["? c", "undo b 0", "finally b 0", "finally a 0"]);
    assert!(after.last().unwrap().contains("cleaning up after step b"), "{after:?}");
}

/// Rows: A4.
#[test]
fn what_found_nothing_to_do_is_neither_undone_nor_finalized() {
    let driver = Driver { fails: &["c"], unchanged: &["b"], ..Driver::default() };
    let walk = driver.trace(&mut begin(TWO));
    assert!(walk.iter().all(|line| !line.contains(" b ")), "{walk:?}");
    assert!(walk.contains(&"undo a 1".to_owned()));
}

/// Rows: E22.
#[test]
fn a_later_try_that_finds_nothing_to_do_found_the_traces_of_the_first() {
    let mut run = begin(TWO);
    let start = started(&run, "a");
    journal(&mut run, [start, failed("a", false)]);
    assert_eq!(frontier(&run), ["retry a"]);
    does(&mut run, "a", false);
    let stage = &run.step("a").unwrap().stage;
    assert!(matches!(stage, Stage::Done { changed: true, .. }), "{stage:?}");
}

const LOOP: &str = "
    - name: each
      on_error: continue
      foreach:
        in: 'params.members'
        as: m
        do:
          - name: in
            do.it: {}
            undo: [{do.back: {}}]
            finally: [{do.tidy: {}}]
          - name: on
            do.it: {}
    - name: last
      do.it: {}
";

#[test]
fn an_iteration_s_finalizers_run_when_it_ends_well_or_not() {
    let well = [
        "expand each",
        "begin each[m1].in",
        "begin each[m1].on",
        "finally each[m1].in 0",
        "begin each[m2].in",
        "begin each[m2].on",
        "finally each[m2].in 0",
        "begin last",
        "verify",
        "finish succeeded",
    ];
    assert_eq!(Driver::default().trace(&mut begin(LOOP)), well);
    // with `continue` a failed item is left where it failed, and the others go on
    let driver = Driver { fails: &["each[m1].on"], ..Driver::default() };
    assert_eq!(driver.trace(&mut begin(LOOP)), well);
}

#[test]
fn a_failing_item_ends_the_run_and_iterations_unwind_in_reverse() {
    let steps = LOOP.replace("      on_error: continue\n", "");
    let driver = Driver { fails: &["each[m2].on"], ..Driver::default() };
    let walk = driver.trace(&mut begin(&steps));
    let expected = [
        "begin each[m2].on",
        "unwind undone: step each[m2].on: no",
        "? each[m2].on",
        "finally each[m2].in 0",
        "undo each[m2].in 0",
        "undo each[m1].in 0",
        "finish undone",
    ];
    assert_eq!(walk[walk.len() - expected.len()..], expected);
}

#[test]
fn until_is_asked_before_every_item_but_the_first() {
    let until = "        as: m\n        until: 'size(params.members) == 1'\n";
    let steps = LOOP.replace("        as: m\n", until);
    let driver = Driver { stops: &["m1", "m2"], ..Driver::default() };
    let expected = [
        "expand each",
        "begin each[m1].in",
        "begin each[m1].on",
        "finally each[m1].in 0",
        "until each[m2]",
        "begin last",
        "verify",
        "finish succeeded",
    ];
    assert_eq!(driver.trace(&mut begin(&steps)), expected);
    let goes_on = Driver::default().trace(&mut begin(&steps));
    assert!(goes_on.contains(&"begin each[m2].in".to_owned()), "{goes_on:?}");
}

#[test]
fn tries_are_bounded_and_each_is_a_try_of_the_same_step() {
    let steps = "
    - name: a
      do.it: {}
      retry: {attempts: 3, delay: 1s}
";
    let walk = Driver { fails: &["a"], ..Driver::default() }.trace(&mut begin(steps));
    let expected = ["begin a", "retry a", "retry a", "unwind undone: step a: no", "? a"];
    assert_eq!(walk[..5], expected);
}

/// Rows: E23.
#[test]
fn after_the_point_of_no_return_a_failure_parks() {
    let steps = "
    - name: a
      do.it: {}
      undo: [{do.back: {}}]
    - name: gone
      irreversible: true
      do.it: {}
    - name: b
      do.it: {}
";
    let walk = Driver { fails: &["b"], ..Driver::default() }.trace(&mut begin(steps));
    assert_eq!(walk, ["begin a", "begin gone", "begin b", "park: step b: no"]);
    let walk = Driver { fails: &["gone"], ..Driver::default() }.trace(&mut begin(steps));
    assert_eq!(walk, ["begin a", "begin gone", "park: step gone: no"]);
    let well = Driver::default().trace(&mut begin(steps));
    assert!(!well.contains(&"undo a 0".to_owned()));
}

/// A loop over `items` that works on two at once.
fn two_at_once() -> String {
    LOOP.replace("        as: m\n", "        as: m\n        mode: {parallel: 2}\n")
        .replace("      on_error: continue\n", "")
}

#[test]
fn a_parallel_loop_has_several_things_to_do_and_never_too_many() {
    let mut run = begin(&two_at_once());
    journal(&mut run, [items("each", &["m1", "m2", "m3"])]);
    assert_eq!(frontier(&run), ["begin each[m1].in", "begin each[m2].in"]);
    does(&mut run, "each[m2].in", true);
    assert_eq!(frontier(&run), ["begin each[m1].in", "begin each[m2].on"]);
    let start = started(&run, "each[m1].in");
    journal(&mut run, [start]);
    assert_eq!(frontier(&run), ["? each[m1].in", "begin each[m2].on"]);
    does(&mut run, "each[m2].on", true);
    // its scope ends with its own finalizers, whatever the others do
    assert_eq!(frontier(&run), ["? each[m1].in", "finally each[m2].in 0"]);
    super::tidies(&mut run, super::key("each[m2].in", super::List::Finally, 0));
    assert_eq!(frontier(&run), ["? each[m1].in", "begin each[m3].in"]);
}

#[test]
fn a_loop_over_more_than_anybody_can_follow_is_refused() {
    let mut run = begin(LOOP);
    let names: Vec<String> = (0..=ITEMS_MAX).map(|n| format!("n{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let why = super::refused(&mut run, &items("each", &names)).why;
    assert_eq!(why, "it has too many items");
    journal(&mut run, [items("each", &names[1..])]);
}

#[test]
fn a_failed_item_begins_nothing_more_and_waits_for_what_is_under_way() {
    let mut run = begin(&two_at_once());
    journal(&mut run, [items("each", &["m1", "m2", "m3"])]);
    does(&mut run, "each[m1].in", true);
    does(&mut run, "each[m2].in", true);
    let start = started(&run, "each[m1].on");
    journal(&mut run, [start]);
    let start = started(&run, "each[m2].on");
    journal(&mut run, [start, failed("each[m2].on", true)]);
    assert_eq!(frontier(&run), ["? each[m1].on"]);
    journal(&mut run, [super::done("each[m1].on", true)]);
    let walk = Driver { fails: &[], ..Driver::default() }.trace(&mut run);
    let expected = [
        "unwind undone: step each[m2].on: no",
        "? each[m2].on",
        // backwards over the order in which they started, across the items
        "finally each[m2].in 0",
        "finally each[m1].in 0",
        "undo each[m2].in 0",
        "undo each[m1].in 0",
        "finish undone",
    ];
    assert_eq!(walk, expected);
}

#[test]
fn a_parallel_loop_asks_until_before_each_item_it_begins() {
    let until =
        "        as: m\n        mode: {parallel: 2}\n        until: 'size(params.members) == 1'\n";
    let mut run = begin(&LOOP.replace("        as: m\n", until));
    journal(&mut run, [items("each", &["m1", "m2", "m3"])]);
    assert_eq!(frontier(&run), ["begin each[m1].in"]);
    let start = started(&run, "each[m1].in");
    journal(&mut run, [start]);
    assert_eq!(frontier(&run), ["? each[m1].in", "until each[m2]"]);
    journal(&mut run, [RunEvent::ForeachStopped { step: at("each"), item: "m2".into() }]);
    assert_eq!(frontier(&run), ["? each[m1].in"]);
}

/// A loop in a loop; a failure in the inner one ends the outer item.
const NESTED: &str = "
    - name: outer
      on_error: continue
      foreach:
        in: 'params.members'
        as: m
        do:
          - name: a
            do.it: {}
            finally: [{do.tidy: {}}]
          - name: inner
            foreach:
              in: 'params.members'
              as: n
              mode: {parallel: 2}
              do:
                - name: b
                  do.it: {}
                  finally: [{do.tidy: {}}]
                - name: c
                  do.it: {}
    - name: last
      do.it: {}
";

/// Rows: A6, E8.
#[test]
fn what_a_failure_leaves_open_inside_is_finalized_with_what_it_ends() {
    let driver =
        Driver { fails: &["outer[m1].inner[m2].c"], items: &["m1", "m2"], ..Driver::default() };
    let walk = driver.trace(&mut begin(NESTED));
    let at = walk.iter().position(|line| line == "begin outer[m1].inner[m2].c").unwrap();
    let expected =
        ["finally outer[m1].inner[m2].b 0", "finally outer[m1].a 0", "begin outer[m2].a"];
    assert_eq!(walk[at + 1..at + 4], expected);
}

#[test]
fn an_item_that_failed_is_not_gone_past_while_others_are_under_way() {
    let mut run = begin(NESTED);
    journal(&mut run, [items("outer", &["m1"])]);
    does(&mut run, "outer[m1].a", true);
    journal(&mut run, [items("outer[m1].inner", &["n1", "n2"])]);
    does(&mut run, "outer[m1].inner[n1].b", true);
    let start = started(&run, "outer[m1].inner[n2].b");
    journal(&mut run, [start]);
    super::breaks(&mut run, "outer[m1].inner[n1].c");
    assert_eq!(frontier(&run), ["? outer[m1].inner[n2].b"]);
    journal(&mut run, [super::done("outer[m1].inner[n2].b", true)]);
    let walk = Driver::default().trace(&mut run);
    let expected = [
        "finally outer[m1].inner[n2].b 0",
        "finally outer[m1].inner[n1].b 0",
        "finally outer[m1].a 0",
        "begin last",
        "verify",
        "finish succeeded",
    ];
    assert_eq!(walk, expected);
}

const CALLS: &str = "
    - name: before
      do.it: {}
      undo: [{do.back: {}}]
      finally: [{do.tidy: {}}]
    - name: fix
      call: {playbook: part0}
    - name: after
      do.it: {}
";

const PART: &str = "
    - name: a
      do.it: {}
      undo: [{do.back: {}}]
      finally: [{do.tidy: {}}]
    - name: b
      do.it: {}
";

#[test]
fn a_call_is_a_scope_whose_finalizers_run_when_it_ends() {
    let walk = Driver::default().trace(&mut begin_with(CALLS, PART));
    let expected = [
        "begin before",
        "expand fix",
        "begin fix.a",
        "begin fix.b",
        "begin fix.verify",
        "finally fix.a 0",
        "begin after",
        "verify",
        "finally before 0",
        "finish succeeded",
    ];
    assert_eq!(walk, expected);
}

#[test]
fn what_a_call_did_is_taken_back_in_its_place() {
    let driver = Driver { fails: &["after"], ..Driver::default() };
    let walk = driver.trace(&mut begin_with(CALLS, PART));
    let expected = [
        "unwind undone: step after: no",
        "? after",
        "undo fix.a 0",
        "undo before 0",
        "finally before 0",
        "finish undone",
    ];
    assert_eq!(walk[walk.len() - expected.len()..], expected);
    // failing inside: the scope is still open, so its finalizers run on the way back, and first
    let driver = Driver { fails: &["fix.b"], ..Driver::default() };
    let walk = driver.trace(&mut begin_with(CALLS, PART));
    let expected = [
        "unwind undone: step fix.b: no",
        "? fix.b",
        "finally fix.a 0",
        "undo fix.a 0",
        "undo before 0",
        "finally before 0",
        "finish undone",
    ];
    assert_eq!(walk[walk.len() - expected.len()..], expected);
}

#[test]
fn a_call_that_may_fail_is_over_where_it_failed() {
    let calls = CALLS.replace("      call:", "      on_error: continue\n      call:");
    let driver = Driver { fails: &["fix.b"], ..Driver::default() };
    let walk = driver.trace(&mut begin_with(&calls, PART));
    assert!(!walk.contains(&"begin fix.verify".to_owned()), "{walk:?}");
    let at = walk.iter().position(|line| line == "begin fix.b").unwrap();
    assert_eq!(walk[at..at + 3], ["begin fix.b", "finally fix.a 0", "begin after"]);
    let mut run = begin_with(&calls, PART);
    does(&mut run, "before", true);
    journal(&mut run, [failed("fix", true)]);
    assert_eq!(frontier(&run), ["begin after"], "what it is given could not be told");
    let mut run = begin_with(CALLS, PART);
    does(&mut run, "before", true);
    journal(&mut run, [called("fix")]);
    assert_eq!(frontier(&run), ["begin fix.a"]);
}
