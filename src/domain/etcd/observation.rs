//! One look at a cluster and what it says: readings, verdict, and where quorum is lost the survivor
//! by what is known without stopping anything, with what a rebuild from it would lose.

use std::collections::BTreeMap;

use super::{
    evidence::{Attestation, Evidence, Held, Observed},
    loss::Loss,
    verdict::{self, Judgement, Quorum},
};
use crate::domain::base::{
    id::{EtcdId, MemberName},
    time::Time,
};

/// One look and what it says.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The readings.
    pub evidence: Evidence,
    /// What they say.
    pub judgement: Judgement,
    /// The best survivor among members whose revision is known, where quorum is lost.
    pub survivor: Option<String>,
    /// What a rebuild from it would lose.
    pub loss: Option<Loss>,
}

/// What is known of a cluster beside one look at it.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// What was seen while it had a leader.
    pub observed: Option<&'a Observed>,
    /// The highest revision that Prometheus holds from before the outage.
    pub prometheus_max: Option<i64>,
    /// What people say of members.
    pub attested: &'a BTreeMap<MemberName, Attestation>,
    /// The cluster that the open run built anew.
    pub built: Option<EtcdId>,
}

impl Observation {
    /// Draws the verdict, with what a run holds.
    pub fn judge(evidence: Evidence, held: &Held, known: Known<'_>, now: Time) -> Self {
        let Known { observed, attested, built, .. } = known;
        let judgement = verdict::judge(&evidence, observed, attested, held, built, now);
        let survivor = best_survivor(&judgement);
        let loss = survivor.as_ref().and_then(|(_, revision)| known.expect_loss(*revision, now));
        Self { evidence, judgement, survivor: survivor.map(|(name, _)| name), loss }
    }
}

impl Known<'_> {
    /// What a rebuild from a survivor at this revision is expected to lose; `None` where nothing
    /// was ever seen.
    pub fn expect_loss(&self, revision: i64, now: Time) -> Option<Loss> {
        let row = self.observed?;
        Some(Loss::expected(Some(row), self.prometheus_max, row.epoch, revision, now))
    }
}

fn best_survivor(judgement: &Judgement) -> Option<(String, i64)> {
    if !matches!(judgement.quorum, Quorum::Lost { .. }) {
        return None;
    }
    let known = judgement.members.iter().filter(|(_, state)| state.voter && !state.gone);
    let known = known.filter_map(|(name, state)| Some((name.to_string(), state.revision?)));
    known.max_by_key(|(_, revision)| *revision)
}
