//! Each guard by itself, and their order.

use uuid::Uuid;

use super::*;
use crate::domain::{base::id::LossId, incident::ledger::Attempt};

const GUARDS: Guards = Guards {
    tolerance: Duration::ZERO,
    cooldown: Duration::from_mins(5),
    backoff: Backoff {
        initial: Duration::from_mins(1),
        factor: 2.0,
        max: Duration::from_hours(1),
        jitter: 0.0,
    },
    attempts: Attempts { max: 3, per: Duration::from_hours(24) },
    max_unhealthy_nodes: None,
};
const NOW: Time = Time(10_000_000);

/// All the guards that a playbook can bring along, and none of them holds.
fn all_pass() -> Vec<Guard> {
    vec![
        Guard::Version(Ok(())),
        Guard::Capability(Ok(())),
        Guard::Survivor { is_there: true },
        Guard::Permanence { may_return: Vec::new() },
        Guard::LossBudget { upper: Some(0), budget: 0 },
        Guard::LossOpen(None),
        Guard::DailyLimit(None),
        Guard::OwnStore(None),
    ]
}

/// The same, and each of them holds.
fn all_hold() -> Vec<(Guard, &'static str, Reason)> {
    let loss = LossId(Uuid::from_u128(1));
    vec![
        (Guard::Version(Err("3.4".into())), "skip", Reason::Version),
        (Guard::Capability(Err("no etcdutl".into())), "skip", Reason::Capability),
        (Guard::Survivor { is_there: false }, "escalate", Reason::NoSurvivor),
        (Guard::Permanence { may_return: vec!["m2: stopped".into()] }, "ask", Reason::Permanence),
        (Guard::LossBudget { upper: Some(1), budget: 0 }, "ask", Reason::LossBudget),
        (Guard::LossOpen(Some(loss)), "ask", Reason::LossOpen),
        (Guard::DailyLimit(Some(NOW)), "wait", Reason::DailyLimit),
        (Guard::OwnStore(Some("the journal is here")), "skip", Reason::OwnStore),
    ]
}

fn facts(ledger: &Ledger) -> Facts<'_> {
    Facts {
        now: NOW,
        ever_healthy: Some(true),
        blind: None,
        paused: None,
        silenced: false,
        inhibited_by: None,
        grace: GraceFacts {
            complete: true,
            holds: Some(true),
            until: NOW,
            is_first: false,
            verdict: "lost".into(),
            missing: None,
        },
        has_rung: true,
        rung_from: NOW,
        conflict: None,
        ledger,
        guards: &GUARDS,
        declared: all_pass(),
    }
}

fn ledger(outcomes: &[(Outcome, i64)]) -> Ledger {
    let mut ledger = Ledger::default();
    for (outcome, seconds_ago) in outcomes {
        ledger.ended(Attempt {
            run: RunId(Uuid::from_u128(0)),
            playbook: "p".into(),
            outcome: *outcome,
            at: Time(NOW.0 - seconds_ago * 1000),
            approved: false,
            destructive: true,
            denied: false,
        });
    }
    ledger
}

#[track_caller]
fn check(facts: &Facts<'_>, action: &str, reason: Option<Reason>) {
    let decision = decide(facts);
    assert_eq!((decision.action.label(), decision.reason), (action, reason), "{}", decision.text);
}

#[test]
fn a_confirmed_loss_that_no_guard_holds_is_repaired() {
    check(&facts(&Ledger::default()), "run", None);
}

/// Rows: B20, B22, E9.
#[test]
fn the_first_guard_that_holds_is_the_reason() {
    let ledger = ledger(&[(Outcome::Succeeded, 10)]);
    let response = ResponseName::from("etcd-quorum-lost");
    let mut all = facts(&ledger);
    all.ever_healthy = Some(false);
    all.blind = Some("no control target answers");
    all.paused = Some("paused by ann: upgrade".into());
    all.silenced = true;
    all.inhibited_by = Some(&response);
    all.grace.complete = false;
    all.grace.is_first = true;
    all.has_rung = false;
    all.conflict = Some(RunId(Uuid::from_u128(7)));
    check(&all, "skip", Some(Reason::Forming));
    all.ever_healthy = Some(true);
    check(&all, "skip", Some(Reason::Blind));
    all.blind = None;
    check(&all, "skip", Some(Reason::Paused));
    all.paused = None;
    check(&all, "skip", Some(Reason::Silenced));
    all.silenced = false;
    check(&all, "skip", Some(Reason::Inhibited));
    all.inhibited_by = None;
    check(&all, "wait", Some(Reason::Grace));
    all.grace.complete = true;
    check(&all, "skip", Some(Reason::NoPlaybook));
    all.has_rung = true;
    check(&all, "skip", Some(Reason::Conflict));
    all.conflict = None;
    check(&all, "wait", Some(Reason::Cooldown));
}

#[test]
fn after_the_first_grace_the_sample_is_the_reason() {
    let ledger = Ledger::default();
    let mut facts = facts(&ledger);
    facts.grace.complete = false;
    facts.grace.holds = Some(true);
    check(&facts, "wait", Some(Reason::Grace));
    facts.grace.holds = Some(false);
    check(&facts, "skip", Some(Reason::NotConfirmed));
    facts.grace.holds = None;
    check(&facts, "skip", Some(Reason::Unknown));
    facts.grace.is_first = true;
    check(&facts, "wait", Some(Reason::Grace));
}

/// Rows: C1, C2, C18, E21.
#[test]
fn success_cools_down_failure_backs_off_and_too_many_attempts_escalate() {
    check(&facts(&ledger(&[(Outcome::Succeeded, 299)])), "wait", Some(Reason::Cooldown));
    check(&facts(&ledger(&[(Outcome::Succeeded, 300)])), "run", None);
    check(&facts(&ledger(&[(Outcome::Undone, 59)])), "wait", Some(Reason::Backoff));
    check(&facts(&ledger(&[(Outcome::Undone, 60)])), "run", None);
    check(
        &facts(&ledger(&[(Outcome::Failed, 999), (Outcome::Failed, 119)])),
        "wait",
        Some(Reason::Backoff),
    );
    let three = [(Outcome::Failed, 9000), (Outcome::Parked, 8000), (Outcome::Undone, 7000)];
    check(&facts(&ledger(&three)), "escalate", Some(Reason::Attempts));
    check(&facts(&ledger(&[(Outcome::Cancelled, 1); 5])), "run", None);
    let ledger = ledger(&[]);
    let mut tolerant = facts(&ledger);
    let guards = Guards { tolerance: Duration::from_mins(2), ..GUARDS };
    tolerant.guards = &guards;
    check(&tolerant, "wait", Some(Reason::Tolerance));
}

/// Rows: E14, E15, E16, E21, E25.
#[test]
fn each_guard_that_a_playbook_brings_along_holds_it_back_for_its_own_reason() {
    let ledger = Ledger::default();
    for (index, (guard, action, reason)) in all_hold().into_iter().enumerate() {
        let mut facts = facts(&ledger);
        facts.declared[index] = guard;
        check(&facts, action, Some(reason));
    }
}

#[test]
fn of_several_the_first_in_the_list_is_the_reason_and_what_binds_every_playbook_goes_before() {
    let ledger = Ledger::default();
    let mut facts = facts(&ledger);
    let held = all_hold();
    facts.declared = held.iter().map(|(guard, ..)| guard.clone()).collect();
    for (_, action, reason) in &held {
        check(&facts, action, Some(*reason));
        facts.declared.remove(0);
    }
    check(&facts, "run", None);
    facts.declared.push(Guard::OwnStore(Some("the journal is here")));
    facts.has_rung = false;
    check(&facts, "skip", Some(Reason::NoPlaybook));
}

#[test]
fn a_limit_that_is_reached_exactly_does_not_hold() {
    let day_ago = Time(NOW.0 - 24 * 3600 * 1000);
    assert_eq!(Guard::DailyLimit(Some(day_ago)).decision(NOW), None);
    assert!(Guard::DailyLimit(Some(Time(day_ago.0 + 1))).decision(NOW).is_some());
    assert_eq!(Guard::LossBudget { upper: Some(7), budget: 7 }.decision(NOW), None);
    assert!(Guard::LossBudget { upper: None, budget: u64::MAX }.decision(NOW).is_some());
}

#[track_caller]
fn check_text(facts: &Facts<'_>, words: &[&str]) {
    let text = decide(facts).text;
    for word in words {
        assert!(text.contains(word), "no {word} in: {text}");
    }
}

/// Rows: E1, C2.
#[test]
fn a_limit_says_when_it_ends_and_which_key_moves_it() {
    let clean = Ledger::default();
    let mut over = facts(&clean);
    over.declared = vec![Guard::LossBudget { upper: None, budget: 0 }];
    let budget =
        ["unknown", "`mode: propose`", "`loss_budget.revisions`", "in force within seconds"];
    check_text(&over, &budget);
    let mut daily = facts(&clean);
    daily.declared = vec![Guard::DailyLimit(Some(NOW))];
    check_text(&daily, &["not before", "`mode: propose`", "in force within seconds"]);
    let tried = [
        (Outcome::Failed, 90_000),
        (Outcome::Failed, 9000),
        (Outcome::Cancelled, 8500),
        (Outcome::Parked, 8000),
        (Outcome::Undone, 7000),
    ];
    let tried = ledger(&tried);
    let ends = Time(NOW.0 - 9_000_000).after(Duration::from_hours(24)).to_string();
    check_text(&facts(&tried), &[&ends, "`guards.attempts`", "in force within seconds"]);
}
