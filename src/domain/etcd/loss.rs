//! What a recovery loses: the expected bounds before it, the record of it afterwards, and the
//! sightings of a healthy cluster that both rest on.
//!
//! Does not choose a survivor or ask anybody. The one thing to know: the upper bound is unknown,
//! never 0, where nothing was seen shortly before the writes ended.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    evidence::{Epoch, Observed, Remembered, VoterSet},
    verdict::is_same_history,
};
use crate::domain::base::{
    id::{ClusterName, EtcdId, LossId, MemberName, RunId},
    time::Time,
};

/// How long sightings are kept: the time over which the write rate is taken.
const KEPT: Duration = Duration::from_mins(10);
/// A write rate is the highest over this long.
const RATE_OVER: Duration = Duration::from_secs(10);
/// Two sightings closer than this say nothing of a rate.
const RATE_LEAST: Duration = Duration::from_secs(1);
/// The last sighting must be this close to the first sample without a leader.
const SIGHTED_WITHIN: Duration = Duration::from_mins(1);

impl Observed {
    /// Folds the sighting of a voter set (a linearizable read) into the row.
    ///
    /// `known` is about the members that live and serve (`Judgement::remembered`); `recoveries` is
    /// how often quorate recovered this cluster. Another cluster id or another count begins an
    /// epoch: nothing seen before is comparable. Without a recovery of ours a set whose revision is
    /// below the last one is not believed (members that lost their memory answer like that), nor is
    /// one that is older than the row: the row then stays as it is.
    #[must_use]
    pub fn sighted(
        previous: Option<Self>,
        voters: VoterSet,
        known: Remembered,
        now: Time,
        recoveries: u32,
    ) -> Self {
        let epoch = Epoch { cluster_id: voters.cluster_id, recoveries };
        let recovered = previous.as_ref().is_some_and(|row| row.epoch.recoveries != recoveries);
        let (mut recent, mut all) = (Vec::new(), Remembered::default());
        if let Some(row) = previous.filter(|_| !recovered) {
            if now < row.at || !is_same_history(&voters, Some(&row)) {
                return row;
            }
            if row.epoch == epoch {
                let same_id = |name: &MemberName| {
                    let id = |set: &VoterSet| set.members.get(name).map(|listed| listed.id);
                    id(&row.voters).is_some() && id(&row.voters) == id(&voters)
                };
                all = Remembered { marks: row.marks.clone(), versions: row.versions.clone() };
                all.marks.retain(|name, _| same_id(name));
                all.versions.retain(|name, _| same_id(name));
                recent = row.recent;
            }
        }
        let listed = |(name, _): &(MemberName, String)| voters.members.contains_key(name);
        all.marks.extend(known.marks.into_iter().filter(listed));
        all.versions.extend(known.versions.into_iter().filter(listed));
        recent.retain(|(at, _)| now.since(*at) <= KEPT);
        recent.push((now, voters.revision));
        let Remembered { marks, versions } = all;
        Self { epoch, voters, at: now, recent, no_leader_since: None, marks, versions }
    }

    /// Folds a sample that found no leader anywhere: the first one since the last sighting is where
    /// the writes ended.
    #[must_use]
    pub fn leaderless(self, now: Time) -> Self {
        Self { no_leader_since: self.no_leader_since.or(Some(now)), ..self }
    }

    /// The highest increase per second over any ten seconds; `None` with fewer than two sightings.
    fn write_rate(&self, until: Time) -> Option<f64> {
        let seen: Vec<_> =
            self.recent.iter().filter(|(at, _)| *at <= until && until.since(*at) <= KEPT).collect();
        let mut highest = None;
        for (index, (at, revision)) in seen.iter().enumerate().skip(1) {
            // The longest stretch of at most ten seconds that ends here, else the last gap: all of
            // what was written in a longer gap may have been written within ten seconds of it.
            let begin = seen.iter().position(|(then, _)| at.since(*then) <= RATE_OVER);
            let (then, before) = seen[begin.unwrap_or(index).min(index - 1)];
            let over = at.since(*then).clamp(RATE_LEAST, RATE_OVER).as_secs_f64();
            let rate = real(count(*revision, *before)) / over;
            highest = Some(f64::max(rate, highest.unwrap_or(0.0)));
        }
        highest
    }
}

/// What going on with a survivor is expected to lose, in revisions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// At least this many: the last revision ever seen less the survivor's.
    pub lower: u64,
    /// At most this many; `None` is unknown, which is outside every budget.
    pub upper: Option<u64>,
    /// The last sighting and the highest revision seen, in this epoch.
    pub last_seen: Option<(Time, i64)>,
    /// The highest write rate before the sighting, in revisions per second.
    pub write_rate_per_s: f64,
    /// From the last sighting to the first sample that found no leader.
    pub age: Duration,
}

impl Loss {
    /// The loss expected of a survivor at `revision`, which belongs to `epoch`.
    ///
    /// `prometheus` is the highest revision that Prometheus scraped before the outage. It raises
    /// what was seen, but is no sighting: it has no time, and by itself does not say which history
    /// it belongs to. Without a sample that found no leader the writes end at `now`.
    pub fn expected(
        observed: Option<&Observed>,
        prometheus: Option<i64>,
        epoch: Epoch,
        revision: i64,
        now: Time,
    ) -> Self {
        let Some(row) = observed.filter(|row| row.epoch == epoch) else {
            let age = Duration::ZERO;
            return Self { lower: 0, upper: None, last_seen: None, write_rate_per_s: 0.0, age };
        };
        let ended = row.no_leader_since.unwrap_or(now);
        let at = row.at;
        let polled = row.recent.iter().map(|(_, revision)| *revision);
        let highest = polled.chain(prometheus).fold(row.voters.revision, i64::max);
        let rate = row.write_rate(at);
        let age = ended.since(at);
        let lower = count(highest, revision);
        let upper = rate
            .filter(|_| age <= SIGHTED_WITHIN)
            .map(|rate| lower.saturating_add(whole(rate * age.as_secs_f64())));
        let write_rate_per_s = rate.unwrap_or(0.0);
        Self { lower, upper, last_seen: Some((at, highest)), write_rate_per_s, age }
    }
}

/// `to - from`, never below 0.
fn count(to: i64, from: i64) -> u64 {
    u64::try_from(to.saturating_sub(from)).unwrap_or(0)
}

#[expect(clippy::cast_precision_loss, reason = "a rate of 2^52 writes per second does not occur")]
fn real(count: u64) -> f64 {
    count as f64
}

/// Rounded up.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and a rate times an age is never negative"
)]
fn whole(count: f64) -> u64 {
    count.ceil() as u64
}

/// Whether somebody took note of a possible loss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossState {
    /// Nobody did: no second automatic destructive run.
    Possible,
    /// A person did.
    Acknowledged {
        /// Who.
        by: String,
        /// With which words.
        reason: String,
        /// When.
        at: Time,
    },
}

/// The record of what a recovery may have lost: written once, when the rebuilt member is first
/// healthy and its own leader, and kept for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossRecord {
    /// Its id.
    pub id: LossId,
    /// The cluster.
    pub cluster: ClusterName,
    /// The run that recovered it.
    pub run: RunId,
    /// The member whose data was kept.
    pub survivor: MemberName,
    /// Its id at that time.
    pub survivor_id: EtcdId,
    /// The revision that was kept, before any bump.
    pub retained_revision: i64,
    /// Raft term of the rebuilt member.
    pub raft_term: u64,
    /// Raft index of the rebuilt member.
    pub raft_index: u64,
    /// The highest revision ever seen in this epoch, if one was.
    pub last_seen_revision: Option<i64>,
    /// At least this many revisions are lost.
    pub lower: u64,
    /// At most this many; `None` is unknown.
    pub upper: Option<u64>,
    /// WAL entries that etcd logged as discarded, where it did.
    pub discarded_entries: Option<u64>,
    /// The ids of the members that were rebuilt.
    pub rebuilt: Vec<EtcdId>,
    /// When it was written.
    pub at: Time,
    /// etcd's version, as `3.5.16`.
    pub version: String,
    /// Whether it was acknowledged.
    pub state: LossState,
}

impl LossRecord {
    /// Whether nobody acknowledged it yet.
    pub fn is_open(&self) -> bool {
        self.state == LossState::Possible
    }
}

#[cfg(test)]
mod tests;
