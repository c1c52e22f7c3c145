//! An inventory entry to test with: one builder for all tests, here and in other rooms.
//!
//! Fields are public: a test changes what it is about and takes the rest as it is.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use super::{Backups, Cluster, Etcd, Host, Member, Mode, Service, Tools};
use crate::domain::{alert::labels::Matchers, base::id::ClusterName};

/// A cluster `c1` of these members, each on a host of its own.
pub fn cluster<'m>(members: impl IntoIterator<Item = &'m str>) -> Cluster {
    cluster_of("c1", members.into_iter().map(member).collect())
}

/// A cluster of these members: mode `auto`, a loss budget of 100 revisions, no Prometheus, no
/// Alertmanager, one control target.
pub fn cluster_of(name: &str, members: Vec<Member>) -> Cluster {
    let name = ClusterName::from(name);
    let hosts =
        members.iter().map(|member| (member.host.clone(), Host { address: None, zone: None }));
    Cluster {
        matches: Matchers::parse(&format!("{{cluster=\"{name}\"}}"))
            .expect("a matcher of our own making"),
        name,
        labels: BTreeMap::new(),
        hosts: hosts.collect(),
        etcd: Etcd {
            members,
            tls: None,
            auth: None,
            tools: Tools { etcdutl: "etcdutl".into(), etcd: "etcd".into() },
            backups: Backups { dir: "/backups".into(), min_free_factor: 2.0 },
            scratch_ports: 23790..=23799,
            allow: Vec::new(),
        },
        prometheus: None,
        alertmanager: None,
        control_targets: vec!["http://prometheus:9090".into()],
        mode: Mode::Auto,
        loss_budget_revisions: 100,
        probe_timeout: Duration::from_secs(2),
    }
}

/// A member `m1` on a host `h-m1`, with ports on a machine of its name and commands `etcd-start m1`.
pub fn member(name: &str) -> Member {
    let command = |verb: &str| vec![format!("etcd-{verb}"), name.to_owned()];
    Member {
        name: name.into(),
        client: format!("http://{name}:2379"),
        peer: format!("http://{name}:2380"),
        metrics: Some(format!("http://{name}:2381")),
        host: format!("h-{name}").into(),
        data_dir: PathBuf::from(format!("/data/{name}")),
        wal_dir: None,
        service: Service {
            start: command("start"),
            stop: command("stop"),
            status: command("status"),
            mask: Some(command("mask")),
            unmask: Some(command("unmask")),
            is_masked: None,
        },
    }
}
