//! The words of a decision: what to do, and the closed list of reasons not to act.

use std::fmt;

use crate::domain::base::time::Time;

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

impl Decision {
    /// Not to act, for this reason.
    pub(super) fn held(action: Action, reason: Reason, text: impl Into<String>) -> Self {
        Self { action, reason: Some(reason), text: text.into() }
    }
}
