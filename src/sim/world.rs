//! The state of the model: machines, their data, the memberships, and who leads.
//!
//! A membership exists per cluster id; it leads when a majority of its voters run on its data and
//! reach one another.

use std::{collections::BTreeMap, time::Duration};

use tokio::{sync::oneshot, time::Instant};

use super::faults::Faults;
use crate::{
    domain::{
        base::{
            id::{ClusterName, EtcdId, MemberName},
            time::Time,
        },
        rules::action::{Call, Done, Failure},
    },
    targets::{AlertState, effect::UnderWay},
};

/// The version of every member, and of the tools unless a test says otherwise.
pub(super) const VERSION: &str = "3.5.16";

/// The cluster id before any rebuild.
pub(super) const FIRST_CLUSTER: EtcdId = EtcdId(0x5eed_0000_0000_0001);

/// What happened to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs, with its data.
    Up,
    /// Its process is gone, its data is there.
    Stopped,
    /// It was restarted without quorum: it runs, and its client port says nothing.
    Silent,
    /// Its process and its data directory are gone.
    Gone,
    /// Its process runs on a data directory that was emptied.
    Amnesiac,
    /// Its host answers nobody.
    Unreachable,
    /// It runs and lacks this many revisions.
    Laggard(i64),
}

/// What stands in a data directory, or in a place of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Data {
    pub(super) cluster_id: EtcdId,
    pub(super) id: EtcdId,
    pub(super) revision: i64,
    /// Which content: equal histories have equal hashes.
    pub(super) history: i64,
    pub(super) mark: u64,
    /// What its log holds, as a number that every start and every write changes.
    pub(super) log: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) pid: u32,
    pub(super) started_at: Time,
    /// Restarted without quorum: silent on the client port until there is a leader.
    pub(super) silent: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) reachable: bool,
    pub(super) process: Option<Running>,
    pub(super) data: Option<Data>,
    /// Whether the data directory itself is there.
    pub(super) directory: bool,
    /// By `<run>/<place>`.
    pub(super) places: BTreeMap<String, Data>,
    /// What the log of restored data held when it was put in.
    pub(super) restored: Option<u32>,
    pub(super) scratch: Option<u32>,
    pub(super) args: Option<BTreeMap<String, String>>,
    pub(super) masked: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: MemberName,
    pub(super) learner: bool,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) cluster: ClusterName,
    /// In the order of the inventory.
    pub(super) order: Vec<MemberName>,
    pub(super) machines: BTreeMap<MemberName, Machine>,
    pub(super) memberships: BTreeMap<EtcdId, BTreeMap<EtcdId, Entry>>,
    pub(super) blind: bool,
    /// How long a look takes.
    pub(super) slow: Duration,
    pub(super) partitioned: bool,
    pub(super) alerts: Option<Vec<AlertState>>,
    pub(super) revision_max: Option<i64>,
    /// The version of the tools.
    pub(super) tools: String,
    pub(super) effects: Vec<(String, String)>,
    pub(super) calls: Vec<(String, String)>,
    pub(super) faults: Faults,
    pub(super) pending: Vec<Pending>,
    counter: u32,
}

/// What a call is about: its member, else its id, else nothing.
pub(super) fn subject(call: &Call) -> String {
    call.text("member").or_else(|| call.text("id")).unwrap_or("-").into()
}

impl World {
    pub(super) fn new(members: &[&str]) -> Self {
        let order: Vec<MemberName> = members.iter().map(|name| MemberName::from(*name)).collect();
        let mut world = Self {
            cluster: "c1".into(),
            order,
            machines: BTreeMap::new(),
            memberships: BTreeMap::new(),
            blind: false,
            slow: Duration::ZERO,
            partitioned: false,
            alerts: None,
            revision_max: None,
            tools: VERSION.into(),
            effects: Vec::new(),
            calls: Vec::new(),
            faults: Faults::default(),
            pending: Vec::new(),
            counter: 100,
        };
        for (name, id) in world.order.clone().into_iter().zip(1_u64..) {
            let id = EtcdId(0xa0 + id);
            let entry = Entry { name: name.clone(), learner: false };
            world.memberships.entry(FIRST_CLUSTER).or_default().insert(id, entry);
            let data =
                Data { cluster_id: FIRST_CLUSTER, id, revision: 1, history: 0, mark: id.0, log: 0 };
            let machine = Machine {
                reachable: true,
                process: Some(world.running(Time(0))),
                data: Some(data),
                directory: true,
                places: BTreeMap::new(),
                restored: None,
                scratch: None,
                args: None,
                masked: false,
            };
            world.machines.insert(name, machine);
        }
        world
    }

    /// A number never used before: pids, marks, ids.
    pub(super) fn fresh(&mut self) -> u32 {
        self.counter += 1;
        self.counter
    }

    pub(super) fn running(&mut self, started_at: Time) -> Running {
        Running { pid: self.fresh(), started_at, silent: false }
    }

    pub(super) fn set_revision(&mut self, revision: i64) {
        for machine in self.machines.values_mut() {
            machine.data.iter_mut().for_each(|data| data.revision = revision);
        }
    }

    pub(super) fn diverge(&mut self, member: &str) {
        let data = self.machines.get_mut(member).and_then(|machine| machine.data.as_mut());
        if let Some(data) = data {
            data.history += 1;
        }
    }

    pub(super) fn set(&mut self, member: &str, state: State) {
        let (running, log) = (self.running(Time(0)), self.fresh());
        let Some(machine) = self.machines.get_mut(member) else { return };
        machine.reachable = state != State::Unreachable;
        match state {
            State::Up => machine.process = Some(running),
            State::Stopped => machine.process = None,
            State::Silent => machine.process = Some(Running { silent: true, ..running }),
            State::Gone => (machine.process, machine.data, machine.directory) = (None, None, false),
            State::Amnesiac => (machine.process, machine.data) = (Some(running), None),
            State::Unreachable => {}
            State::Laggard(lacks) => {
                machine.data.iter_mut().for_each(|data| data.revision -= lacks);
            }
        }
        if matches!(state, State::Up | State::Silent) {
            machine.data.iter_mut().for_each(|data| data.log = log);
        }
        self.settle();
    }

    /// Whether a leader serves this cluster.
    pub(super) fn leads(&self, cluster: EtcdId) -> bool {
        let voters = self.voters(cluster);
        let live = voters.iter().filter(|name| self.serves(name, cluster)).count();
        !voters.is_empty() && live > voters.len() / 2 && (!self.partitioned || voters.len() == 1)
    }

    /// The cluster that has a leader.
    pub(super) fn leading(&self) -> Option<EtcdId> {
        self.memberships.keys().copied().find(|id| self.leads(*id))
    }

    /// The leader: the first voter in the inventory's order that runs.
    pub(super) fn leader(&self, cluster: EtcdId) -> Option<(MemberName, EtcdId)> {
        let voters = self.voters(cluster);
        let name =
            self.order.iter().find(|name| voters.contains(name) && self.serves(name, cluster))?;
        let id = self.machines.get(name)?.data.as_ref()?.id;
        self.leads(cluster).then(|| (name.clone(), id))
    }

    pub(super) fn voters(&self, cluster: EtcdId) -> Vec<MemberName> {
        let members = self.memberships.get(&cluster).into_iter().flatten();
        members.filter(|(_, entry)| !entry.learner).map(|(_, entry)| entry.name.clone()).collect()
    }

    fn serves(&self, name: &MemberName, cluster: EtcdId) -> bool {
        self.machines.get(name).is_some_and(|machine| {
            machine.reachable
                && machine.process.is_some()
                && machine
                    .data
                    .as_ref()
                    .is_some_and(|data| data.cluster_id == cluster && self.listed(data))
        })
    }

    fn listed(&self, data: &Data) -> bool {
        self.memberships.get(&data.cluster_id).is_some_and(|members| members.contains_key(&data.id))
    }

    /// With a leader nobody is silent, and all catch up.
    pub(super) fn settle(&mut self) {
        let Some(cluster) = self.leading() else { return };
        let revisions = self.machines.values().filter_map(|machine| machine.data.as_ref());
        let newest = revisions
            .filter(|data| data.cluster_id == cluster)
            .map(|data| (data.revision, data.history))
            .max();
        let Some((revision, history)) = newest else { return };
        for machine in self.machines.values_mut().filter(|machine| machine.process.is_some()) {
            let Some(data) = machine.data.as_mut().filter(|data| data.cluster_id == cluster) else {
                continue;
            };
            (data.revision, data.history) = (revision, history);
            machine.process.iter_mut().for_each(|process| process.silent = false);
        }
    }

    pub(super) fn write(&mut self, count: i64) -> bool {
        let Some(cluster) = self.leading() else { return false };
        let log = self.fresh();
        for machine in self.machines.values_mut().filter(|machine| machine.process.is_some()) {
            let data = machine.data.iter_mut().filter(|data| data.cluster_id == cluster);
            data.for_each(|data| (data.revision, data.log) = (data.revision + count, log));
        }
        true
    }

    /// The machine of the member that a call is about.
    pub(super) fn machine_of(&self, call: &Call) -> Option<&Machine> {
        self.machines.get(call.text("member")?)
    }

    /// Until when something is at work on the member of a call.
    pub(super) fn locked_until(&self, call: &Call) -> Option<Instant> {
        let member = call.text("member")?;
        let on_it = self.pending.iter().filter(|one| one.call.text("member") == Some(member));
        on_it.map(|one| one.due).max()
    }
}

/// An effect that is at work and takes place later.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) due: Instant,
    pub(super) call: Call,
    /// Who wants to know what came of it.
    pub(super) tell: oneshot::Sender<Result<Done, Failure>>,
    /// Whoever waits for the whole effect waits for this.
    pub(super) _under_way: Option<UnderWay>,
}
