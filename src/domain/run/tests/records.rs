//! What is stored reads back; what expressions see of a run.

use super::{
    asked, at, begin, begin_with, book_with, called, does, done, failed, items, journal, plan_of,
};
use crate::domain::{
    base::time::Time,
    rules::{expr::Value, playbook::model::Show},
    run::{
        event::{Ask, LossShown, RunEvent},
        plan::Plan,
        values,
    },
};

const ALL: &str = r#"
    - name: each
      foreach:
        in: 'params.members'
        as: m
        mode: {parallel: 2}
        until: 'size(steps.each.output) > 1'
        do:
          - name: a
            when: 'm.matches("^m[0-9]$")'
            do.it: {member: "${m}"}
            undo: [{do.back: {member: "x${m}"}, when: self.changed, timeout: 5s}]
            finally: [{do.tidy: {}, retry: {attempts: 2, delay: 500ms, on: [moved]}}]
            on_error: continue
            register: made
    - name: fix
      call: {playbook: part0, with: {members: "${params.members}"}}
      register: fixed
    - name: ask
      approve: {show: [evidence, loss]}
    - name: gone
      irreversible: true
      do.it: {member: "${steps.fix.output.b.id}"}
    - name: check
      expect: {that: 'fixed.b.n > 1', message: "${run.id}"}
    - name: rest
      wait: {until: 'steps.gone.output.n == 1', for: 1s, timeout: 1m}
    - name: note
      record: {note: done}
"#;

const PART: &str = "
    - name: b
      do.it: {}
";

#[test]
fn a_plan_is_read_back_equal_with_everything_a_playbook_can_hold() {
    let plan = plan_of(&book_with(ALL, PART));
    let text = serde_json::to_string(&plan).unwrap();
    let back: Plan = serde_json::from_str(&text).unwrap();
    assert_eq!(back, plan);
    assert_eq!(serde_json::to_string(&back).unwrap(), text);
    assert!(plan.step(&at("fix.verify")).is_some() && plan.step(&at("each[m1].a")).is_some());
    for wrong in ["each.a", "fix[m1].b", "gone[m1]", "nothing", "fix.nothing", "gone.x"] {
        assert!(plan.step(&at(wrong)).is_none(), "{wrong}");
    }
}

#[test]
fn a_question_shows_what_the_step_lists_and_no_more() {
    let RunEvent::ApprovalAsked { ask, .. } = asked("ask") else { panic!() };
    let loss = Some(LossShown { lower: 1, upper: None });
    let whole = Ask { loss, evidence: vec!["e".into()], commands: vec!["c".into()], ..*ask };
    let shown = |show: &[Show]| {
        let ask = whole.clone().showing(show);
        assert_eq!(ask.show, show);
        (ask.loss.is_some(), ask.evidence.len(), ask.commands.len())
    };
    assert_eq!(shown(&[Show::Evidence, Show::Loss, Show::Commands]), (true, 1, 1));
    assert_eq!(shown(&[Show::Loss]), (true, 0, 0));
    assert_eq!(shown(&[Show::Commands]), (false, 0, 1));
    assert_eq!(shown(&[]), (false, 0, 0));
}

fn shown(value: Option<&Value>) -> String {
    value.map_or("nothing".into(), |value| value.to_json().to_string())
}

#[test]
fn a_loop_tells_the_outputs_of_what_is_over_and_the_items_that_failed() {
    let mut run = begin(
        "
    - name: each
      on_error: continue
      foreach:
        in: 'params.members'
        as: m
        do:
          - name: a
            do.it: {}
          - name: may
            do.it: {}
            on_error: continue
          - name: b
            do.it: {}
            when: 'true'
",
    );
    journal(&mut run, [items("each", &["m1", "m2", "m3"])]);
    does(&mut run, "each[m1].a", true);
    super::breaks(&mut run, "each[m1].may");
    journal(&mut run, [RunEvent::StepSkipped { step: at("each[m1].b") }]);
    super::breaks(&mut run, "each[m2].a");
    does(&mut run, "each[m3].a", true);
    let names = values::names(&run, &at(""));
    let each = names["steps"].get("each").unwrap();
    assert_eq!(shown(each.get("output")), r#"{"m1":{"a":{"n":1}}}"#);
    assert_eq!(shown(each.get("failed")), r#"["m2"]"#);
    let inside = values::names(&run, &at("each[m3]"));
    assert_eq!(shown(inside.get("m")), r#""m3""#);
    assert_eq!(shown(inside["steps"].get("a")), r#"{"output":{"n":1}}"#);
    assert_eq!(inside["steps"].get("b").map(|_| ()), None);
}

#[test]
fn a_called_playbook_sees_its_own_names_and_its_caller_sees_its_output() {
    let steps = "
    - name: before
      do.it: {}
      register: made
    - name: each
      foreach:
        in: 'params.members'
        as: m
        do:
          - name: fix
            call: {playbook: part0}
            register: fixed
";
    let mut run = begin_with(steps, PART);
    does(&mut run, "before", true);
    journal(&mut run, [items("each", &["m1"])]);
    let params = [("members".to_owned(), Value::list(vec![Value::str("m9")]))].into();
    journal(&mut run, [RunEvent::CallStarted { step: at("each[m1].fix"), params }]);
    let inside = values::names(&run, &at("each[m1].fix"));
    let names: Vec<_> = inside.keys().map(String::as_str).collect();
    assert_eq!(names, ["params", "run", "steps"], "neither m nor made");
    assert_eq!(shown(inside.get("params")), r#"{"members":["m9"]}"#);
    assert_eq!(shown(inside.get("steps")), "{}");
    does(&mut run, "each[m1].fix.b", true);
    let outside = |run: &super::Run| shown(values::names(run, &at("each[m1]")).get("fixed"));
    assert_eq!(outside(&run), "nothing", "it is not over before its verify");
    journal(&mut run, [done("each[m1].fix.verify", false)]);
    assert_eq!(outside(&run), r#"{"b":{"n":1},"verify":{"n":1}}"#);
}

#[test]
fn a_call_that_failed_has_no_output() {
    let mut run =
        begin_with("    - {name: fix, on_error: continue, call: {playbook: part0}}\n", PART);
    journal(&mut run, [called("fix")]);
    super::breaks(&mut run, "fix.b");
    let names = values::names(&run, &at(""));
    assert_eq!(shown(names["steps"].get("fix")), "nothing");
}

/// Rows: E22.
#[test]
fn a_run_starts_with_its_plan_and_no_other_record_starts_one() {
    let run = begin("    - {name: a, do.it: {}}\n");
    let started = RunEvent::RunStarted {
        incident: None,
        plan: run.plan.clone(),
        mode: run.mode,
        by: run.by.clone(),
    };
    let text = serde_json::to_string(&started).unwrap();
    let back: RunEvent = serde_json::from_str(&text).unwrap();
    assert_eq!(back, started);
    let again = super::Run::start(run.id, &back, Time(0)).unwrap();
    assert_eq!(again, run);
    assert!(super::Run::start(run.id, &failed("a", true), Time(0)).is_none());
}
