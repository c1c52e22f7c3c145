//! One member: alive, gone, unreachable or unknown, and what it says of a leader.
//!
//! Does not count votes. The one thing to know: a positive answer always beats silence, an answer
//! under another id proves nothing, and a process on another directory than the one that was
//! trusted has forgotten what it promised.

use std::collections::BTreeSet;

use super::MemberState;
use crate::domain::{
    base::{
        id::{EtcdId, HostName, MemberName},
        time::Time,
    },
    etcd::{
        evidence::{
            Attestation, Data, DataState, ListedMember, MemberEvidence, Observed, Permanence,
            Status, VoterSet,
        },
        reading::{Cause, Reading, Vantage},
    },
};

/// What is known of a member besides its readings.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) set: Option<&'a VoterSet>,
    pub(super) observed: Option<&'a Observed>,
    pub(super) attested: Option<&'a Attestation>,
    pub(super) before: Option<&'a MemberEvidence>,
    pub(super) now: Time,
}

/// A member's state and what it says of a leader.
pub(super) struct Seen {
    pub(super) state: MemberState,
    /// The leader it names *now*, where its word counts, and the term it says so in.
    pub(super) claim: Option<(EtcdId, u64)>,
    /// Whether it says *now* that there is a leader, without a name.
    pub(super) has_leader: bool,
    /// The leader by its readings, those from before where it is held.
    pub(super) follows: Option<EtcdId>,
    /// The same without a name.
    pub(super) follows_some: bool,
}

enum Life {
    Alive,
    Gone,
    Unreachable,
    Unknown,
}

/// A member of the voter set that the inventory does not know: nobody can be asked about it.
pub(super) fn stranger(listed: &ListedMember) -> Seen {
    let state = MemberState {
        id: Some(listed.id),
        host: HostName::from(""),
        voter: !listed.learner,
        learner: Some(listed.learner),
        alive: None,
        gone: false,
        serving: false,
        leader: None,
        revision: None,
        data: None,
        permanence: None,
        held: false,
        why: "the inventory does not know it, so nobody was asked".into(),
    };
    Seen { state, claim: None, has_leader: false, follows: None, follows_some: false }
}

/// The groups that were asked about this member.
pub(super) fn groups(readings: &MemberEvidence) -> BTreeSet<Vantage> {
    let network = readings.client.asked() || readings.peer.asked() || readings.metrics.asked();
    let host = readings.process.asked() || readings.data.asked();
    let asked = [
        (Vantage::Network, network),
        (Vantage::Host, host),
        (Vantage::Prometheus, readings.up.asked()),
    ];
    asked.into_iter().filter(|(_, asked)| *asked).map(|(group, _)| group).collect()
}

/// Judges one member of the inventory.
pub(super) fn see(name: &MemberName, current: &MemberEvidence, context: Context<'_>) -> Seen {
    let listed = context.set.and_then(|set| set.members.get(name));
    let other_hand = context.before.is_some_and(|before| is_contradicted(current, before));
    let readings = context.before.filter(|_| !other_hand).unwrap_or(current);
    let who = Who { listed, cluster: context.set.map(|set| set.cluster_id) };

    let voter = listed.is_some_and(|listed| !listed.learner);
    let amnesia = (voter && !other_hand && !who.is_other(readings))
        .then(|| amnesia(name, readings, &context))
        .flatten();
    let word_counts = amnesia.is_none();
    let (life, why) = match (&amnesia, other_hand) {
        (_, true) => (Life::Alive, "this run holds it, yet it runs by another hand".into()),
        (Some(why), false) => (Life::Gone, why.clone()),
        (None, false) => life(readings, who),
    };
    let (life, why) = match (life, current_attestation(&context)) {
        (Life::Unknown, Some(word)) if !answers(readings) => (
            Life::Gone,
            format!("{} attested that it will not come back: {}", word.by, word.reason),
        ),
        (life, _) => (life, why),
    };
    let dead = matches!(life, Life::Gone | Life::Unreachable);
    let data = readings.data.value().map(|data| data.state);
    let data = if amnesia.is_some() { Some(DataState::Empty) } else { data };
    let state =
        MemberState {
            id: listed.map(|listed| listed.id).or_else(|| own_id(readings)),
            host: current.host.clone(),
            voter,
            learner: Some(listed.map_or_else(
                || status(readings).is_some_and(|s| s.learner),
                |listed| listed.learner,
            )),
            alive: match life {
                Life::Alive => Some(true),
                Life::Gone | Life::Unreachable => Some(false),
                Life::Unknown => None,
            },
            gone: matches!(life, Life::Gone),
            serving: readings.client.value().is_some(),
            leader: None,
            revision: revision(readings),
            data,
            permanence: dead.then(|| permanence(data, &context)).flatten(),
            held: context.before.is_some(),
            why,
        };
    let (claim, has_leader) = if word_counts { word(current, who) } else { (None, false) };
    let (follows, follows_some) = if word_counts { word(readings, who) } else { (None, false) };
    Seen { state, claim, has_leader, follows: follows.map(|(leader, _)| leader), follows_some }
}

/// Whether a held member contradicts the run that holds it: its process runs, and it is not the one
/// that ran before; or it answers, and it did not before.
fn is_contradicted(current: &MemberEvidence, before: &MemberEvidence) -> bool {
    let runs_anew = match (current.process.value(), before.process.value()) {
        (Some(Some(now)), Some(Some(then))) => {
            now.pid != then.pid
                || (now.started_at.is_some()
                    && then.started_at.is_some()
                    && now.started_at != then.started_at)
        }
        (Some(Some(_)), Some(None) | None) => true,
        (Some(None) | None, _) => false,
    };
    runs_anew || (current.client.value().is_some() && before.client.value().is_none())
}

/// Who a member must be to be the one that votes.
#[derive(Clone, Copy)]
struct Who<'a> {
    listed: Option<&'a ListedMember>,
    cluster: Option<EtcdId>,
}

impl Who<'_> {
    fn is(self, status: &Status) -> bool {
        self.listed.is_none_or(|listed| listed.id == status.member_id)
            && self.cluster.is_none_or(|cluster| cluster == status.cluster_id)
    }

    fn is_id(self, id: EtcdId) -> bool {
        self.listed.is_none_or(|listed| listed.id == id)
    }

    /// Somebody answers there, but under another id or of another cluster.
    fn is_other(self, readings: &MemberEvidence) -> bool {
        status(readings).is_some_and(|status| !self.is(status))
            || readings
                .metrics
                .value()
                .and_then(|metrics| metrics.member_id)
                .is_some_and(|id| !self.is_id(id))
    }

    /// The right member answers, and says so.
    fn answers(self, readings: &MemberEvidence) -> bool {
        status(readings).is_some_and(|status| self.is(status))
            || (status(readings).is_none()
                && readings
                    .metrics
                    .value()
                    .and_then(|metrics| metrics.member_id)
                    .is_some_and(|id| self.is_id(id)))
    }
}

/// What a member says of a leader: its name, and whether there is one. A learner keeps naming a
/// dead leader, and one that answers under another id speaks of another cluster: neither counts.
fn word(readings: &MemberEvidence, who: Who<'_>) -> (Option<(EtcdId, u64)>, bool) {
    if who.is_other(readings) {
        return (None, false);
    }
    match (status(readings), readings.metrics.value()) {
        (Some(status), _) if status.learner => (None, false),
        (Some(status), _) => {
            (status.leader.map(|leader| (leader, status.raft_term)), status.leader.is_some())
        }
        (None, Some(metrics)) => {
            let voter = who.listed.is_none_or(|listed| !listed.learner);
            (None, voter && metrics.learner != Some(true) && metrics.has_leader == Some(true))
        }
        (None, None) => (None, false),
    }
}

fn status(readings: &MemberEvidence) -> Option<&Status> {
    readings.client.value()
}

fn own_id(readings: &MemberEvidence) -> Option<EtcdId> {
    let metrics = || readings.metrics.value().and_then(|metrics| metrics.member_id);
    status(readings).map(|status| status.member_id).or_else(metrics)
}

/// The member's revision by its own word. An empty store is at 1; a gauge of 0 is a store that was
/// not read yet, so it says nothing.
fn revision(readings: &MemberEvidence) -> Option<i64> {
    let metrics = || readings.metrics.value().and_then(|metrics| metrics.revision);
    status(readings).map(|status| status.revision).or_else(metrics).filter(|revision| *revision > 0)
}

/// Whether a voter lives without the memory it voted with (a recreated volume under an old id).
///
/// - Its own revision is 1 while the cluster was seen further on: it is empty, whatever it calls
///   itself.
/// - It lives on another directory than the one it was last seen healthy on. It is still trusted
///   if its own revision is at least that of the last linearizable read: then it holds all that
///   was acknowledged by then, so its directory was moved or copied, not emptied. A lower revision
///   does not suffice: an emptied member that was written to again has one, too.
///
/// Both speak of a member that *runs*. Of a stopped one another directory proves nothing: it may
/// hold a copy, and only its revision could tell. A mark counts only for the id it was taken with:
/// a member that was removed and added again rightly stands on a new directory.
fn amnesia(name: &MemberName, readings: &MemberEvidence, context: &Context<'_>) -> Option<String> {
    let observed = context.observed?;
    let seen = observed.voters.revision;
    let revision = revision(readings);
    if revision == Some(1) && seen > 1 {
        return Some(format!("its store is empty, the cluster was seen at revision {seen}"));
    }
    let runs = matches!(readings.process.value(), Some(Some(_))) || answers(readings);
    let same_id = observed.voters.members.get(name).map(|listed| listed.id)
        == context.set.and_then(|set| set.members.get(name)).map(|listed| listed.id);
    let Data { mark: Some(mark), .. } = readings.data.value()? else { return None };
    let moved = same_id && observed.marks.get(name).is_some_and(|known| known != mark);
    let caught_up = revision.is_some_and(|revision| revision >= seen && revision > 1);
    (runs && moved && !caught_up).then(|| {
        let at = revision.map_or("unknown".into(), |revision| revision.to_string());
        format!("its data directory was recreated (revision {at}, the cluster was seen at {seen})")
    })
}

/// Whether anything answers that a dead member could not.
fn answers(readings: &MemberEvidence) -> bool {
    fn any<T>(reading: &Reading<T>) -> bool {
        match reading.cause() {
            None | Some(Cause::Tls | Cause::Auth | Cause::Unsupported | Cause::Conflicting) => true,
            Some(
                Cause::Timeout
                | Cause::Refused
                | Cause::Stale
                | Cause::Vanished
                | Cause::Blind
                | Cause::NotConfigured,
            ) => false,
        }
    }
    any(&readings.client)
        || any(&readings.peer)
        || any(&readings.metrics)
        || readings.up.value() == Some(&true)
}

fn life(readings: &MemberEvidence, who: Who<'_>) -> (Life, String) {
    let host = &readings.host;
    let process = readings.process.value().map(Option::is_some);
    let data = readings.data.value().map(|data| data.state);
    let empty = match data {
        Some(DataState::Missing) => Some("missing"),
        Some(DataState::Empty) => Some("empty"),
        Some(DataState::Present) | None => None,
    };
    if who.is_other(readings) {
        let id = own_id(readings).unwrap_or_default();
        return (Life::Unknown, format!("another member answers in its place ({id})"));
    }
    if who.answers(readings) {
        return (Life::Alive, "it answers".into());
    }
    match (process, empty) {
        (Some(true), None) if data.is_some() => {
            (Life::Alive, format!("its process runs on {host} and its data is there"))
        }
        (Some(true), Some(state)) => {
            (Life::Gone, format!("its process runs on {host}, but its data directory is {state}"))
        }
        (Some(false), _) | (None, Some(_)) if answers(readings) => {
            (Life::Unknown, format!("{host} says that it is gone, yet something answers"))
        }
        (Some(false), None) => (Life::Gone, format!("no etcd process runs on {host}")),
        (Some(false) | None, Some(state)) => {
            (Life::Gone, format!("its data directory on {host} is {state}"))
        }
        (Some(true) | None, None) => silence(readings, process == Some(true)),
    }
}

/// Nothing positive either way: unreachable needs two groups, and one besides the network that
/// says no.
fn silence(readings: &MemberEvidence, runs: bool) -> (Life, String) {
    let down = readings.up.value() == Some(&false);
    if runs || answers(readings) {
        return (Life::Unknown, "something answers, but not as this member".into());
    }
    if down && groups(readings).len() >= 2 {
        return (Life::Unreachable, "it is silent, and Prometheus cannot scrape it either".into());
    }
    let cause = readings.client.cause().map_or("silent", Cause::label);
    (Life::Unknown, format!("it is silent ({cause}), and nobody else says that it is down"))
}

fn current_attestation<'a>(context: &Context<'a>) -> Option<&'a Attestation> {
    context.attested.filter(|word| word.at <= context.now && context.now < word.until)
}

/// A person's word is about the whole member, a missing directory about its data only: where its
/// host does not answer, only the word lets a repair leave it out.
fn permanence(data: Option<DataState>, context: &Context<'_>) -> Option<Permanence> {
    match (current_attestation(context), data) {
        (Some(_), _) => Some(Permanence::Attested),
        (None, Some(DataState::Missing)) => Some(Permanence::DiskGone),
        (None, Some(DataState::Empty)) => Some(Permanence::DataGone),
        (None, Some(DataState::Present) | None) => None,
    }
}
