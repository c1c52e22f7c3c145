//! The table of verdicts: counts votes over the last linearizable voter set.
//!
//! Does not look at one member's readings (`member` does). The rows are tried in order and the
//! first that holds is the verdict. The one thing to know: `lost` is the last row but one, and
//! needs voters that are *proven* dead; a voter nobody knows about never counts towards it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Judgement, MemberState, Quorum,
    member::{self, Context, Seen},
};
use crate::domain::{
    base::{
        id::{EtcdId, MemberName},
        time::Time,
    },
    etcd::evidence::{Attestation, ControlReading, Evidence, Held, Observed, VoterSet},
};

/// Judges one look at a cluster.
///
/// `held` are the members that a run stopped, masked or moved, with their readings from before;
/// `built` is the cluster that a run under way restored: it is believed whatever its revision.
/// A lone claim of a leader is unknown until a second voter or a linearizable read of the same look
/// confirms it, so no memory of earlier looks is needed.
pub fn judge(
    evidence: &Evidence,
    observed: Option<&Observed>,
    attested: &BTreeMap<MemberName, Attestation>,
    held: &Held,
    built: Option<EtcdId>,
    now: Time,
) -> Judgement {
    let believed =
        |set: &&VoterSet| built == Some(set.cluster_id) || is_same_history(set, observed);
    let current = evidence.voters.as_ref().filter(believed);
    let set = current.or_else(|| observed.map(|observed| &observed.voters));
    let mut seen: BTreeMap<MemberName, Seen> = BTreeMap::new();
    for (name, readings) in &evidence.members {
        let context =
            Context { set, observed, attested: attested.get(name), before: held.get(name), now };
        seen.insert(name.clone(), member::see(name, readings, context));
    }
    for (name, listed) in set.iter().flat_map(|set| &set.members) {
        seen.entry(name.clone()).or_insert_with(|| member::stranger(listed));
    }

    let blind = blindness(&evidence.control);
    let groups: BTreeSet<_> = evidence.members.values().flat_map(member::groups).collect();
    let table = Table {
        voters: set.map(|set| set.voters().map(|(name, _)| name.clone()).collect()),
        confirmed: current.is_some(),
        two_groups: groups.len() >= 2,
        seen: &seen,
    };
    let leader = table.leader();
    let (quorum, mut reason) = table.verdict(leader, blind.as_deref());
    if evidence.voters.is_some() && current.is_none() {
        reason.push_str("; a cluster answers whose revision is below the one last seen: another history, not believed. If somebody restored it on purpose, it is believed once it has passed that revision");
    }
    let voters = table.voters.clone().unwrap_or_default();
    let leader = leader.and_then(|leader| leader.id);
    let named = |seen: &Seen| leader.is_some() && seen.state.id == leader;
    Judgement {
        quorum,
        reason,
        leader: seen.iter().find(|(_, seen)| named(seen)).map(|(name, _)| name.clone()),
        voters,
        voters_current: current.is_some(),
        blind,
        members: seen.into_iter().map(|(name, seen)| (name, with_leader(seen, leader))).collect(),
    }
}

/// Whether a voter set continues what was observed. A revision never goes back within one history:
/// a set that was read below the last one comes from members that lost their memory.
pub(crate) fn is_same_history(set: &VoterSet, observed: Option<&Observed>) -> bool {
    observed.is_none_or(|observed| set.revision >= observed.voters.revision)
}

fn with_leader(seen: Seen, leader: Option<EtcdId>) -> MemberState {
    let mut state = seen.state;
    state.leader = match (leader, state.id) {
        (Some(leader), Some(id)) => Some(leader == id),
        (Some(_), None) => None,
        (None, id) => {
            let says_no = state.serving && (seen.follows.is_none() || seen.follows != id);
            says_no.then_some(false)
        }
    };
    state
}

fn blindness(control: &[ControlReading]) -> Option<String> {
    let reached = control.iter().filter(|target| target.reachable).count();
    if control.is_empty() || (reached > 0 && reached * 2 >= control.len()) {
        return None;
    }
    let lost: Vec<_> = control.iter().filter(|t| !t.reachable).map(|t| t.target.as_str()).collect();
    Some(format!(
        "only {reached} of {} control targets answer us (silent: {})",
        control.len(),
        lost.join(", ")
    ))
}

/// A leader that is established; without id where only a linearizable read proves it.
#[derive(Clone, Copy)]
struct Leader {
    id: Option<EtcdId>,
}

struct Table<'a> {
    voters: Option<Vec<MemberName>>,
    /// A linearizable read succeeded in this look.
    confirmed: bool,
    two_groups: bool,
    seen: &'a BTreeMap<MemberName, Seen>,
}

impl Table<'_> {
    /// The leader on which two readings agree: two members name it, one names it and it agrees, or
    /// a linearizable read of this look proves that there is one.
    fn leader(&self) -> Option<Leader> {
        let mut claims: BTreeMap<EtcdId, (usize, u64)> = BTreeMap::new();
        for (leader, term) in self.seen.values().filter_map(|seen| seen.claim) {
            let (count, newest) = claims.entry(leader).or_default();
            *count += 1;
            *newest = term.max(*newest);
        }
        for (leader, (count, _)) in &mut claims {
            let agrees = |seen: &&Seen| {
                seen.state.id == Some(*leader) && seen.claim.is_none() && seen.has_leader
            };
            *count += self.seen.values().filter(agrees).count();
        }
        let most = claims.into_iter().max_by_key(|(_, weight)| *weight);
        let id = most.filter(|(_, (count, _))| self.confirmed || *count >= 2).map(|(id, _)| id);
        (self.confirmed || id.is_some()).then_some(Leader { id })
    }

    /// The rows, in their order.
    fn verdict(&self, leader: Option<Leader>, blind: Option<&str>) -> (Quorum, String) {
        let Some(voters) = &self.voters else {
            return (Quorum::Forming, "no quorum of this cluster was ever seen".into());
        };
        if let Some(blind) = blind {
            return (Quorum::Unknown, format!("we may be the ones who are cut off: {blind}"));
        }
        if voters.len() <= 1 {
            return (Quorum::Single, "the cluster has a single voter".into());
        }
        if let Some(leader) = leader {
            return self.led(voters, leader);
        }
        if let Some(claimant) = self.lone_claim() {
            let reason = format!("only {claimant} says that there is a leader; not confirmed yet");
            return (Quorum::Unknown, reason);
        }
        self.leaderless(voters)
    }

    fn lone_claim(&self) -> Option<&MemberName> {
        self.seen
            .iter()
            .find(|(_, seen)| seen.claim.is_some() || seen.has_leader)
            .map(|(name, _)| name)
    }

    fn led(&self, voters: &[MemberName], leader: Leader) -> (Quorum, String) {
        let works = |name: &&MemberName| {
            let seen = &self.seen[*name];
            let follows = match (leader.id, seen.follows) {
                (Some(leader), Some(named)) => leader == named,
                (None, Some(_)) => true,
                (_, None) => seen.follows_some,
            };
            follows && seen.state.alive == Some(true)
        };
        let who = leader.id.and_then(|id| {
            self.seen.iter().find(|(_, seen)| seen.state.id == Some(id)).map(|(name, _)| name)
        });
        let who = who.map_or("a leader".into(), |name| format!("leader {name}"));
        if voters.iter().all(|name| works(&name)) {
            return (Quorum::Healthy, format!("all {} voters follow {who}", voters.len()));
        }
        let working =
            voters.iter().filter(|name| works(name) && !self.seen[*name].state.held).count();
        let can_lose = working.saturating_sub(majority(voters.len()));
        let down = self.with_alive(voters, Some(false));
        let others: Vec<_> =
            voters.iter().filter(|name| !works(name) && !down.contains(name)).cloned().collect();
        let part = |what: &str, members: &[MemberName]| match members {
            [] => String::new(),
            some => format!(", {what}: {}", self.explain(some)),
        };
        let reason = format!(
            "{who} has a quorum{}{}; {can_lose} more may fail",
            part("down", &down),
            part("not known to follow", &others)
        );
        (Quorum::Degraded { down, can_lose }, reason)
    }

    fn leaderless(&self, voters: &[MemberName]) -> (Quorum, String) {
        let needed = majority(voters.len());
        let total = voters.len();
        let alive = self.with_alive(voters, Some(true));
        let dead = self.with_alive(voters, Some(false));
        if alive.len() >= needed {
            let reason = format!(
                "{} of {total} voters are alive ({needed} are needed), but none has a leader: look at \
                 peer certificates, peer ports, clocks, disks and NOSPACE",
                alive.len(),
            );
            return (Quorum::LeaderlessAlive, reason);
        }
        let unknown = self.with_alive(voters, None);
        if total - dead.len() >= needed {
            let reason = format!(
                "no voter has a leader, and too little is known of {}",
                self.explain(&unknown)
            );
            return (Quorum::Unknown, reason);
        }
        if !self.two_groups {
            let reason = "the voters are silent, but there is one way only to look at them".into();
            return (Quorum::Unknown, reason);
        }
        let permanent = dead.iter().all(|name| self.seen[name].state.permanence.is_some());
        let living = match alive.as_slice() {
            [] => "no voter is known to live".to_owned(),
            some => format!("alive: {}", names(some)),
        };
        let doubt = if permanent { "" } else { "; not all of them are proven to be gone for good" };
        let reason = format!(
            "{} of {total} voters are down and {needed} are needed: {}; {living}{doubt}",
            dead.len(),
            self.explain(&dead)
        );
        (Quorum::Lost { survivors: alive, permanent }, reason)
    }

    fn with_alive(&self, voters: &[MemberName], alive: Option<bool>) -> Vec<MemberName> {
        voters.iter().filter(|name| self.seen[*name].state.alive == alive).cloned().collect()
    }

    fn explain(&self, members: &[MemberName]) -> String {
        let one = |name: &MemberName| format!("{name} ({})", self.seen[name].state.why);
        members.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

fn names(members: &[MemberName]) -> String {
    members.iter().map(MemberName::as_str).collect::<Vec<_>>().join(", ")
}

/// How many of `voters` must agree.
fn majority(voters: usize) -> usize {
    voters / 2 + 1
}
