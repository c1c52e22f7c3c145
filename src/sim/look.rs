//! What the model shows to a look: the readings that the real vantages would give.

use std::collections::BTreeMap;

use super::world::{Data, Machine, Running, VERSION, World};
use crate::domain::{
    base::{
        id::{EtcdId, HostName, MemberName},
        time::Time,
    },
    etcd::{
        evidence::{
            ControlReading, Data as DataReading, DataState, Evidence, HostEvidence, ListedMember,
            MemberEvidence, MetricsView, PeerView, Process, Status, VoterSet,
        },
        reading::{Cause, Reading},
    },
};

/// One look at everything.
pub(super) fn look(world: &World, at: Time) -> Evidence {
    let members = world
        .machines
        .iter()
        .map(|(name, machine)| (name.clone(), member(world, name, machine, at)));
    let hosts = world.machines.iter().map(|(name, machine)| {
        let free_bytes = machine.reachable.then_some(1 << 40);
        (host(name), HostEvidence { reachable: machine.reachable, free_bytes })
    });
    Evidence {
        cluster: world.cluster.clone(),
        at,
        control: vec![ControlReading {
            target: "http://prometheus:9090".into(),
            reachable: !world.blind,
        }],
        members: members.collect(),
        hosts: hosts.collect(),
        voters: if world.blind { None } else { voter_set(world) },
    }
}

/// One look that reaches nobody.
pub(super) fn nothing(world: &World, at: Time) -> Evidence {
    let mut seen = look(world, at);
    seen.control.iter_mut().for_each(|control| control.reachable = false);
    seen.hosts.values_mut().for_each(|host| (host.reachable, host.free_bytes) = (false, None));
    seen.voters = None;
    let (cause, detail, took) = (Cause::Timeout, "the model answers nobody", 1);
    for member in seen.members.values_mut() {
        member.client = Reading::unknown(cause, detail, at, took);
        member.peer = Reading::unknown(cause, detail, at, took);
        member.metrics = Reading::unknown(cause, detail, at, took);
        member.process = Reading::unknown(cause, detail, at, took);
        member.data = Reading::unknown(cause, detail, at, took);
        member.up = Reading::unknown(cause, detail, at, took);
    }
    seen
}

/// The host of a member.
pub(super) fn host(member: &MemberName) -> HostName {
    format!("h-{member}").into()
}

/// The peer URL of a member.
pub(super) fn peer_url(member: &MemberName) -> String {
    format!("http://{member}:2380")
}

pub(super) fn listed(world: &World, cluster: EtcdId) -> BTreeMap<MemberName, ListedMember> {
    let members = world.memberships.get(&cluster).into_iter().flatten();
    members
        .map(|(id, entry)| {
            let listed = ListedMember {
                id: *id,
                name: entry.name.as_str().into(),
                peer_urls: vec![peer_url(&entry.name)],
                client_urls: vec![format!("http://{}:2379", entry.name)],
                learner: entry.learner,
            };
            (entry.name.clone(), listed)
        })
        .collect()
}

fn voter_set(world: &World) -> Option<VoterSet> {
    let cluster_id = world.leading()?;
    let (from, _) = world.leader(cluster_id)?;
    let revision = world.machines.get(&from)?.data.as_ref()?.revision;
    let index = u64::try_from(revision).unwrap_or(0) + 7;
    Some(VoterSet { cluster_id, members: listed(world, cluster_id), revision, index, from })
}

fn member(world: &World, name: &MemberName, machine: &Machine, at: Time) -> MemberEvidence {
    let silence = if world.blind || !machine.reachable { Some(Cause::Timeout) } else { None };
    let host_silence = (!machine.reachable).then_some(Cause::Timeout);
    let runs = machine.process.as_ref().zip(machine.data.as_ref());
    let network = |answers: bool| match (silence, answers) {
        (Some(cause), _) => Err(cause),
        (None, true) => Ok(()),
        (None, false) => {
            Err(if machine.process.is_some() { Cause::Timeout } else { Cause::Refused })
        }
    };
    let speaks = runs.filter(|(process, _)| !process.silent);
    MemberEvidence {
        host: host(name),
        client: reading(network(speaks.is_some()), at, || {
            speaks.map(|(_, data)| status(world, data))
        }),
        peer: reading(network(runs.is_some()), at, || runs.map(|(_, data)| peer(world, data))),
        metrics: reading(network(runs.is_some()), at, || {
            runs.map(|(_, data)| metrics(world, data))
        }),
        process: reading(host_silence.map_or(Ok(()), Err), at, || {
            Some(machine.process.as_ref().map(process))
        }),
        data: reading(host_silence.map_or(Ok(()), Err), at, || Some(data_reading(machine))),
        up: reading(Ok(()), at, || Some(machine.reachable && runs.is_some())),
    }
}

fn reading<T>(
    asked: Result<(), Cause>,
    at: Time,
    answer: impl FnOnce() -> Option<T>,
) -> Reading<T> {
    match asked.and_then(|()| answer().ok_or(Cause::Timeout)) {
        Ok(value) => Reading::known(value, at, 1),
        Err(cause) => Reading::unknown(cause, "the model does not answer here", at, 1),
    }
}

fn status(world: &World, data: &Data) -> Status {
    let leader = world.leader(data.cluster_id).map(|(_, id)| id);
    let entry = world.memberships.get(&data.cluster_id).and_then(|members| members.get(&data.id));
    let index = u64::try_from(data.revision).unwrap_or(0) + 7;
    Status {
        member_id: data.id,
        cluster_id: data.cluster_id,
        leader,
        learner: entry.is_some_and(|entry| entry.learner),
        revision: data.revision,
        raft_term: 2,
        raft_index: index,
        applied_index: index,
        version: VERSION.into(),
        db_size: 20_480,
        errors: if leader.is_some() { Vec::new() } else { vec!["etcdserver: no leader".into()] },
    }
}

fn peer(world: &World, data: &Data) -> PeerView {
    let members = listed(world, data.cluster_id).into_values().collect();
    PeerView { version: VERSION.into(), members }
}

fn metrics(world: &World, data: &Data) -> MetricsView {
    let status = status(world, data);
    MetricsView {
        member_id: Some(data.id),
        revision: Some(data.revision),
        has_leader: Some(status.leader.is_some()),
        learner: Some(status.learner),
    }
}

fn process(running: &Running) -> Process {
    Process { pid: running.pid, started_at: Some(running.started_at), argv: vec!["etcd".into()] }
}

fn data_reading(machine: &Machine) -> DataReading {
    let state = match (&machine.data, machine.directory) {
        (Some(_), _) => DataState::Present,
        (None, true) => DataState::Empty,
        (None, false) => DataState::Missing,
    };
    DataReading { state, mark: machine.data.as_ref().map(|data| data.mark.to_string()) }
}
