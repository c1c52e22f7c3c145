//! The decision: run, wait, skip, ask or escalate, always with one reason.
//!
//! Pure: all it knows stands in [`Facts`]. The guards are asked in the order of the safety page, those
//! that bind every playbook first and then what this one declares ([`super::guard`]), and
//! the first that holds is the reason; none is asked twice. Nothing here acts.

use std::time::Duration;

pub use super::reason::{Action, Decision, Reason};
use super::{guard::Guard, ledger::Ledger};
use crate::domain::{
    base::{
        id::{ResponseName, RunId},
        time::Time,
    },
    rules::response::{Attempts, Backoff, Guards},
    run::event::Outcome,
};

/// Guards that hold nothing back: for who only wants to see, and for a run whose pace was decided.
pub fn no_guards() -> Guards {
    Guards {
        tolerance: Duration::ZERO,
        cooldown: Duration::ZERO,
        backoff: Backoff::default(),
        attempts: Attempts { max: u32::MAX, per: Duration::ZERO },
        max_unhealthy_nodes: None,
    }
}

/// Where the grace stands.
#[derive(Clone, Debug, PartialEq)]
pub struct GraceFacts {
    /// Whether the verdict held long enough.
    pub complete: bool,
    /// What the last sample said of `confirm`; `None` is unknown.
    pub holds: Option<bool>,
    /// When the running streak would be long enough, or the first grace ends.
    pub until: Time,
    /// Whether the first grace since the incident opened is still running.
    pub is_first: bool,
    /// What the last verdict was, for people.
    pub verdict: String,
    /// The reading that was missing, where the sample was unknown.
    pub missing: Option<String>,
}

/// Everything a decision rests on.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// Now.
    pub now: Time,
    /// Whether the cluster was ever seen healthy; `None` where that does not matter.
    pub ever_healthy: Option<bool>,
    /// Why we are blind.
    pub blind: Option<&'a str>,
    /// Who paused the cluster, why and until when.
    pub paused: Option<String>,
    /// Whether every firing alert of the trigger is silenced.
    pub silenced: bool,
    /// The response that goes first.
    pub inhibited_by: Option<&'a ResponseName>,
    /// Where the grace stands.
    pub grace: GraceFacts,
    /// Whether the ladder has a rung for this.
    pub has_rung: bool,
    /// When the rung's `after` is over.
    pub rung_from: Time,
    /// A run on this cluster.
    pub conflict: Option<RunId>,
    /// What was tried before.
    pub ledger: &'a Ledger,
    /// The response's guards.
    pub guards: &'a Guards,
    /// What the playbook brings along by what it declares, in the order it is asked.
    pub declared: Vec<Guard>,
}

/// Decides. The order is that of the safety page; the first guard that holds is the reason.
pub fn decide(facts: &Facts<'_>) -> Decision {
    standing(facts)
        .or_else(|| confirmation(facts))
        .or_else(|| pace(facts))
        .or_else(|| facts.declared.iter().find_map(|guard| guard.decision(facts.now)))
        .unwrap_or_else(|| Decision {
            action: Action::Run,
            reason: None,
            text: "confirmed, and no guard holds it back".into(),
        })
}

#[expect(clippy::unnecessary_wraps, reason = "every guard answers with an option")]
fn held(action: Action, reason: Reason, text: impl Into<String>) -> Option<Decision> {
    Some(Decision::held(action, reason, text))
}

/// never healthy, blind, paused, silenced, inhibited.
fn standing(facts: &Facts<'_>) -> Option<Decision> {
    if facts.ever_healthy == Some(false) {
        let text = "no voter set of this cluster was ever seen, so it may still be forming; it is \
                    acted on only after it was once healthy under watch";
        return held(Action::Skip, Reason::Forming, text);
    }
    if let Some(why) = facts.blind {
        let text = format!("{why}; quorate itself may be the one that is cut off");
        return held(Action::Skip, Reason::Blind, text);
    }
    if let Some(pause) = &facts.paused {
        return held(Action::Skip, Reason::Paused, format!("{pause}; `quorate unpause` ends it"));
    }
    if facts.silenced {
        return held(
            Action::Skip,
            Reason::Silenced,
            "every firing alert of the trigger is silenced",
        );
    }
    if let Some(response) = facts.inhibited_by {
        let text = format!("{response} of this cluster goes first while its quorum is in question");
        return held(Action::Skip, Reason::Inhibited, text);
    }
    None
}

/// grace, unknown, `not_confirmed`, `no_playbook`.
fn confirmation(facts: &Facts<'_>) -> Option<Decision> {
    let grace = &facts.grace;
    if !grace.complete && (grace.is_first || grace.holds == Some(true)) {
        let (verdict, until) = (&grace.verdict, grace.until);
        let text = if grace.holds == Some(true) {
            format!("verdict {verdict}; it must hold until {until} at least")
        } else {
            format!("verdict {verdict}; looked at until {until} at least, as the alert is new")
        };
        return held(Action::Wait(grace.until), Reason::Grace, text);
    }
    match grace.holds {
        None => {
            let missing = grace.missing.as_deref().unwrap_or("a reading");
            let text = format!("verdict {}; not known: {missing}", grace.verdict);
            return held(Action::Skip, Reason::Unknown, text);
        }
        Some(false) => {
            let text = format!("verdict {}, so there is nothing to repair here", grace.verdict);
            return held(Action::Skip, Reason::NotConfirmed, text);
        }
        Some(true) => {}
    }
    if !facts.has_rung {
        let text = "the response's ladder names no playbook for this";
        return held(Action::Skip, Reason::NoPlaybook, text);
    }
    None
}

/// conflict, cooldown, tolerance, backoff, attempts, and the rung's own `after`.
fn pace(facts: &Facts<'_>) -> Option<Decision> {
    let (now, guards, ledger) = (facts.now, facts.guards, facts.ledger);
    if let Some(run) = facts.conflict {
        return held(
            Action::Skip,
            Reason::Conflict,
            format!("{run} already works on this cluster"),
        );
    }
    let until = ledger.last_success().map(|at| at.after(guards.cooldown)).filter(|at| *at > now);
    if let Some(until) = until {
        let text = format!("repaired a short while ago; cooldown until {until}");
        return held(Action::Wait(until), Reason::Cooldown, text);
    }
    let ripe = ledger.unhealthy_since.unwrap_or(now).after(guards.tolerance);
    if guards.tolerance > Duration::ZERO && ripe > now {
        let text = format!("not unhealthy for long enough; tolerated until {ripe}");
        return held(Action::Wait(ripe), Reason::Tolerance, text);
    }
    if let Some(until) = ledger.backoff_until(&guards.backoff).filter(|until| *until > now) {
        let text = format!("{} failed attempts; backoff until {until}", ledger.failures);
        return held(Action::Wait(until), Reason::Backoff, text);
    }
    if ledger.within(guards.attempts.per, now) >= guards.attempts.max as usize {
        let text = attempts_text(ledger, guards.attempts);
        return held(Action::Escalate, Reason::Attempts, text);
    }
    if facts.rung_from > now {
        let text = format!("the next rung of the ladder is due at {}", facts.rung_from);
        return held(Action::Wait(facts.rung_from), Reason::Grace, text);
    }
    None
}

/// The limit, when it gives way by itself, and which key moves it.
fn attempts_text(ledger: &Ledger, limit: Attempts) -> String {
    let tried = ledger.recent.iter().rev();
    let mut tried = tried.filter(|a| a.outcome != Outcome::Cancelled && !a.denied);
    let oldest = tried.nth((limit.max as usize).saturating_sub(1));
    let until =
        oldest.map_or_else(String::new, |a| format!("from {} on, or ", a.at.after(limit.per)));
    format!(
        "{} attempts within {}: more of the same does not help; a person must look; the next is made \
         {until}once `guards.attempts` of the response is raised; a changed file is in force within seconds",
        limit.max,
        crate::domain::base::time::format_duration(limit.per)
    )
}

#[cfg(test)]
mod tests;
