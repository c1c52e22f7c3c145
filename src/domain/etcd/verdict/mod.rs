//! Verdicts: what the evidence says about a cluster's quorum, each with a reason.
//!
//! [`judge`] is the only way in: one look, what was observed while all was well, what people
//! attested and what a run holds go in; a [`Judgement`] comes out. It does not count samples, wait
//! or decide: one look is one sample. The one thing to know: unknown is an answer of its own,
//! neither healthy nor down, and only positive statements lead to `lost`.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::evidence::{DataState, Evidence, Permanence, Remembered};
use crate::domain::base::id::{EtcdId, HostName, MemberName};

#[cfg(test)]
pub(crate) mod fixtures;
mod member;
mod quorum;
#[cfg(test)]
mod tests;

pub(super) use quorum::is_same_history;
pub use quorum::judge;

/// What one look says about the quorum of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quorum {
    /// No voter set was ever seen: never acted on.
    Forming,
    /// At most one voter: never destructive.
    Single,
    /// Every voter lives and follows one leader.
    Healthy,
    /// There is a leader, but not every voter is known to follow it.
    Degraded {
        /// Voters that are gone or unreachable; one that is merely unknown is not among them.
        down: Vec<MemberName>,
        /// How many more of the voters that are known to work may be lost.
        can_lose: usize,
    },
    /// Enough voters live, none has a leader: diagnose, never force.
    LeaderlessAlive,
    /// So many voters are gone or unreachable that the others cannot elect a leader.
    Lost {
        /// Voters that are alive; may be none.
        survivors: Vec<MemberName>,
        /// Whether every dead voter has a permanence class.
        permanent: bool,
    },
    /// The evidence does not say.
    Unknown,
}

impl Quorum {
    /// The word in labels, JSON and expressions.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Forming => "forming",
            Self::Single => "single",
            Self::Healthy => "healthy",
            Self::Degraded { .. } => "degraded",
            Self::LeaderlessAlive => "leaderless_alive",
            Self::Lost { .. } => "lost",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Quorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// What one look says about one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a reading of its own, not a state")]
pub struct MemberState {
    /// Its id by the member list; by its own word where no list names it.
    pub id: Option<EtcdId>,
    /// The host it stands on; empty for a member that the inventory does not know.
    pub host: HostName,
    /// Whether it votes, by the member list.
    pub voter: bool,
    /// Whether it is a learner, by the member list; `None` where no list can be trusted.
    pub learner: Option<bool>,
    /// True, false (gone or unreachable), or unknown.
    pub alive: Option<bool>,
    /// Whether it is dead by a positive statement rather than by silence.
    pub gone: bool,
    /// Whether its client port answered us; proves nothing about the other side.
    pub serving: bool,
    /// Whether it is the leader.
    pub leader: Option<bool>,
    /// Its store's revision, by its own word.
    pub revision: Option<i64>,
    /// What stands in its data directory.
    pub data: Option<DataState>,
    /// Why it will not come back; only where it is dead.
    pub permanence: Option<Permanence>,
    /// Whether a run stopped, masked or moved it: then these are its readings from before.
    pub held: bool,
    /// Why it counts as it does: one sentence for people.
    pub why: String,
}

/// What one look says about a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// The verdict.
    pub quorum: Quorum,
    /// Why, as a sentence for whoever was woken.
    pub reason: String,
    /// The leader, where two readings agree on it.
    pub leader: Option<MemberName>,
    /// The voters that were counted, in order.
    pub voters: Vec<MemberName>,
    /// Whether the voters come from a linearizable read in this look.
    pub voters_current: bool,
    /// Every member of the inventory and of the voter set.
    pub members: BTreeMap<MemberName, MemberState>,
    /// Why we are blind, if we are.
    pub blind: Option<String>,
}

impl Judgement {
    /// Leaves out what rests on the member list last seen, where this look read none: a run that
    /// changes the membership must not act on the list from before its own change.
    pub fn trust_only_a_current_list(&mut self) {
        if self.voters_current {
            return;
        }
        self.voters.clear();
        self.members.values_mut().for_each(|member| member.learner = None);
    }

    /// What is worth remembering: of voters that live and serve. The mark of a member that lost its
    /// memory never gets in, so it stays recognisable.
    pub fn remembered(&self, evidence: &Evidence) -> Remembered {
        let fit = |name: &MemberName| {
            self.members.get(name).is_some_and(|member| {
                member.voter && member.serving && !member.held && member.alive == Some(true)
            })
        };
        let mut all = Remembered::default();
        for (name, member) in evidence.members.iter().filter(|(name, _)| fit(name)) {
            let mark = member.data.value().and_then(|data| data.mark.clone());
            all.marks.extend(mark.map(|mark| (name.clone(), mark)));
            let version = member.client.value().map(|status| status.version.clone());
            all.versions.extend(version.map(|version| (name.clone(), version)));
        }
        all
    }
}
