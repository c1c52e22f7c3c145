//! The inventory: one entry per cluster, validated. Made by `config`, read by everybody.
//!
//! Paths and argv words that hold `${member}` are already filled in per member.

#[cfg(any(test, feature = "sim"))]
pub mod sample;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use super::{
    alert::labels::Matchers,
    base::id::{ClusterName, HostName, MemberName},
};

/// How irreversible steps are dispatched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A person approves.
    Propose,
    /// Quorate decides, within the loss budget and with permanence proven.
    Auto,
}

impl Mode {
    /// The word in YAML, JSON and expressions.
    pub fn label(self) -> &'static str {
        match self {
            Self::Propose => "propose",
            Self::Auto => "auto",
        }
    }
}

/// One cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Its name.
    pub name: ClusterName,
    /// Which alerts are about it.
    pub matches: Matchers,
    /// Free labels for expressions and dashboards.
    pub labels: BTreeMap<String, String>,
    /// Its etcd.
    pub etcd: Etcd,
    /// The hosts its members stand on.
    pub hosts: BTreeMap<HostName, Host>,
    /// Its Prometheus.
    pub prometheus: Option<Endpoint>,
    /// Its Alertmanager.
    pub alertmanager: Option<Endpoint>,
    /// Control targets named for all clusters: URLs or host:port.
    pub control_targets: Vec<String>,
    /// How irreversible steps are dispatched.
    pub mode: Mode,
    /// Revisions that `auto` may lose, by the upper bound.
    pub loss_budget_revisions: u64,
    /// Limit of one probe.
    pub probe_timeout: Duration,
}

/// An HTTP API of the cluster.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Base URL, without a trailing slash.
    pub url: String,
    /// A file that holds a bearer token.
    pub bearer_file: Option<PathBuf>,
}

/// The etcd of a cluster on hosts.
#[derive(Clone, Debug, PartialEq)]
pub struct Etcd {
    /// Its members, in the order of the inventory.
    pub members: Vec<Member>,
    /// Client certificates for the client and peer ports.
    pub tls: Option<Tls>,
    /// etcd's own user, where RBAC is on.
    pub auth: Option<Auth>,
    /// The tools on the members' hosts.
    pub tools: Tools,
    /// Where copies and snapshots go, on the member's own host.
    pub backups: Backups,
    /// Loopback ports for copies that are started to be read.
    pub scratch_ports: std::ops::RangeInclusive<u16>,
    /// Named risks the operator accepted (`restore_without_bump`).
    pub allow: Vec<String>,
}

/// One member.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its name, also `--name` of its process.
    pub name: MemberName,
    /// Client URL.
    pub client: String,
    /// Peer URL: what it is matched by.
    pub peer: String,
    /// Metrics URL (without `/metrics`), where it has a listener of its own.
    pub metrics: Option<String>,
    /// The host it stands on.
    pub host: HostName,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// Its WAL directory, where it differs from `<data_dir>/member/wal`.
    pub wal_dir: Option<PathBuf>,
    /// How its process is started and stopped.
    pub service: Service,
}

/// How a process is started and stopped: commands, each an argv.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Gets the arguments in force appended (`--initial-cluster-state=existing` …).
    pub start: Vec<String>,
    /// Sends SIGTERM and returns when the process is gone.
    pub stop: Vec<String>,
    /// Prints the pid or nothing.
    pub status: Vec<String>,
    /// Keeps the process from being started by anybody; without it masking changes nothing.
    pub mask: Option<Vec<String>>,
    /// Takes `mask` back.
    pub unmask: Option<Vec<String>>,
    /// Exits 0 where it is masked and 1 where it is not; without it every mask counts as ours. With
    /// systemd: that `systemctl is-enabled` prints `masked`.
    pub is_masked: Option<Vec<String>>,
}

/// Files of a TLS client.
#[derive(Clone, Debug, PartialEq)]
pub struct Tls {
    /// The CA that signed the servers.
    pub ca_file: PathBuf,
    /// Our certificate.
    pub cert_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
}

/// A user of etcd's RBAC.
#[derive(Clone, Debug, PartialEq)]
pub struct Auth {
    /// User name.
    pub username: String,
    /// A file that holds the password.
    pub password_file: PathBuf,
}

/// Tools on the members' hosts.
#[derive(Clone, Debug, PartialEq)]
pub struct Tools {
    /// `etcdutl`.
    pub etcdutl: PathBuf,
    /// `etcd`, for scratch copies.
    pub etcd: PathBuf,
}

/// Where copies and snapshots go.
#[derive(Clone, Debug, PartialEq)]
pub struct Backups {
    /// Directory on the member's host.
    pub dir: PathBuf,
    /// Free space a repair needs there, as a multiple of the data's size.
    pub min_free_factor: f64,
}

/// How a host is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// Its address; without one a `local` host stands nowhere.
    pub address: Option<String>,
    /// The zone it is in.
    pub zone: Option<String>,
}

impl Cluster {
    /// A cluster that the inventory no longer names: nothing matches it, and nothing of it is asked.
    pub fn retired(name: ClusterName) -> Self {
        Self {
            name,
            matches: Matchers::none(),
            labels: BTreeMap::new(),
            hosts: BTreeMap::new(),
            etcd: Etcd {
                members: Vec::new(),
                tls: None,
                auth: None,
                tools: Tools { etcdutl: PathBuf::new(), etcd: PathBuf::new() },
                backups: Backups { dir: PathBuf::new(), min_free_factor: 1.0 },
                scratch_ports: 0..=0,
                allow: Vec::new(),
            },
            prometheus: None,
            alertmanager: None,
            control_targets: Vec::new(),
            mode: Mode::Propose,
            loss_budget_revisions: 0,
            probe_timeout: Duration::from_secs(1),
        }
    }

    /// A member by name.
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.etcd.members.iter().find(|member| member.name.as_str() == name)
    }
}
