//! The decision: run, wait, skip, ask or escalate, always with one reason.
//!
//! Pure: all it knows stands in [`Facts`]. The guards are asked in the order of the safety page and
//! the first that holds is the reason; none is asked twice. Nothing here acts.

use std::{fmt, time::Duration};

use super::ledger::Ledger;
use crate::domain::{
    base::{
        id::{LossId, ResponseName, RunId},
        time::Time,
    },
    rules::{
        playbook::model::Destroys,
        response::{Attempts, Backoff, Guards},
    },
    run::event::Outcome,
};

/// Why quorate does not act: a closed list, the `reason` of `quorate_repair_skips_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// No voter set was ever seen: a cluster that is still forming is never acted on.
    Forming,
    /// The verdict has not held for the whole grace yet.
    Grace,
    /// The evidence says something else.
    NotConfirmed,
    /// The evidence says nothing.
    Unknown,
    /// We ourselves are cut off.
    Blind,
    /// A quorum incident of the same cluster goes first.
    Inhibited,
    /// A person paused the cluster.
    Paused,
    /// A maintenance window.
    Maintenance,
    /// Every alert of the trigger is silenced.
    Silenced,
    /// Another run works on the cluster.
    Conflict,
    /// Too soon after a success.
    Cooldown,
    /// Not unhealthy for long enough.
    Tolerance,
    /// Too soon after a failure.
    Backoff,
    /// Too many attempts.
    Attempts,
    /// Too many nodes unhealthy at once.
    Budget,
    /// A version that cannot be repaired this way.
    Version,
    /// A tool, a host or a right is missing.
    Capability,
    /// A dead member may still come back.
    Permanence,
    /// Nobody holds the data.
    NoSurvivor,
    /// More could be lost than the cluster allows.
    LossBudget,
    /// An earlier loss is not acknowledged.
    LossOpen,
    /// One automatic destructive run per day.
    DailyLimit,
    /// A person has to answer.
    Approval,
    /// The patient holds our own journal.
    OwnStore,
    /// The ladder has no playbook for this.
    NoPlaybook,
}

impl Reason {
    /// Every reason, in the order of the contract.
    pub const ALL: [Self; 25] = [
        Self::Forming,
        Self::Grace,
        Self::NotConfirmed,
        Self::Unknown,
        Self::Blind,
        Self::Inhibited,
        Self::Paused,
        Self::Maintenance,
        Self::Silenced,
        Self::Conflict,
        Self::Cooldown,
        Self::Tolerance,
        Self::Backoff,
        Self::Attempts,
        Self::Budget,
        Self::Version,
        Self::Capability,
        Self::Permanence,
        Self::NoSurvivor,
        Self::LossBudget,
        Self::LossOpen,
        Self::DailyLimit,
        Self::Approval,
        Self::OwnStore,
        Self::NoPlaybook,
    ];

    /// The word in labels, JSON and scenarios.
    pub fn label(self) -> &'static str {
        match self {
            Self::Forming => "forming",
            Self::Grace => "grace",
            Self::NotConfirmed => "not_confirmed",
            Self::Unknown => "unknown",
            Self::Blind => "blind",
            Self::Inhibited => "inhibited",
            Self::Paused => "paused",
            Self::Maintenance => "maintenance",
            Self::Silenced => "silenced",
            Self::Conflict => "conflict",
            Self::Cooldown => "cooldown",
            Self::Tolerance => "tolerance",
            Self::Backoff => "backoff",
            Self::Attempts => "attempts",
            Self::Budget => "budget",
            Self::Version => "version",
            Self::Capability => "capability",
            Self::Permanence => "permanence",
            Self::NoSurvivor => "no_survivor",
            Self::LossBudget => "loss_budget",
            Self::LossOpen => "loss_open",
            Self::DailyLimit => "daily_limit",
            Self::Approval => "approval",
            Self::OwnStore => "own_store",
            Self::NoPlaybook => "no_playbook",
        }
    }

    /// The reason that a word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.label() == word)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Dispatch the rung.
    Run,
    /// Not yet; look again at this time.
    Wait(Time),
    /// No.
    Skip,
    /// A person has to say something first.
    Ask,
    /// A person has to act: quorate cannot.
    Escalate,
}

impl Action {
    /// The word in JSON and scenarios.
    pub fn label(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Wait(_) => "wait",
            Self::Skip => "skip",
            Self::Ask => "ask",
            Self::Escalate => "escalate",
        }
    }
}

/// A decision with its reason (`None` only for `run`) and what a person reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What to do.
    pub action: Action,
    /// Why not to act.
    pub reason: Option<Reason>,
    /// One sentence for people: what holds it back and what would change that.
    pub text: String,
}

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

/// What the evidence allows a playbook that destroys data or a member.
#[derive(Clone, Debug, PartialEq)]
pub struct Destruction<'a> {
    /// What the playbook may destroy.
    pub destroys: Destroys,
    /// `Err` names what is too old, unknown or mixed.
    pub version: Result<(), String>,
    /// `Err` names what is missing.
    pub capability: Result<(), String>,
    /// Whether anybody holds the data.
    pub has_survivor: bool,
    /// Dead members that might come back, with what would settle it.
    pub may_return: Vec<String>,
    /// Whether a person approves: then the loss budget, an open loss and the daily limit are hers.
    pub approved_by_person: bool,
    /// Upper bound of the expected loss; `None` is unknown, outside every budget.
    pub loss_upper: Option<u64>,
    /// Whether the survivor must be stopped and read first, so that its revision is not known yet;
    /// the run then asks this guard again at its `approve` step.
    pub loss_is_deferred: bool,
    /// What may be lost.
    pub loss_budget: u64,
    /// A loss that nobody acknowledged.
    pub open_loss: Option<LossId>,
    /// The last automatic destructive run, where it was less than a day ago.
    pub last_automatic: Option<Time>,
    /// Whether the patient holds our own journal, and how that is known.
    pub own_store: Option<&'a str>,
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
    /// For playbooks that destroy something.
    pub destruction: Option<Destruction<'a>>,
}

/// Decides. The order is that of the safety page; the first guard that holds is the reason.
pub fn decide(facts: &Facts<'_>) -> Decision {
    standing(facts)
        .or_else(|| confirmation(facts))
        .or_else(|| pace(facts))
        .or_else(|| facts.destruction.as_ref().and_then(|what| destruction(facts, what)))
        .unwrap_or_else(|| Decision {
            action: Action::Run,
            reason: None,
            text: "confirmed, and no guard holds it back".into(),
        })
}

#[expect(clippy::unnecessary_wraps, reason = "every guard answers with an option")]
fn held(action: Action, reason: Reason, text: impl Into<String>) -> Option<Decision> {
    Some(Decision { action, reason: Some(reason), text: text.into() })
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
         {until}after `guards.attempts` of the response was raised and quorate restarted",
        limit.max,
        crate::domain::base::time::format_duration(limit.per)
    )
}

/// version, capability, `no_survivor`, permanence, `loss_budget`, `loss_open`, `daily_limit`, `own_store`.
fn destruction(facts: &Facts<'_>, what: &Destruction<'_>) -> Option<Decision> {
    if what.destroys == Destroys::Nothing {
        return None;
    }
    if let Err(why) = &what.version {
        return held(Action::Skip, Reason::Version, why.as_str());
    }
    if let Err(why) = &what.capability {
        return held(Action::Skip, Reason::Capability, why.as_str());
    }
    let data = what.destroys == Destroys::Data;
    if data && !what.has_survivor {
        let text = "no voter holds its data any more: nothing can be rebuilt from a member; restore \
                    the newest backup by hand";
        return held(Action::Escalate, Reason::NoSurvivor, text);
    }
    if !what.may_return.is_empty() {
        let text = format!(
            "these may still come back: {}; bring them back, or `quorate attest` that they are gone",
            what.may_return.join("; ")
        );
        return held(Action::Ask, Reason::Permanence, text);
    }
    if data
        && !what.approved_by_person
        && let Some(decision) = budget(facts, what)
    {
        return Some(decision);
    }
    what.own_store.and_then(|why| held(Action::Skip, Reason::OwnStore, why))
}

/// What only binds a run that no person approves: `loss_budget`, `loss_open`, `daily_limit`.
fn budget(facts: &Facts<'_>, what: &Destruction<'_>) -> Option<Decision> {
    if !what.loss_is_deferred && what.loss_upper.is_none_or(|upper| upper > what.loss_budget) {
        let upper = what.loss_upper.map_or("unknown".to_owned(), |upper| upper.to_string());
        let text = format!(
            "up to {upper} revisions could be lost, the cluster's loss_budget is {}: in quorate.yaml, \
             set `mode: propose` so that a person is asked, or raise `loss_budget.revisions`; then \
             restart quorate",
            what.loss_budget
        );
        return held(Action::Ask, Reason::LossBudget, text);
    }
    if let Some(loss) = what.open_loss {
        let text = format!("{loss} is not acknowledged: `quorate ack {loss}` first");
        return held(Action::Ask, Reason::LossOpen, text);
    }
    let until = what.last_automatic?.after(Duration::from_hours(24));
    if until > facts.now {
        let text = format!(
            "one automatic destructive run per day; the next not before {until}; to be asked \
             sooner, set `mode: propose` in quorate.yaml and restart quorate"
        );
        return held(Action::Wait(until), Reason::DailyLimit, text);
    }
    None
}

#[cfg(test)]
mod tests;
