//! Diagnostics of responses, alone and with playbooks.

use std::time::Duration;

use super::{check, playbooks::with_steps};
use crate::domain::{alert::labels::Labels, rules::response::Role};

const GOOD: &str = r#"apiVersion: quorate/v1
kind: Response
metadata: {name: r, description: For tests.}
spec:
  subject: [cluster, node]
  signals:
    quorum: ['{alertname="A", pod=""}', '{alertname="B"}']
  when: 'signals.quorum.firing > 0'
  grace: {for: 60s, samples: 6, max_gap: 15s}
  confirm: 'etcd.verdict == "lost"'
  ladder:
    - {playbook: p, after: 3m, when: 'cluster.mode == "auto"', with: {m: "${subject.node}"}}
  about: node
"#;

/// The response with one text exchanged for another, and playbook `p` beside it.
#[track_caller]
fn with(from: &str, to: &str, expected: &[(&str, usize, usize)]) {
    assert!(GOOD.contains(from), "{from}");
    let playbook = with_steps("    - {name: look, etcd.look: {}}\n");
    check(&format!("{}---\n{playbook}", GOOD.replace(from, to)), expected);
}

/// A line before `confirm`, on line 10.
#[track_caller]
fn line(added: &str, expected: &[(&str, usize, usize)]) {
    with("  confirm", &format!("  {added}\n  confirm"), expected);
}

#[test]
fn a_good_response_has_its_defaults() {
    let playbook = with_steps("    - {name: look, etcd.look: {}}\n");
    let rules = check(&format!("{GOOD}---\n{playbook}"), &[]);
    let response = &rules.responses["r"];
    assert_eq!(response.guards.backoff.max, Duration::from_hours(1));
    assert_eq!((response.guards.attempts.max, response.guards.cooldown.as_secs()), (3, 300));
    assert_eq!(response.stale_after, Duration::from_mins(485));
    assert_eq!(response.approval.role, Role::Approver);
    assert_eq!(response.approval.timeout.as_secs(), 900);
    assert_eq!(response.ladder[0].after.as_secs(), 180);
    let of = |labels: &[(&str, &str)]| {
        let labels = Labels::new(labels.iter().copied());
        response.signals_of(&labels).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(of(&[("alertname", "B"), ("pod", "x")]), ["quorum"]);
    assert!(of(&[("alertname", "A"), ("pod", "x")]).is_empty());
}

#[test]
fn what_a_response_says_is_checked() {
    with("alertname=\"A\"", "alertname=A", &[("Q110", 7, 26)]);
    with("quorum: [", "Quorum: [", &[("Q105", 7, 5), ("Q111", 8, 10)]);
    with("'signals.quorum.firing > 0'", "'etcd.verdict == \"lost\"'", &[("Q111", 8, 10)]);
    with("== \"lost\"", "== \"dead\"", &[("Q111", 10, 29)]);
    with("[cluster, node]", "[node]", &[("Q107", 5, 12)]);
    with("[cluster, node]", "[cluster, a-b]", &[("Q105", 5, 12), ("Q111", 12, 77)]);
    with("max_gap: 15s", "max_gap: 90s", &[("Q107", 9, 42)]);
    with("samples: 6", "samples: 1", &[("Q107", 9, 30)]);
    with("  about: node\n", "", &[("Q102", 5, 3)]);
    with("about: node", "about: nodes", &[("Q104", 13, 10)]);
    with("[cluster, node]", "[cluster]", &[("Q107", 5, 12), ("Q111", 12, 77)]);
    line("gards: {}", &[("Q101", 10, 3)]);
    line("guards: {max_unhealthy_nodes: 40}", &[("Q103", 10, 33)]);
    line("guards: {max_unhealthy_nodes: 140%}", &[("Q106", 10, 33)]);
    let backoff = "guards: {backoff: {initial: 2h, max: 1h, factor: 0.5}}";
    line(backoff, &[("Q107", 10, 40), ("Q107", 10, 52)]);
    let quarantine = "quarantine: {until: 'true', at_least: 2m, at_most: 1m}\n  inhibits: [r]";
    line(quarantine, &[("Q107", 10, 54)]);
}

#[test]
fn what_a_response_says_about_others_is_checked() {
    let m = "m: \"${subject.node}\"";
    with("playbook: p,", "playbook: pp,", &[("Q301", 12, 18)]);
    with(m, "", &[("Q304", 12, 18)]);
    with(m, "m: m1, k: 1", &[("Q304", 12, 81)]);
    with(m, "m: m1, n: x", &[("Q304", 12, 81)]);
    with(m, "m: '${signals.quorum.firing}'", &[("Q304", 12, 74)]);
    line("inhibits: [rr]", &[("Q302", 10, 14)]);
    line("quarantine: {until: 'true', at_most: 1m}", &[("Q305", 10, 3)]);
}

#[test]
fn an_empty_ladder_is_allowed() {
    let (head, _) = GOOD.split_once("  ladder:").unwrap();
    check(&format!("{head}  about: etcd\n  ladder: []\n"), &[]);
}
