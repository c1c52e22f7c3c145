//! Diagnostics of playbooks.

use std::time::Duration;

use super::check;
use crate::domain::rules::{
    action::ErrorKind,
    expr::Value,
    playbook::model::{Destroys, OnError, Playbook, Show, StepKind},
};

/// A playbook `p` whose steps start on line 8.
pub(super) fn with_steps(steps: &str) -> String {
    format!(
        "apiVersion: quorate/v1\nkind: Playbook\nmetadata: {{name: p, description: For tests.}}\n\
         spec:\n  destroys: nothing\n  params: {{m: {{type: member, required: true}}, n: {{type: int, default: 3}}}}\n  steps:\n{steps}"
    )
}

#[track_caller]
fn steps(steps: &str, expected: &[(&str, usize, usize)]) {
    check(&with_steps(steps), expected);
}

#[track_caller]
fn params(params: &str, expected: &[(&str, usize, usize)]) {
    let text = with_steps("    - {name: look, etcd.look: {}}\n");
    let declared = "{m: {type: member, required: true}, n: {type: int, default: 3}}";
    let (before, after) = text.split_once(declared).unwrap();
    check(&format!("{before}{{p: {{{params}}}}}{after}"), expected);
}

#[test]
fn keys_and_actions_are_known() {
    steps("    - {name: a, etcd.look: {}, whn: 'true'}\n", &[("Q101", 8, 32)]);
    steps("    - {name: a}\n", &[("Q202", 8, 7)]);
    steps("    - {name: a, etcd.look: {}, etcd.add: {member: m1}}\n", &[("Q202", 8, 32)]);
    steps("    - {name: a, etcd.lok: {}}\n", &[("Q203", 8, 17)]);
    steps("    - {name: a, call: {playbook: x}}\n", &[("Q301", 8, 34)]);
    steps("    - {etcd.look: {}}\n", &[("Q102", 8, 7)]);
    steps("    - {name: A, etcd.look: {}}\n", &[("Q105", 8, 14)]);
    let twice = "    - {name: a, etcd.look: {}}\n    - {name: a, etcd.look: {}}\n";
    steps(twice, &[("Q201", 9, 14)]);
    steps("    []\n", &[("Q107", 8, 5)]);
    steps("    - {name: a, etcd.look: {}, timeout: 5}\n", &[("Q103", 8, 41)]);
    steps("    - {name: a, etcd.look: {}, timeout: 5x}\n", &[("Q106", 8, 41)]);
    steps("    - {name: a, etcd.look: {}, timeout: 2d}\n", &[("Q107", 8, 41)]);
    steps("    - {name: a, etcd.look: {}, on_error: stop}\n", &[("Q104", 8, 42)]);
    let retry = "    - {name: a, etcd.look: {}, retry: {attempts: 2, on: [tiemout]}}\n";
    steps(retry, &[("Q104", 8, 58)]);
}

#[test]
fn arguments_fit_the_catalogue() {
    steps("    - {name: a, etcd.look: {x: 1}}\n", &[("Q204", 8, 29)]);
    steps("    - {name: a, etcd.add: {}}\n", &[("Q204", 8, 17)]);
    steps("    - {name: a, etcd.add: {membr: m1}}\n", &[("Q204", 8, 17), ("Q204", 8, 28)]);
    steps("    - {name: a, etcd.add: {member: 5}}\n", &[("Q204", 8, 36)]);
    steps("    - {name: a, etcd.add: {member: '${params.n}'}}\n", &[("Q204", 8, 36)]);
    steps("    - {name: a, etcd.add: {member: '${params.m}'}}\n", &[]);
    steps("    - {name: a, etcd.add: {member: '${parms.m}'}}\n", &[("Q111", 8, 39)]);
    steps("    - {name: a, etcd.out: {member: m1, to: oldd}}\n", &[("Q204", 8, 44)]);
    let args = |args: &str| format!("    - {{name: a, etcd.args: {{member: m1, {args}}}}}\n");
    steps(&args("args: {a: '1', b: 2}"), &[("Q204", 8, 59)]);
    steps(&args("args: {a: '1'}, bump: '${params.n}'"), &[]);
    steps(&args("args: {}, bump: '5'"), &[("Q204", 8, 57)]);
    let asked = |stop: &str| {
        format!(
            "    - {{name: k, approve: {{show: [loss]}}}}\n    - {{name: a, host.stop: {stop}, undo: [{{etcd.look: {{}}}}]}}\n"
        )
    };
    steps(&asked("{member: m1}"), &[]);
    steps(&asked("{host: h1, service: x}"), &[]);
    steps(&asked("{host: h1}"), &[("Q204", 9, 17)]);
    steps(&asked("{member: m1, host: h1}"), &[("Q204", 9, 17)]);
}

#[test]
fn expressions_are_typed_where_they_stand() {
    let expect =
        |that: &str| format!("    - {{name: a, expect: {{that: '{that}', message: x}}}}\n");
    steps(&expect("etcd.verdct == \"lost\""), &[("Q111", 8, 33)]);
    steps(&expect("etcd.verdict == \"gone\""), &[("Q111", 8, 49)]);
    steps(&expect("params.n"), &[("Q111", 8, 33)]);
    let folded = "    - name: a\n      expect:\n        that: >-\n          params.n == 1\n          && params.x\n        message: x\n";
    steps(folded, &[("Q111", 12, 14)]);
    steps("    - {name: a, when: !x, etcd.look: {}}\n", &[("Q004", 8, 23)]);
}

#[test]
fn outputs_are_known_after_their_step_only() {
    let two = |first: &str, second: &str| {
        format!("    - {{name: a, {first}}}\n    - {{name: b, {second}}}\n")
    };
    let look = "etcd.look: {}";
    steps(&two(look, "etcd.add: {member: '${steps.a.output.id}'}"), &[]);
    steps(&two(look, "etcd.add: {member: '${steps.a.output.idd}'}"), &[("Q111", 9, 39)]);
    steps(&two("etcd.add: {member: '${steps.b.output.id}'}", look), &[("Q111", 8, 39)]);
    steps(&two("etcd.look: {}, register: x", "etcd.add: {member: '${x.id}'}"), &[]);
    steps(&two("etcd.look: {}, register: etcd", look), &[("Q211", 8, 42)]);
    let unknown = two("etcd.lok: {}", "etcd.add: {member: '${steps.a.output.idd}'}");
    steps(&unknown, &[("Q203", 8, 17)]);
    let wrong =
        two("etcd.add: {}, register: x", "etcd.add: {member: '${x.id + steps.a.output.id}'}");
    steps(&wrong, &[("Q204", 8, 17)]);
    let undo =
        "etcd.look: {}, undo: [{etcd.add: {member: '${self.output.id}'}, when: self.changed}]";
    steps(&two(undo, look), &[]);
    steps(&two("etcd.look: {}, when: self.changed", look), &[("Q111", 8, 38)]);
}

#[test]
fn a_loop_gives_its_outputs_by_item() {
    let each = "    - name: each\n      foreach:\n        in: etcd.voters\n        as: m\n        do:\n          - {name: add, etcd.add: {member: '${m}'}}\n          - {name: again, etcd.add: {member: '${steps.add.output.id}'}}\n";
    let then = |text: &str| format!("{each}    - {{name: b, etcd.look: {{}}, when: '{text}'}}\n");
    steps(&then("steps.each.output.all(m, steps.each.output[m].add.id != \"\")"), &[]);
    steps(&then("\"m1\" in steps.each.failed"), &[]);
    steps(&then("steps.each.output[\"m1\"].addd.id == \"\""), &[("Q111", 15, 39)]);
    steps(&then("steps.add.output.id == \"\""), &[("Q111", 15, 39)]);
    steps(&then("m == \"\""), &[("Q111", 15, 39)]);
    let cascade = then("steps.each.output[\"m1\"].add.id == \"\"").replace("'${m}'", "5");
    steps(&cascade, &[("Q204", 13, 44)]);
    steps(&each.replace("etcd.voters", "'etcd.verdict'"), &[("Q111", 10, 13)]);
    steps(&each.replace("as: m", "as: etcd").replace("${m}", "m1"), &[("Q211", 11, 13)]);
    let mode = |mode: &str| each.replace("as: m\n", &format!("as: m\n        {mode}\n"));
    steps(&mode("mode: {parallel: 3}"), &[]);
    steps(&mode("mode: {parallel: 0}"), &[("Q107", 12, 26)]);
    steps(&mode("mode: {parallel: 17}"), &[("Q107", 12, 26)]);
    steps(&mode("mode: {parallel: all}"), &[("Q103", 12, 26)]);
    steps(&mode("mode: {paralel: 3}"), &[("Q102", 12, 15), ("Q101", 12, 16)]);
    steps(&mode("mode: parallel"), &[("Q103", 12, 15)]);
    steps(&mode("mode: serially"), &[("Q104", 12, 15)]);
    steps(&mode("mode: serial\n        until: size(steps.each.output) > 1"), &[]);
    let timeout = each.replace("      foreach:\n", "      timeout: 5m\n      foreach:\n");
    steps(&timeout, &[("Q210", 9, 7)]);
}

#[test]
fn the_laws_of_a_repair_hold() {
    let id = "id: '00000000000000ab'";
    steps(&format!("    - {{name: a, etcd.remove: {{{id}}}}}\n"), &[("Q207", 8, 17)]);
    steps(&format!("    - {{name: a, irreversible: true, etcd.remove: {{{id}}}}}\n"), &[]);
    let short = "    - {name: a, irreversible: true, etcd.remove: {id: ab}}\n";
    steps(short, &[("Q204", 8, 55)]);
    let undo = format!("    - {{name: a, etcd.look: {{}}, undo: [{{etcd.remove: {{{id}}}}}]}}\n");
    steps(&undo, &[]);
    let undo = "    - {name: a, irreversible: true, etcd.look: {}, undo: []}\n";
    steps(undo, &[("Q210", 8, 52)]);
    let two = "    - {name: a, irreversible: true, etcd.look: {}}\n    - {name: b, irreversible: true, on_error: continue, etcd.look: {}}\n";
    steps(two, &[("Q205", 9, 14), ("Q206", 9, 47)]);
    let undo = ", undo: [{etcd.look: {}}]";
    let stop = |member: &str| format!("    - {{name: a, host.stop: {{member: {member}}}{undo}}}\n");
    steps(&stop("'${params.m}'"), &[("Q209", 8, 17)]);
    let unsure =
        format!("    - {{name: ask, when: 'false', approve: {{show: []}}}}\n{}", stop("m1"));
    steps(&unsure, &[("Q209", 9, 17)]);
    let guarded = |when: &str| {
        format!(
            "    - name: each\n      foreach:\n        in: etcd.voters\n        as: v\n        do:\n          - {{name: s, when: '{when}', host.stop: {{member: '${{v}}'}}{undo}}}\n"
        )
    };
    steps(&guarded("!etcd.members[v].serving"), &[]);
    steps(&guarded("params.n > 2 && !etcd.members[v].serving"), &[]);
    steps(&guarded("!etcd.members[v].serving && size(etcd.voters) > 2"), &[]);
    let turned = "!(params.n > 2 && !etcd.members[v].serving && params.n > 3)";
    steps(&guarded(turned), &[("Q209", 13, 92)]);
    steps(&guarded("params.n > 2 || !etcd.members[v].serving"), &[("Q209", 13, 73)]);
}

#[test]
fn what_a_playbook_destroys_is_said() {
    let text = with_steps("    - {name: a, irreversible: true, etcd.look: {}}\n");
    let text = format!("{text}  verify: 'true'\n");
    check(&text.replace("  destroys: nothing\n", ""), &[("Q208", 7, 14)]);
    check(&text.replace("destroys: nothing", "destroys: data"), &[("Q213", 5, 13)]);
    let all = text.replace("destroys: nothing", "destroys: all");
    check(&all, &[("Q104", 5, 13), ("Q213", 5, 13)]);
    let member = text.replace("destroys: nothing", "destroys: member");
    check(&member, &[]);
    check(&member.replace("type: member,", "type: host,"), &[("Q214", 5, 13)]);
    let unverified = |text: &str| text.replace("  verify: 'true'\n", "");
    check(&unverified(&member), &[("Q219", 5, 13)]);
    let never =
        text.replace("destroys: nothing", "destroys: data").replace("irreversible: true, ", "");
    check(&never, &[("Q213", 5, 13), ("Q218", 5, 13)]);
}

#[test]
fn who_approves_the_loss_of_data_sees_all_that_it_rests_on() {
    let repair = |show: &str| {
        let text = with_steps(&format!(
            "    - {{name: c, etcd.choose_survivor: {{among: x}}, register: c}}\n    - {{name: k, approve: {{show: [{show}]}}}}\n    - {{name: a, irreversible: true, etcd.look: {{}}}}\n    - {{name: l, record: {{loss: {{survivor: '${{c}}', rebuilt: '${{steps.a.output}}'}}}}}}\n"
        ));
        format!("{text}  verify: 'true'\n").replace("destroys: nothing", "destroys: data")
    };
    check(&repair("evidence, loss, commands"), &[]);
    check(&repair("evidence, commands"), &[("Q220", 9, 26)]);
    let harmless = repair("").replace("destroys: data", "destroys: nothing");
    check(&harmless, &[]);
}

#[test]
fn what_is_taken_down_can_be_taken_back() {
    let ask = "    - {name: k, approve: {show: []}}\n";
    let stop = "    - {name: a, host.stop: {member: m1}}\n";
    steps(&format!("{ask}{stop}"), &[("Q217", 9, 17)]);
    let gone = "    - {name: g, irreversible: true, etcd.look: {}}\n";
    steps(&format!("{ask}{gone}{stop}"), &[]);
    let itself = stop.replace("{name: a,", "{name: a, irreversible: true,");
    steps(&format!("{ask}{itself}"), &[]);
}

#[test]
fn a_loop_that_works_on_several_items_asks_nothing_and_no_loop_passes_a_return() {
    let each = |mode: &str, step: &str| {
        format!(
            "    - name: each\n      foreach:\n        in: etcd.voters\n        as: v\n        mode: {mode}\n        do:\n          - {{name: s, {step}}}\n"
        )
    };
    let ask = "approve: {show: []}";
    steps(&each("serial", ask), &[]);
    steps(&each("{parallel: 1}", ask), &[]);
    steps(&each("{parallel: 2}", ask), &[("Q221", 14, 32)]);
    let gone = "irreversible: true, etcd.look: {}";
    steps(&each("serial", gone), &[("Q205", 14, 20)]);
}

#[test]
fn control_steps_have_their_own_keys() {
    let wait =
        "    - {name: a, wait: {until: 'true', timeout: 5s}, timeout: 5s, retry: {attempts: 2}}\n";
    steps(wait, &[("Q210", 8, 53), ("Q210", 8, 66)]);
    let short = "    - {name: a, wait: {until: 'true', for: 5s, timeout: 5s}}\n";
    steps(short, &[("Q107", 8, 57)]);
    steps("    - {name: a, approve: {show: [los]}}\n", &[("Q104", 8, 34)]);
    steps("    - {name: a, record: {}}\n", &[("Q202", 8, 25)]);
    steps("    - {name: a, record: {note: 'x ${params.n}'}}\n", &[]);
    let loss = "    - {name: a, record: {loss: {survivor: x, rebuilt: '${params.n}'}}}\n";
    steps(loss, &[("Q111", 8, 43), ("Q111", 8, 55)]);
    steps("    - {name: a, expect: {that: true}}\n", &[("Q102", 8, 25)]);
}

#[test]
fn parameters_are_declared_soundly() {
    params("type: int, default: 5, min: 6", &[("Q212", 6, 36)]);
    params("type: int, default: x", &[("Q212", 6, 36)]);
    params("type: int, min: 3, max: 2", &[("Q212", 6, 32)]);
    params("type: string, min: 3", &[("Q212", 6, 30)]);
    params("type: string, pattern: '('", &[("Q212", 6, 39)]);
    params("type: string, pattern: 'a+', default: b", &[("Q212", 6, 54)]);
    params("type: int, required: true, default: 1", &[("Q212", 6, 52)]);
    params("type: number", &[("Q104", 6, 22)]);
    params("type: duration, default: 5m", &[]);
    params("type: list, default: [a, b]", &[]);
    params("", &[("Q102", 6, 15)]);
}

#[test]
fn a_good_playbook_has_its_defaults() {
    let text = with_steps(
        "    - {name: a, etcd.look: {}, on_error: continue, retry: {attempts: 2, delay: 5s, on: [moved]}}\n    - {name: b, etcd.add: {member: m1}, undo: [{etcd.look: null}]}\n    - {name: c, approve: {show: [evidence, loss, commands]}}\n    - {name: d, wait: {until: 'true', timeout: 1m}}\n",
    );
    let rules = check(&format!("{text}  verify: 'etcd.verdict == \"healthy\"'\n"), &[]);
    let playbook: &Playbook = &rules.playbooks["p"];
    assert_eq!(playbook.destroys, Destroys::Nothing);
    assert_eq!(playbook.timeout, Duration::from_hours(1));
    assert_eq!(playbook.params[1].default.as_ref().and_then(Value::as_int), Some(3));
    assert_eq!(playbook.digest.len(), 64);
    assert!(playbook.verify.is_some());
    let [a, b, c, d] = &playbook.steps[..] else { panic!() };
    assert_eq!((a.timeout.as_secs(), b.timeout.as_secs()), (30, 60));
    assert_eq!((a.retry.attempts, b.retry.attempts), (2, 1));
    assert_eq!((&a.retry.on[..], a.on_error), (&[ErrorKind::Moved][..], OnError::Continue));
    assert_eq!(b.undo[0].timeout.as_secs(), 30);
    let StepKind::Approve(show) = &c.kind else { panic!() };
    assert_eq!(show[..], [Show::Evidence, Show::Loss, Show::Commands]);
    let StepKind::Wait { hold, poll, .. } = &d.kind else { panic!() };
    assert!(hold.is_zero() && poll.as_secs() == 1);
}
