//! Each guard by itself, and their order.

use uuid::Uuid;

use super::*;
use crate::domain::incident::ledger::Attempt;

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

fn destruction() -> Destruction<'static> {
    Destruction {
        destroys: Destroys::Data,
        version: Ok(()),
        capability: Ok(()),
        has_survivor: true,
        may_return: Vec::new(),
        approved_by_person: false,
        loss_upper: Some(0),
        loss_is_deferred: false,
        loss_budget: 0,
        open_loss: None,
        last_automatic: None,
        own_store: None,
    }
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
        destruction: Some(destruction()),
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

#[track_caller]
fn check_destruction(change: impl FnOnce(&mut Destruction<'_>), action: &str, reason: Reason) {
    let ledger = Ledger::default();
    let mut facts = facts(&ledger);
    change(facts.destruction.as_mut().unwrap());
    check(&facts, action, Some(reason));
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
fn what_destroys_data_has_guards_of_its_own() {
    check_destruction(|d| d.version = Err("3.4".into()), "skip", Reason::Version);
    check_destruction(|d| d.capability = Err("no etcdutl".into()), "skip", Reason::Capability);
    check_destruction(|d| d.has_survivor = false, "escalate", Reason::NoSurvivor);
    check_destruction(|d| d.may_return = vec!["m2: stopped".into()], "ask", Reason::Permanence);
    check_destruction(|d| d.loss_upper = Some(1), "ask", Reason::LossBudget);
    check_destruction(|d| d.loss_upper = None, "ask", Reason::LossBudget);
    let loss = LossId(Uuid::from_u128(1));
    check_destruction(|d| d.open_loss = Some(loss), "ask", Reason::LossOpen);
    check_destruction(|d| d.last_automatic = Some(NOW), "wait", Reason::DailyLimit);
    check_destruction(|d| d.own_store = Some("the journal is here"), "skip", Reason::OwnStore);
}

#[test]
fn what_a_person_approves_is_not_bound_by_the_budget_but_by_permanence() {
    let ledger = Ledger::default();
    let mut facts = facts(&ledger);
    let what = facts.destruction.as_mut().unwrap();
    (what.approved_by_person, what.loss_upper) = (true, None);
    (what.open_loss, what.last_automatic) = (Some(LossId(Uuid::from_u128(1))), Some(NOW));
    check(&facts, "run", None);
    facts.destruction.as_mut().unwrap().may_return = vec!["m2".into()];
    check(&facts, "ask", Some(Reason::Permanence));
}

#[test]
fn a_loss_that_can_only_be_known_after_the_scratch_copy_is_asked_for_later() {
    let ledger = Ledger::default();
    let mut facts = facts(&ledger);
    let what = facts.destruction.as_mut().unwrap();
    (what.loss_upper, what.loss_is_deferred) = (None, true);
    check(&facts, "run", None);
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
    over.destruction.as_mut().unwrap().loss_upper = None;
    let budget = ["unknown", "`mode: propose`", "`loss_budget.revisions`", "restart quorate"];
    check_text(&over, &budget);
    let mut daily = facts(&clean);
    daily.destruction.as_mut().unwrap().last_automatic = Some(NOW);
    check_text(&daily, &["not before", "`mode: propose`", "restart quorate"]);
    let tried = [
        (Outcome::Failed, 90_000),
        (Outcome::Failed, 9000),
        (Outcome::Cancelled, 8500),
        (Outcome::Parked, 8000),
        (Outcome::Undone, 7000),
    ];
    let tried = ledger(&tried);
    let ends = Time(NOW.0 - 9_000_000).after(Duration::from_hours(24)).to_string();
    check_text(&facts(&tried), &[&ends, "`guards.attempts`", "restarted"]);
}
