//! Readable evidence for tests: `evidence().member("m1", up(100).leader("m1"))`.
//!
//! A member `mN` stands on host `hN` and has the id `N`. Every state begins with all three vantage
//! groups asked; `no_host` and `no_prometheus` take one away.

use std::collections::BTreeMap;

use super::{Judgement, judge};
use crate::domain::{
    base::{
        id::{ClusterName, EtcdId, HostName, MemberName},
        time::Time,
    },
    etcd::{
        evidence::{
            Attestation, ControlReading, Data, DataState, Epoch, Evidence, Held, ListedMember,
            MemberEvidence, MetricsView, Observed, Process, Status, VoterSet,
        },
        reading::{Cause, Reading},
    },
};

/// The moment at which every test takes place.
pub(crate) const NOW: Time = Time(1_000_000_000);
/// The cluster's id.
pub(crate) const CLUSTER: EtcdId = EtcdId(0xc1);

/// `m2` has the id 2.
pub(crate) fn id(name: &str) -> EtcdId {
    EtcdId(name.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0xff))
}

/// One member's readings.
#[derive(Clone)]
pub(crate) struct Readings(pub(crate) MemberEvidence);

fn known<T>(value: T) -> Reading<T> {
    Reading::known(value, NOW, 3)
}

pub(crate) fn unknown<T>(cause: Cause) -> Reading<T> {
    Reading::unknown(cause, "", NOW, 8000)
}

fn process(pid: u32) -> Reading<Option<Process>> {
    known(Some(Process { pid, started_at: None, argv: Vec::new() }))
}

/// Answers everywhere, knows no leader.
pub(crate) fn up(revision: i64) -> Readings {
    let status = Status {
        member_id: EtcdId(0),
        cluster_id: CLUSTER,
        leader: None,
        learner: false,
        revision,
        raft_term: 7,
        raft_index: 500,
        applied_index: 500,
        version: "3.5.16".into(),
        db_size: 20_480,
        errors: Vec::new(),
    };
    let mut readings = silent();
    readings.0.client = known(status);
    readings.0.up = known(true);
    readings
}

/// Its process runs and its data is there, but no port answers (a lone member that was restarted).
pub(crate) fn silent() -> Readings {
    let mut readings = unreachable();
    readings.0.process = process(100);
    readings.0.data = known(Data { state: DataState::Present, mark: None });
    readings.0.up = unknown(Cause::Stale);
    readings
}

/// No process, its data is there.
pub(crate) fn stopped() -> Readings {
    let mut readings = silent();
    readings.0.client = unknown(Cause::Refused);
    readings.0.process = known(None);
    readings.0.up = known(false);
    readings
}

/// No process, and its data is not there.
pub(crate) fn gone(state: DataState) -> Readings {
    let mut readings = stopped();
    readings.0.data = known(Data { state, mark: None });
    readings
}

/// Neither port nor host answers, and Prometheus cannot scrape it.
pub(crate) fn unreachable() -> Readings {
    let mut readings = nothing();
    readings.0.up = known(false);
    readings
}

/// Nothing is known of it.
pub(crate) fn nothing() -> Readings {
    Readings(MemberEvidence {
        host: HostName::from(""),
        client: unknown(Cause::Timeout),
        peer: unknown(Cause::NotConfigured),
        metrics: unknown(Cause::Timeout),
        process: unknown(Cause::Timeout),
        data: unknown(Cause::Timeout),
        up: unknown(Cause::Stale),
    })
}

impl Readings {
    fn status(mut self, change: impl FnOnce(&mut Status)) -> Self {
        let mut status = self.0.client.value().expect("only one that answers says this").clone();
        change(&mut status);
        self.0.client = known(status);
        self
    }

    pub(crate) fn leader(self, name: &str) -> Self {
        self.status(|status| status.leader = Some(id(name)))
    }

    pub(crate) fn learner(self) -> Self {
        self.status(|status| status.learner = true)
    }

    pub(crate) fn version(self, version: &str) -> Self {
        self.status(|status| status.version = version.into())
    }

    /// Answers under another id.
    pub(crate) fn with_id(self, member: EtcdId) -> Self {
        self.status(|status| status.member_id = member)
    }

    pub(crate) fn of_cluster(self, cluster: EtcdId) -> Self {
        self.status(|status| status.cluster_id = cluster)
    }

    pub(crate) fn mark(mut self, mark: &str) -> Self {
        let state = self.0.data.value().expect("only a seen directory has a mark").state;
        self.0.data = known(Data { state, mark: Some(mark.into()) });
        self
    }

    pub(crate) fn data(mut self, state: DataState) -> Self {
        self.0.data = known(Data { state, mark: None });
        self
    }

    pub(crate) fn pid(mut self, pid: u32) -> Self {
        self.0.process = process(pid);
        self
    }

    pub(crate) fn client(mut self, cause: Cause) -> Self {
        self.0.client = unknown(cause);
        self
    }

    pub(crate) fn scraped(mut self, up: bool) -> Self {
        self.0.up = known(up);
        self
    }

    /// The metrics listener answers.
    pub(crate) fn metrics(mut self, member: EtcdId, revision: i64, has_leader: bool) -> Self {
        self.0.metrics = known(MetricsView {
            member_id: Some(member),
            revision: Some(revision),
            has_leader: Some(has_leader),
            learner: Some(false),
        });
        self
    }

    pub(crate) fn no_host(mut self) -> Self {
        self.0.process = unknown(Cause::NotConfigured);
        self.0.data = unknown(Cause::NotConfigured);
        self
    }

    pub(crate) fn no_prometheus(mut self) -> Self {
        self.0.up = unknown(Cause::NotConfigured);
        self
    }

    fn of(self, name: &str) -> MemberEvidence {
        let mut readings = self.0;
        readings.host = HostName::from(name.replace('m', "h"));
        if let Some(status) = readings.client.value().filter(|status| status.member_id.0 == 0) {
            let status = Status { member_id: id(name), ..status.clone() };
            readings.client = known(status);
        }
        readings
    }
}

/// A voter set; a name with `+` in front is a learner.
pub(crate) fn voters(names: &[&str], revision: i64) -> VoterSet {
    let member = |name: &&str| {
        let (plain, learner) = name.strip_prefix('+').map_or((*name, false), |rest| (rest, true));
        let listed = ListedMember {
            id: id(plain),
            name: plain.into(),
            peer_urls: vec![format!("https://{plain}:2380")],
            client_urls: vec![format!("https://{plain}:2379")],
            learner,
        };
        (MemberName::from(plain), listed)
    };
    VoterSet {
        cluster_id: CLUSTER,
        members: names.iter().map(member).collect(),
        revision,
        index: 500,
        from: MemberName::from(names[0]),
    }
}

/// What was observed 20 s ago; the directory of `mN` was `wal-mN`.
pub(crate) fn observed(names: &[&str], revision: i64) -> Observed {
    let voters = voters(names, revision);
    let at = Time(NOW.0 - 20_000);
    Observed {
        epoch: Epoch { cluster_id: CLUSTER, recoveries: 0 },
        at,
        recent: vec![(at, revision)],
        no_leader_since: None,
        marks: voters.members.keys().map(|m| (m.clone(), format!("wal-{m}"))).collect(),
        versions: BTreeMap::new(),
        voters,
    }
}

/// A look and all that is judged with it.
pub(crate) struct Case {
    pub(crate) evidence: Evidence,
    pub(crate) observed: Option<Observed>,
    pub(crate) attested: BTreeMap<MemberName, Attestation>,
    pub(crate) held: Held,
    pub(crate) built: Option<EtcdId>,
}

/// A look at a cluster that was last seen with voters `m1 m2 m3` at revision 100.
pub(crate) fn evidence() -> Case {
    Case {
        evidence: Evidence {
            cluster: ClusterName::from("c1"),
            at: NOW,
            control: Vec::new(),
            members: BTreeMap::new(),
            hosts: BTreeMap::new(),
            voters: None,
        },
        observed: Some(observed(&["m1", "m2", "m3"], 100)),
        attested: BTreeMap::new(),
        held: Held::new(),
        built: None,
    }
}

impl Case {
    pub(crate) fn member(mut self, name: &str, readings: Readings) -> Self {
        self.evidence.members.insert(MemberName::from(name), readings.of(name));
        self
    }

    /// Several members with the same readings.
    pub(crate) fn members(self, names: &[&str], readings: &Readings) -> Self {
        names.iter().fold(self, |case, name| case.member(name, readings.clone()))
    }

    /// The voter set that was last seen.
    pub(crate) fn seen(mut self, names: &[&str], revision: i64) -> Self {
        self.observed = Some(observed(names, revision));
        self
    }

    pub(crate) fn never_seen(mut self) -> Self {
        self.observed = None;
        self
    }

    /// A linearizable read succeeds in this look.
    pub(crate) fn reads(mut self, set: VoterSet) -> Self {
        self.evidence.voters = Some(set);
        self
    }

    pub(crate) fn control(mut self, reachable: &[bool]) -> Self {
        let target = |(index, reachable): (usize, &bool)| ControlReading {
            target: format!("control-{index}"),
            reachable: *reachable,
        };
        self.evidence.control = reachable.iter().enumerate().map(target).collect();
        self
    }

    pub(crate) fn held(mut self, name: &str, before: Readings) -> Self {
        self.held.insert(MemberName::from(name), before.of(name));
        self
    }

    /// A run under way restored this cluster.
    pub(crate) fn built(mut self, cluster: EtcdId) -> Self {
        self.built = Some(cluster);
        self
    }

    pub(crate) fn attested(mut self, name: &str, until: Time) -> Self {
        let word =
            Attestation { by: "ann".into(), reason: "burnt".into(), at: Time(NOW.0 - 5000), until };
        self.attested.insert(MemberName::from(name), word);
        self
    }

    pub(crate) fn judge(&self) -> Judgement {
        let observed = self.observed.as_ref();
        judge(&self.evidence, observed, &self.attested, &self.held, self.built, NOW)
    }
}
