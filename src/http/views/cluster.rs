//! What is known of a cluster now: the verdict, the members with their readings, who said what.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        base::{
            id::{ClusterName, HostName, IncidentId, LossId, MemberName, RunId},
            time::Time,
        },
        cell::Cell,
        etcd::{
            evidence::MemberEvidence,
            reading::{Answer, Reading, Vantage},
            verdict::MemberState,
        },
    },
    engine::state::State,
};

/// A cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClusterView {
    /// Its name.
    pub name: ClusterName,
    /// Free labels of the inventory.
    pub labels: BTreeMap<String, String>,
    /// `propose` or `auto`.
    pub mode: String,
    /// The verdict of the last look; `unknown` before the first.
    pub verdict: String,
    /// Why.
    pub reason: String,
    /// Why the cluster is not worked on any more, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// The leader.
    pub leader: Option<MemberName>,
    /// When the last look was complete.
    pub looked_at: Option<Time>,
    /// Why we are blind, if we are.
    pub blind: Option<String>,
    /// Voters that are alive, and all.
    pub alive: usize,
    /// All voters that were counted.
    pub voters: usize,
    /// Last seen with a leader; `None`: never, so that nothing is ever done to it.
    pub last_seen: Option<Seen>,
    /// The pause in force.
    pub paused: Option<PauseView>,
    /// Open incidents.
    pub incidents: Vec<IncidentId>,
    /// The run that has not ended.
    pub run: Option<RunId>,
    /// The oldest loss that nobody acknowledged.
    pub open_loss: Option<LossId>,
    /// Its members; only where one cluster is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberView>,
    /// What people said of members, and still counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attested: Vec<Attested>,
    /// What look-outs after a recovery found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Control targets that do not answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent_controls: Vec<String>,
    /// Free bytes where the backups go, by host.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub free_bytes: BTreeMap<HostName, u64>,
}

/// When a cluster was last seen with a leader, and where it stood.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Seen {
    /// When.
    pub at: Time,
    /// Its revision.
    pub revision: i64,
}

/// A pause.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PauseView {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Until when; for good where there is none.
    pub until: Option<Time>,
}

/// A person's word on a member.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Attested {
    /// The member.
    pub member: MemberName,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Until when.
    pub until: Time,
}

/// What a look-out found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// The run it follows.
    pub run: RunId,
    /// What.
    pub text: String,
}

/// A member.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MemberView {
    /// Its name.
    pub name: MemberName,
    /// The host it stands on.
    pub host: HostName,
    /// Its id.
    pub id: Option<String>,
    /// `voter`, `learner` or `none`.
    pub role: String,
    /// `alive`, `gone` (by a positive statement), `down` (unreachable) or `unknown`.
    pub state: String,
    /// Whether it is the leader.
    pub leader: Option<bool>,
    /// Its revision.
    pub revision: Option<i64>,
    /// What stands in its data directory.
    pub data: Option<String>,
    /// Why it will not come back.
    pub permanence: Option<String>,
    /// Whether a run holds it: then the readings are from before.
    pub held: bool,
    /// One sentence.
    pub why: String,
    /// Its readings.
    pub readings: Vec<ReadingView>,
}

/// A reading.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReadingView {
    /// What was asked.
    pub probe: String,
    /// By which route.
    pub vantage: String,
    /// The answer in short.
    pub value: Option<String>,
    /// Why there is none.
    pub cause: Option<String>,
    /// What was seen instead.
    pub detail: Option<String>,
    /// When.
    pub at: Time,
    /// How long it took.
    pub took_ms: u32,
}

impl ClusterView {
    /// The line of a list.
    pub fn line(state: &State, cell: &Cell) -> Self {
        let look = cell.look();
        let judgement = look.map(|look| &look.judgement);
        let voters = judgement.map_or(&[][..], |judgement| &judgement.voters);
        let alive = |name: &&MemberName| {
            let member = judgement.and_then(|judgement| judgement.members.get(*name));
            member.is_some_and(|member| member.alive == Some(true))
        };
        let pause = cell.state.pause(state.now());
        let stopped = state.why_stopped(cell.name());
        let seen = || match judgement {
            _ if cell.setup.is_retired => "it is not in the inventory any more".into(),
            Some(judgement) => judgement.reason.clone(),
            None => "not looked at yet".into(),
        };
        let not_worked_on = |why: &String| format!("not worked on any more: {why}");
        Self {
            name: cell.name().clone(),
            labels: cell.inventory().labels.clone(),
            mode: cell.inventory().mode.label().into(),
            verdict: judgement.map_or("unknown", |judgement| judgement.quorum.label()).into(),
            reason: stopped.as_ref().map_or_else(seen, not_worked_on),
            stopped,
            leader: judgement.and_then(|judgement| judgement.leader.clone()),
            looked_at: look.map(|look| look.evidence.at),
            blind: judgement.and_then(|judgement| judgement.blind.clone()),
            alive: voters.iter().filter(alive).count(),
            voters: voters.len(),
            last_seen: cell
                .sight
                .observed
                .as_ref()
                .map(|row| Seen { at: row.at, revision: row.voters.revision }),
            paused: pause.map(|pause| PauseView {
                by: pause.said.by.clone(),
                reason: pause.said.reason.clone(),
                until: pause.until,
            }),
            incidents: cell.state.open_incidents().map(|incident| incident.id).collect(),
            run: cell.state.open_run().map(|run| run.id),
            open_loss: cell.state.open_loss().map(|loss| loss.id),
            members: Vec::new(),
            attested: Vec::new(),
            findings: Vec::new(),
            silent_controls: Vec::new(),
            free_bytes: BTreeMap::new(),
        }
    }

    /// Everything.
    pub fn whole(state: &State, cell: &Cell) -> Self {
        let mut view = Self::line(state, cell);
        if let Some(look) = cell.look() {
            let members = look.judgement.members.iter();
            view.members = members
                .map(|(name, member)| {
                    MemberView::new(name, member, look.evidence.members.get(name))
                })
                .collect();
            let silent = look.evidence.control.iter().filter(|control| !control.reachable);
            view.silent_controls = silent.map(|control| control.target.clone()).collect();
            let hosts = look.evidence.hosts.iter();
            view.free_bytes =
                hosts.filter_map(|(name, host)| Some((name.clone(), host.free_bytes?))).collect();
        }
        let now = state.now();
        let said = cell.state.attested.iter().filter(|(_, said)| said.until > now);
        view.attested = said
            .map(|(member, said)| Attested {
                member: member.clone(),
                by: said.by.clone(),
                reason: said.reason.clone(),
                until: said.until,
            })
            .collect();
        let findings = cell.state.findings.values();
        view.findings = findings.map(|f| Finding { run: f.run, text: f.text.clone() }).collect();
        view
    }
}

impl MemberView {
    fn new(name: &MemberName, member: &MemberState, evidence: Option<&MemberEvidence>) -> Self {
        let role = match (member.voter, member.learner) {
            (true, _) => "voter",
            (false, Some(true)) => "learner",
            (false, Some(false) | None) => "none",
        };
        let state = match (member.alive, member.gone) {
            (Some(true), _) => "alive",
            (Some(false), true) => "gone",
            (Some(false), false) => "down",
            (None, _) => "unknown",
        };
        Self {
            name: name.clone(),
            host: member.host.clone(),
            id: member.id.map(|id| id.to_string()),
            role: role.into(),
            state: state.into(),
            leader: member.leader,
            revision: member.revision,
            data: member.data.map(|data| data.label().into()),
            permanence: member.permanence.map(|class| class.label().into()),
            held: member.held,
            why: member.why.clone(),
            readings: evidence.map(readings).unwrap_or_default(),
        }
    }
}

fn readings(member: &MemberEvidence) -> Vec<ReadingView> {
    let client = reading("client port", Vantage::Network, &member.client, |status| {
        let leader = if status.leader.is_some() { "a leader" } else { "no leader" };
        format!("revision {}, {leader}, etcd {}", status.revision, status.version)
    });
    let peer = reading("peer port", Vantage::Network, &member.peer, |peer| {
        format!("lists {} members, etcd {}", peer.members.len(), peer.version)
    });
    let metrics = reading("metrics", Vantage::Network, &member.metrics, |metrics| {
        let leader = metrics
            .has_leader
            .map_or("leader unknown", |has| if has { "a leader" } else { "no leader" });
        let revision = metrics.revision.map_or("unknown".to_owned(), |r| r.to_string());
        format!("revision {revision}, {leader}")
    });
    let process = reading("process", Vantage::Host, &member.process, |process| {
        let none = "no process".to_owned();
        process.as_ref().map_or(none, |process| format!("pid {}", process.pid))
    });
    let data = reading("data", Vantage::Host, &member.data, |data| data.state.label().into());
    let up = reading("up", Vantage::Prometheus, &member.up, |up| u8::from(*up).to_string());
    [client, peer, metrics, process, data, up].into_iter().flatten().collect()
}

fn reading<T>(
    probe: &str,
    vantage: Vantage,
    reading: &Reading<T>,
    show: impl Fn(&T) -> String,
) -> Option<ReadingView> {
    let (value, cause, detail) = match &reading.answer {
        _ if !reading.asked() => return None,
        Answer::Known(value) => (Some(show(value)), None, None),
        Answer::Unknown { cause, detail } => {
            (None, Some(cause.label().to_owned()), Some(detail.clone()))
        }
    };
    let (probe, vantage) = (probe.to_owned(), vantage.label().to_owned());
    Some(ReadingView {
        probe,
        vantage,
        value,
        cause,
        detail: detail.filter(|detail| !detail.is_empty()),
        at: reading.at,
        took_ms: reading.took_ms,
    })
}
