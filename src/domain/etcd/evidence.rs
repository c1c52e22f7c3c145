//! Evidence: the readings a verdict is drawn from, and what was observed while all was well.
//!
//! Nothing here judges. [`Evidence`] is one look at one cluster; [`Observed`] is the one
//! overwritten row per cluster that outlives the outage: the last linearizable voter set, the
//! latch, the last revision seen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::reading::Reading;
use crate::domain::base::{
    id::{ClusterName, EtcdId, HostName, MemberName},
    time::Time,
};

/// What `Maintenance.Status` on a client port said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The answering member.
    pub member_id: EtcdId,
    /// Its cluster.
    pub cluster_id: EtcdId,
    /// The leader it believes in; `None` where the field is 0.
    pub leader: Option<EtcdId>,
    /// Whether it is a learner (whose belief in a leader proves nothing).
    pub learner: bool,
    /// The store's revision.
    pub revision: i64,
    /// Raft term.
    pub raft_term: u64,
    /// Raft index: the last committed entry.
    pub raft_index: u64,
    /// The last applied entry.
    pub applied_index: u64,
    /// Server version, as `3.5.16`.
    pub version: String,
    /// Database size in bytes.
    pub db_size: i64,
    /// The member's own complaints (`etcdserver: no leader`, `NOSPACE`, `CORRUPT` …).
    pub errors: Vec<String>,
}

/// One row of a member list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedMember {
    /// The member's id.
    pub id: EtcdId,
    /// Its name; empty while it has never started.
    pub name: String,
    /// Its peer URLs, by which it is matched to the inventory.
    pub peer_urls: Vec<String>,
    /// Its client URLs; empty while it has never started.
    pub client_urls: Vec<String>,
    /// Whether it is a learner.
    pub learner: bool,
}

/// What the peer port said (`/version`, `/members`): it answers without quorum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// Server version, as `3.5.16`.
    pub version: String,
    /// The member list as this member has it: local, never linearizable.
    pub members: Vec<ListedMember>,
}

/// What the metrics listener said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricsView {
    /// `etcd_server_id`.
    pub member_id: Option<EtcdId>,
    /// `etcd_debugging_mvcc_current_revision`.
    pub revision: Option<i64>,
    /// `etcd_server_has_leader`.
    pub has_leader: Option<bool>,
    /// `etcd_server_is_learner`.
    pub learner: Option<bool>,
}

/// A member's process as its host sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Start time; `None` where the host cannot tell.
    pub started_at: Option<Time>,
    /// The running process's arguments, argv\[0\] first; empty where the host cannot tell.
    pub argv: Vec<String>,
}

/// What stands in a member's data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataState {
    /// A WAL is there.
    Present,
    /// The directory is there, without a WAL.
    Empty,
    /// The directory is not there.
    Missing,
}

impl DataState {
    /// The word in expressions and JSON.
    pub fn label(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Empty => "empty",
            Self::Missing => "missing",
        }
    }
}

/// A look at a data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// What is there.
    pub state: DataState,
    /// Identity of `member/wal` (device, inode, birth time): another mark under the same path is
    /// another directory, whatever the member calls itself. `None` where the host cannot tell.
    pub mark: Option<String>,
}

/// All readings about one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberEvidence {
    /// The host it stands on.
    pub host: HostName,
    /// Client port (network).
    pub client: Reading<Status>,
    /// Peer port (network).
    pub peer: Reading<PeerView>,
    /// Metrics listener (network).
    pub metrics: Reading<MetricsView>,
    /// Process (host): `Known(None)` is the positive statement that none runs.
    pub process: Reading<Option<Process>>,
    /// Data directory (host).
    pub data: Reading<Data>,
    /// `up` of its scrape target, fresher than three intervals (prometheus).
    pub up: Reading<bool>,
}

/// All readings about one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostEvidence {
    /// Whether its transport answered *us*; proves nothing about the other side.
    pub reachable: bool,
    /// Free bytes where the backups go, if it could be read.
    pub free_bytes: Option<u64>,
}

/// Whether a control target answered us. If none does, or fewer than half, we are blind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlReading {
    /// The target, without credentials.
    pub target: String,
    /// Whether it answered.
    pub reachable: bool,
}

/// The voter set by a linearizable read: a linearizable Get on one member, then that member's list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoterSet {
    /// The cluster's id.
    pub cluster_id: EtcdId,
    /// All members of the list, learners too, keyed by inventory name (matched by peer URL) or,
    /// for one that the inventory does not know, by its first peer URL.
    pub members: BTreeMap<MemberName, ListedMember>,
    /// Revision at the linearizable read.
    pub revision: i64,
    /// Raft index at the linearizable read.
    pub index: u64,
    /// The member that was read.
    pub from: MemberName,
}

impl VoterSet {
    /// The voters among the members.
    pub fn voters(&self) -> impl Iterator<Item = (&MemberName, &ListedMember)> {
        self.members.iter().filter(|(_, member)| !member.learner)
    }
}

/// One look at one cluster. A silent member delays nobody: all are asked in parallel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The cluster.
    pub cluster: ClusterName,
    /// When the look was complete.
    pub at: Time,
    /// Control targets off the patient's hosts. Empty: none configured, then we are never blind.
    pub control: Vec<ControlReading>,
    /// Per inventory member.
    pub members: BTreeMap<MemberName, MemberEvidence>,
    /// Per inventory host.
    pub hosts: BTreeMap<HostName, HostEvidence>,
    /// The voter set, where a linearizable read succeeded in this look.
    pub voters: Option<VoterSet>,
}

/// Which history a revision belongs to: revisions of different epochs are never compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Epoch {
    /// The cluster's id.
    pub cluster_id: EtcdId,
    /// Recoveries so far: a re-bootstrapped cluster may carry the old id.
    pub recoveries: u32,
}

/// What was seen of a cluster while it had a leader; one overwritten row per cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// The history all of this belongs to.
    pub epoch: Epoch,
    /// The last linearizable voter set. Its existence is the latch: this cluster was once formed.
    pub voters: VoterSet,
    /// When it was taken.
    pub at: Time,
    /// `(when, revision)` of the sightings of the last ten minutes, oldest first.
    pub recent: Vec<(Time, i64)>,
    /// The first sample that found no leader anywhere, since the last sighting.
    pub no_leader_since: Option<Time>,
    /// Per member, the mark of its data directory while it was last seen healthy.
    pub marks: BTreeMap<MemberName, String>,
    /// Per member, its version while it was last seen healthy: what wrote its data. Empty in a row of
    /// a quorate that did not keep it.
    #[serde(default)]
    pub versions: BTreeMap<MemberName, String>,
}

impl Observed {
    /// Whether it tells something else than an earlier row, beside how far the cluster has come.
    pub fn is_news(&self, earlier: &Self) -> bool {
        let Self { epoch, voters, at: _, recent: _, no_leader_since, marks, versions } = self;
        *epoch != earlier.epoch
            || voters.members != earlier.voters.members
            || *no_leader_since != earlier.no_leader_since
            || *marks != earlier.marks
            || *versions != earlier.versions
    }
}

/// What is worth remembering of the members that live and serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Per member, the mark of its data directory.
    pub marks: BTreeMap<MemberName, String>,
    /// Per member, its version.
    pub versions: BTreeMap<MemberName, String>,
}

/// Why a dead member will not come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Permanence {
    /// Its host is proven off.
    HostOff,
    /// It was fenced.
    Fenced,
    /// Its disk (the whole data directory) is gone.
    DiskGone,
    /// Its data was removed from the directory.
    DataGone,
    /// A person said so.
    Attested,
}

impl Permanence {
    /// The word in expressions and JSON.
    pub fn label(self) -> &'static str {
        match self {
            Self::HostOff => "host_off",
            Self::Fenced => "fenced",
            Self::DiskGone => "disk_gone",
            Self::DataGone => "data_gone",
            Self::Attested => "attested",
        }
    }
}

/// A person's word that a member will not come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attestation {
    /// Who said it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When it was said.
    pub at: Time,
    /// Until when it counts.
    pub until: Time,
}

/// Members that a run stopped, masked or moved, with their readings from before: what a run did
/// itself must neither count as a death nor as a proof of permanence.
pub type Held = BTreeMap<MemberName, MemberEvidence>;
