//! The inventory entry of the model.

use std::{collections::BTreeMap, time::Duration};

use super::{
    look::{host, peer_url},
    world::Variables,
};
use crate::domain::{
    alert::labels::Matchers,
    base::id::MemberName,
    inventory::{Backups, Cluster, Etcd, Host, Member, Mode, Service, Tools},
};

/// The entry.
pub(super) fn of(world: &Variables) -> Cluster {
    let hosts = world.order.iter().map(|name| (host(name), Host { address: None, zone: None }));
    Cluster {
        name: world.cluster.clone(),
        matches: Matchers::parse(&format!("{{cluster=\"{}\"}}", world.cluster))
            .expect("a matcher of the model's own making"),
        labels: BTreeMap::new(),
        etcd: Etcd {
            members: world.order.iter().map(member).collect(),
            tls: None,
            auth: None,
            tools: Tools { etcdutl: "etcdutl".into(), etcd: "etcd".into() },
            backups: Backups { dir: "/backups".into(), min_free_factor: 2.0 },
            scratch_ports: 23790..=23799,
            allow: Vec::new(),
        },
        hosts: hosts.collect(),
        prometheus: None,
        alertmanager: None,
        control_targets: vec!["http://prometheus:9090".into()],
        mode: Mode::Auto,
        loss_budget_revisions: 100,
        probe_timeout: Duration::from_secs(2),
    }
}

fn member(name: &MemberName) -> Member {
    let command = |verb: &str| vec![format!("etcd-{verb}"), name.to_string()];
    Member {
        name: name.clone(),
        client: format!("http://{name}:2379"),
        peer: peer_url(name),
        metrics: Some(format!("http://{name}:2381")),
        host: host(name),
        data_dir: format!("/data/{name}").into(),
        wal_dir: None,
        service: Service {
            start: command("start"),
            stop: command("stop"),
            status: command("status"),
            mask: Some(command("mask")),
            unmask: Some(command("unmask")),
        },
    }
}
