//! The ledger: per subject and response, what was tried and how it went. Never reset.
//!
//! Attempts, cooldown and backoff are read from here, so a restart or a new incident forgets
//! nothing. It decides nothing; `decision` does.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::domain::{
    base::{
        id::{ClusterName, PlaybookName, ResponseName, RunId},
        time::Time,
    },
    rules::response::Backoff,
    run::event::Outcome,
};

/// What an incident or a ledger is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Subject {
    /// The cluster.
    pub cluster: ClusterName,
    /// The response.
    pub response: ResponseName,
    /// The values of the response's subject labels other than `cluster`, in its order.
    pub labels: Vec<(String, String)>,
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.cluster)?;
        self.labels.iter().try_for_each(|(name, value)| write!(f, " {name}={value:?}"))
    }
}

/// One ended attempt: all rungs of one incident count once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The last run of it.
    pub run: RunId,
    /// The playbook of that run.
    pub playbook: PlaybookName,
    /// How it ended.
    pub outcome: Outcome,
    /// When it ended.
    pub at: Time,
    /// Whether a person had approved it; an automatic one counts for the daily limit.
    pub approved: bool,
    /// Whether its playbook destroys data and went past the point of no return.
    pub destructive: bool,
    /// Whether a person said no, or nobody answered: that holds the next question back, and uses
    /// none of the limit up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub denied: bool,
}

/// Attempts of one subject.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// Attempts by playbook and outcome: never reset.
    #[serde(with = "pairs")]
    pub total: BTreeMap<(PlaybookName, Outcome), u64>,
    /// The last attempts, oldest first; bounded by [`RECENT_MAX`].
    pub recent: Vec<Attempt>,
    /// The end of the last destructive attempt that no person approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_automatic: Option<Time>,
    /// Attempts that failed since the last success.
    pub failures: u32,
    /// Since when the subject is unhealthy.
    pub unhealthy_since: Option<Time>,
}

/// Attempts kept one by one: more than any `attempts.max` that makes sense within its window.
pub const RECENT_MAX: usize = 100;

impl Ledger {
    /// Folds an ended attempt in.
    pub fn ended(&mut self, attempt: Attempt) {
        *self.total.entry((attempt.playbook.clone(), attempt.outcome)).or_default() += 1;
        match attempt.outcome {
            Outcome::Succeeded => self.failures = 0,
            Outcome::Failed | Outcome::Undone | Outcome::Parked => self.failures += 1,
            Outcome::Cancelled => {} // it got well by itself: no backoff
        }
        if attempt.destructive && !attempt.approved {
            self.last_automatic = Some(attempt.at);
        }
        self.recent.push(attempt);
        if self.recent.len() > RECENT_MAX {
            self.recent.remove(0);
        }
    }

    /// All attempts ever.
    pub fn attempts(&self) -> u64 {
        self.total.values().sum()
    }

    /// The end of the last success.
    pub fn last_success(&self) -> Option<Time> {
        self.last(|outcome| outcome == Outcome::Succeeded)
    }

    /// The end of the last failure.
    pub fn last_failure(&self) -> Option<Time> {
        self.last(|outcome| matches!(outcome, Outcome::Failed | Outcome::Undone | Outcome::Parked))
    }

    fn last(&self, wanted: impl Fn(Outcome) -> bool) -> Option<Time> {
        self.recent.iter().rev().find(|attempt| wanted(attempt.outcome)).map(|attempt| attempt.at)
    }

    /// Attempts (cancelled and denied ones left out) that ended within `window` before `now`.
    pub fn within(&self, window: Duration, now: Time) -> usize {
        let counts = |attempt: &&Attempt| {
            let tried = attempt.outcome != Outcome::Cancelled && !attempt.denied;
            tried && now.since(attempt.at) < window
        };
        self.recent.iter().filter(counts).count()
    }

    /// Until when backoff holds the next attempt back: `initial × factor^(failures−1)`, at most
    /// `max`, plus a share of jitter that follows from the failure itself, so that it is the same
    /// after a restart and differs between clusters.
    pub fn backoff_until(&self, backoff: &Backoff) -> Option<Time> {
        let last = self.last_failure().filter(|_| self.failures > 0)?;
        let exponent = i32::try_from(self.failures.min(64) - 1).unwrap_or(63);
        let span = backoff.initial.as_secs_f64() * backoff.factor.powi(exponent);
        let capped = span.min(backoff.max.as_secs_f64());
        let seed = self.recent.last().map_or(0, |attempt| attempt.run.0.as_u128() % 1000);
        #[expect(clippy::cast_precision_loss, reason = "below 1000")]
        let share = seed as f64 / 1000.0;
        Some(last.after(Duration::from_secs_f64(capped * (1.0 + backoff.jitter * share))))
    }
}

/// A map as a list: JSON has no keys but text.
mod pairs {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::{BTreeMap, Outcome, PlaybookName};

    type Total = BTreeMap<(PlaybookName, Outcome), u64>;

    pub(super) fn serialize<S: Serializer>(total: &Total, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(total)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Total, D::Error> {
        Vec::<((PlaybookName, Outcome), u64)>::deserialize(from)
            .map(|pairs| pairs.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(outcome: Outcome, at: i64) -> Attempt {
        Attempt {
            run: RunId(uuid::Uuid::from_u128(0)),
            playbook: "p".into(),
            outcome,
            at: Time(at),
            approved: false,
            destructive: false,
            denied: false,
        }
    }

    /// Rows: B18.
    #[test]
    fn the_total_is_never_reset_although_single_attempts_are_forgotten() {
        let mut ledger = Ledger::default();
        for at in 0..250 {
            ledger.ended(attempt(Outcome::Failed, at));
        }
        assert_eq!((ledger.attempts(), ledger.recent.len()), (250, RECENT_MAX));
        ledger.ended(attempt(Outcome::Succeeded, 251));
        assert_eq!((ledger.attempts(), ledger.failures), (251, 0));
    }

    /// Who says no three times has not locked the fourth, approved attempt out.
    #[test]
    fn a_denied_attempt_holds_the_next_one_back_and_uses_none_of_the_limit_up() {
        let mut ledger = Ledger::default();
        ledger.ended(Attempt { denied: true, ..attempt(Outcome::Undone, 1000) });
        assert!(ledger.backoff_until(&Backoff::default()).is_some());
        assert_eq!(ledger.within(Duration::from_hours(24), Time(2000)), 0);
        ledger.ended(attempt(Outcome::Undone, 1500));
        assert_eq!(ledger.within(Duration::from_hours(24), Time(2000)), 1);
    }

    #[test]
    fn backoff_doubles_up_to_its_maximum_and_a_cancelled_attempt_is_no_failure() {
        let backoff = Backoff {
            initial: Duration::from_mins(1),
            factor: 2.0,
            max: Duration::from_hours(1),
            jitter: 0.1,
        };
        let mut ledger = Ledger::default();
        assert_eq!(ledger.backoff_until(&backoff), None);
        ledger.ended(attempt(Outcome::Cancelled, 5));
        assert_eq!(ledger.backoff_until(&backoff), None);
        for (failures, seconds) in [(1, 60), (2, 120), (3, 240), (4, 480)] {
            ledger.ended(attempt(Outcome::Undone, 1000));
            assert_eq!(ledger.failures, failures);
            assert_eq!(ledger.backoff_until(&backoff), Some(Time(1000 + seconds * 1000)));
        }
        (0..20).for_each(|_| ledger.ended(attempt(Outcome::Failed, 1000)));
        assert_eq!(ledger.backoff_until(&backoff), Some(Time(1000 + 3_600_000)));
    }
}
