//! The guards that a playbook brings along by what it declares: a list, asked in its order.
//!
//! Each carries what it was found to be when the list was made, so that it answers by itself. Who
//! makes the list ([`crate::domain::cell`]) decides which of them a playbook needs; a guard that does
//! not bind is not in it. What binds every playbook alike stands in [`super::decision`].

use std::time::Duration;

use super::reason::{Action, Decision, Reason};
use crate::domain::base::{id::LossId, time::Time};

/// The window of [`Guard::DailyLimit`].
const DAY: Duration = Duration::from_hours(24);

/// One reason not to run a playbook that destroys something, with what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The versions found can be repaired this way; `Err` names what is too old, unknown or mixed.
    Version(Result<(), String>),
    /// Tools, hosts and rights are there; `Err` names what is missing.
    Capability(Result<(), String>),
    /// Some voter holds the data.
    Survivor {
        /// Whether one does.
        is_there: bool,
    },
    /// Nobody who is dead can come back.
    Permanence {
        /// Those who might, with what would settle it.
        may_return: Vec<String>,
    },
    /// No more is lost than the cluster allows.
    LossBudget {
        /// Upper bound of the expected loss, in revisions; `None` is unknown, outside every budget.
        upper: Option<u64>,
        /// What may be lost, in revisions.
        budget: u64,
    },
    /// Every earlier loss is acknowledged; else the one that is not.
    LossOpen(Option<LossId>),
    /// One automatic destructive run per day; the last one, if any.
    DailyLimit(Option<Time>),
    /// The cluster does not hold our own journal; else how that is known.
    OwnStore(Option<&'static str>),
}

impl Guard {
    /// What it says now, if it holds the playbook back.
    pub fn decision(&self, now: Time) -> Option<Decision> {
        match self {
            Self::Version(found) => refused(Reason::Version, found),
            Self::Capability(found) => refused(Reason::Capability, found),
            Self::Survivor { is_there } => (!is_there).then(no_survivor),
            Self::Permanence { may_return } => permanence(may_return),
            Self::LossBudget { upper, budget } => loss_budget(*upper, *budget),
            Self::LossOpen(loss) => loss.map(|loss| {
                let text = format!("{loss} is not acknowledged: `quorate ack {loss}` first");
                Decision::held(Action::Ask, Reason::LossOpen, text)
            }),
            Self::DailyLimit(last) => last.and_then(|last| daily_limit(last, now)),
            Self::OwnStore(why) => {
                why.map(|why| Decision::held(Action::Skip, Reason::OwnStore, why))
            }
        }
    }
}

fn refused(reason: Reason, found: &Result<(), String>) -> Option<Decision> {
    let why = found.as_ref().err()?;
    Some(Decision::held(Action::Skip, reason, why.as_str()))
}

fn no_survivor() -> Decision {
    let text = "no voter holds its data any more: nothing can be rebuilt from a member; restore the \
                newest backup by hand";
    Decision::held(Action::Escalate, Reason::NoSurvivor, text)
}

fn permanence(may_return: &[String]) -> Option<Decision> {
    if may_return.is_empty() {
        return None;
    }
    let text = format!(
        "these may still come back: {}; bring them back, or `quorate attest` that they are gone",
        may_return.join("; ")
    );
    Some(Decision::held(Action::Ask, Reason::Permanence, text))
}

fn loss_budget(upper: Option<u64>, budget: u64) -> Option<Decision> {
    if upper.is_some_and(|upper| upper <= budget) {
        return None;
    }
    let upper = upper.map_or("unknown".to_owned(), |upper| upper.to_string());
    let text = format!(
        "up to {upper} revisions could be lost, the cluster's loss_budget is {budget}: in its entry of \
         `clusters`, set `mode: propose` so that a person is asked, or raise `loss_budget.revisions`; \
         a changed file is in force within seconds"
    );
    Some(Decision::held(Action::Ask, Reason::LossBudget, text))
}

fn daily_limit(last: Time, now: Time) -> Option<Decision> {
    let until = last.after(DAY);
    if until <= now {
        return None;
    }
    let text = format!(
        "one automatic destructive run per day; the next not before {until}; to be asked sooner, set \
         `mode: propose` in the cluster's entry of `clusters`; a changed file is in force within seconds"
    );
    Some(Decision::held(Action::Wait(until), Reason::DailyLimit, text))
}
