//! Playbooks that call others.

use super::{catalogue, check, playbooks::with_steps};
use crate::domain::rules::{
    expr::Type,
    load,
    playbook::{
        model::{Playbook, Step, StepKind},
        parse::digest,
    },
};

/// A playbook that takes a member and looks, under another name.
fn callee() -> String {
    let steps = "    - {name: look, etcd.look: {}}\n    - {name: add, etcd.add: {member: '${params.m}'}, undo: [{etcd.look: {}}]}\n";
    let text = with_steps(steps).replace("name: p,", "name: part,");
    format!("{text}  verify: 'steps.add.output.revision > params.n'\n---\n")
}

/// The callee's 11 lines, then a caller whose steps start on line 19.
fn caller(steps: &str) -> String {
    format!("{}{}", callee(), with_steps(steps))
}

#[track_caller]
fn calls(steps: &str, expected: &[(&str, usize, usize)]) {
    check(&caller(steps), expected);
}

fn names(steps: &[Step]) -> Vec<&str> {
    steps.iter().map(|step| step.name.as_str()).collect()
}

#[test]
fn a_called_playbook_is_taken_in_with_what_must_come_true_at_its_end() {
    let steps = "    - {name: fix, call: {playbook: part, with: {m: '${params.m}'}}, register: fixed}\n    - {name: b, etcd.add: {member: m1}, when: 'fixed.add.revision > 2 && steps.fix.output.look.id != \"\"'}\n";
    let rules = check(&caller(steps), &[]);
    let playbook: &Playbook = &rules.playbooks["p"];
    let StepKind::Call { playbook: name, with, params, steps } = &playbook.steps[0].kind else {
        panic!("{:?}", playbook.steps)
    };
    assert_eq!((name.as_str(), names(steps)), ("part", vec!["look", "add", "verify"]));
    assert!(with.contains_key("m") && params.len() == 2);
    let StepKind::Wait { until, timeout, .. } = &steps[2].kind else { panic!("{steps:?}") };
    assert_eq!((until.source(), timeout.as_secs()), ("steps.add.output.revision > params.n", 60));
    assert_eq!(
        playbook.outline.output.field("fix"),
        Some(playbook.outline.output.field("fix").unwrap())
    );
    assert!(matches!(playbook.outline.output.field("fix"), Some(Type::Record(_))));
}

/// An approval is bound to the digest: a changed part is another playbook.
#[test]
fn the_digest_of_a_caller_holds_what_it_calls() {
    let of = |text: &str| check(text, &[]).playbooks["p"].digest.clone();
    let text = caller("    - {name: fix, call: {playbook: part, with: {m: m1}}}\n");
    assert_ne!(of(&text), of(&text.replace("name: look, etcd.look", "name: gaze, etcd.look")));
    let rules = check(&text, &[]);
    let playbook = &rules.playbooks["p"];
    assert!(playbook.text.contains("name: part,") && playbook.digest == digest(&playbook.text));
    let again = check(&playbook.text, &[]);
    assert_eq!(again.playbooks["p"].digest, playbook.digest);
}

#[test]
fn what_a_call_gives_fits_the_parameters() {
    let with = |with: &str| format!("    - {{name: fix, call: {{playbook: part{with}}}}}\n");
    calls(&with(", with: {m: m1, n: 5}"), &[]);
    calls(&with(", with: {m: m1, n: '${params.n}'}"), &[]);
    calls(&with(""), &[("Q304", 19, 36)]);
    calls(&with(", with: {m: m1, x: 5}"), &[("Q304", 19, 59)]);
    calls(&with(", with: {m: m1, n: '${params.m}'}"), &[]);
    calls(&with(", with: {m: m1, n: many}"), &[("Q304", 19, 59)]);
    calls(&with(", with: {m: '${params.n}'}"), &[("Q304", 19, 52)]);
    calls(&with(", with: {m: '${prams.n}'}"), &[("Q111", 19, 55)]);
    calls(&with(", wiht: {m: m1}"), &[("Q304", 19, 36), ("Q101", 19, 42)]);
}

#[test]
fn a_called_playbook_is_there_and_sound() {
    let call = |name: &str| format!("    - {{name: fix, call: {{playbook: {name}}}}}\n");
    calls(&call("prt"), &[("Q301", 19, 36)]);
    calls("    - {name: fix, call: {}}\n", &[("Q102", 19, 25)]);
    let broken = caller(&call("part")).replace("look, etcd.look", "look, etcd.lok");
    check(&broken, &[("Q203", 8, 20), ("Q301", 19, 36)]);
    let see = "    - {name: fix, call: {playbook: part, with: {m: m1}}}\n    - {name: b, etcd.add: {member: m1}, when: 'look.id == \"\"'}\n";
    calls(see, &[("Q111", 20, 48)]);
    let beside = |key: &str| {
        format!("    - {{name: fix, call: {{playbook: part, with: {{m: m1}}}}, {key}}}\n")
    };
    calls(&beside("on_error: continue, when: 'true'"), &[]);
    calls(&beside("timeout: 5s"), &[("Q210", 19, 58)]);
    calls(&beside("undo: []"), &[("Q210", 19, 58)]);
    calls(&beside("retry: {attempts: 2}"), &[("Q210", 19, 58)]);
}

#[test]
fn nobody_calls_in_a_circle() {
    let named = |name: &str, calls: &str| {
        let steps = if calls.is_empty() {
            "    - {name: a, etcd.look: {}}\n".to_owned()
        } else {
            format!("    - {{name: a, call: {{playbook: {calls}, with: {{m: m1}}}}}}\n")
        };
        with_steps(&steps).replace("name: p,", &format!("name: {name},"))
    };
    let all = |parts: &[(&str, &str)]| {
        let parts: Vec<_> = parts.iter().map(|(name, calls)| named(name, calls)).collect();
        let files = [("a.yaml".to_owned(), parts.join("---\n"))];
        let (rules, found) = load(&files, &catalogue());
        let found: Vec<_> = found.into_iter().map(|one| (one.id, one.message)).collect();
        (rules.playbooks.len(), found)
    };
    assert_eq!(all(&[("a", "b"), ("b", "c"), ("c", "")]), (3, vec![]));
    assert_eq!(all(&[("c", ""), ("a", "c"), ("b", "c")]), (3, vec![]));
    let itself = "`a` leads back to itself: a calls a".to_owned();
    assert_eq!(all(&[("a", "a")]), (0, vec![("Q215", itself)]));
    let round = |name: &str, way: &str| ("Q215", format!("`{name}` leads back to itself: {way}"));
    let (sound, found) = all(&[("x", "a"), ("a", "b"), ("b", "c"), ("c", "a"), ("d", "")]);
    assert_eq!(sound, 1);
    assert_eq!(
        found,
        [
            round("a", "a calls b calls c calls a"),
            round("b", "b calls c calls a calls b"),
            round("c", "c calls a calls b calls c"),
            round("a", "a calls b calls c calls a"),
        ]
    );
    let chain = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"), ("e", "")];
    let (sound, found) = all(&chain);
    assert_eq!((sound, found.len(), found[0].0), (4, 1, "Q107"));
}

#[test]
fn a_caller_answers_for_what_it_calls() {
    let gone = "    - {name: gone, irreversible: true, etcd.look: {}}\n";
    let part = |destroys: &str, steps: &str| {
        let text = with_steps(steps).replace("name: p,", "name: part,");
        let text = text.replace("destroys: nothing", &format!("destroys: {destroys}"));
        format!("{text}  verify: 'true'\n---\n")
    };
    let call = "    - {name: fix, call: {playbook: part, with: {m: m1}}}\n";
    let both = |part: &str, steps: &str| format!("{part}{}", with_steps(steps));
    let member = part("member", gone);
    check(&both(&member, call), &[("Q216", 18, 36)]);
    let says = both(&member, call).replace("destroys: nothing", "destroys: member");
    check(&format!("{says}  verify: 'true'\n"), &[]);
    let harmless = part("nothing", gone);
    check(&both(&harmless, call), &[]);
    check(&both(&harmless, &format!("{call}{gone}")), &[("Q205", 19, 14)]);
    let goes_on = call.replace("name: fix,", "name: fix, on_error: continue,");
    check(&both(&harmless, &goes_on), &[("Q206", 18, 56)]);
    let each = |mode: &str| {
        format!(
            "    - name: each\n      foreach:\n        in: etcd.voters\n        as: v\n        mode: {mode}\n        do:\n      {}",
            call.replace("m: m1", "m: '${v}'")
        )
    };
    check(&both(&harmless, &each("serial")), &[("Q205", 24, 42)]);
    let asks = part("nothing", "    - {name: k, approve: {show: []}}\n");
    let stop = "    - {name: a, host.stop: {member: m1}, undo: [{etcd.look: {}}]}\n";
    check(&both(&asks, &format!("{call}{stop}")), &[]);
    let perhaps = call.replace("name: fix,", "name: fix, when: 'false',");
    check(&both(&asks, &format!("{perhaps}{stop}")), &[("Q209", 19, 17)]);
    check(&both(&asks, &each("{parallel: 2}")), &[("Q221", 24, 42)]);
    let loops = "    - {name: l, foreach: {in: etcd.voters, as: v, do: [{name: i, foreach: {in: etcd.voters, as: w, do: [{name: x, etcd.look: {}}]}}]}}\n";
    check(&both(&part("nothing", loops), &each("serial")), &[("Q107", 24, 42)]);
}
