//! What the tests of this layer share: an inventory over a temporary directory.

use std::{path::Path, sync::Arc};

use super::{
    action::{On, nothing},
    catalogue::registry,
};
use crate::domain::{
    base::{id::RunId, time::Time},
    inventory::{Cluster, Member, Service, Tools, sample},
    rules::{
        action::{Call, Done, Failure, Probed},
        expr::Value,
    },
};

/// A script in `dir` as an argv for a member.
fn script(dir: &Path, name: &str, member: &str) -> Vec<String> {
    vec!["sh".into(), dir.join(name).to_string_lossy().into_owned(), member.into()]
}

/// A cluster of members whose data is under `dir`; ports from `ports`, three per member.
pub(crate) fn mk_cluster(dir: &Path, ports: &[u16], tools: Tools) -> Cluster {
    let members = ports.chunks(3).zip(1..).map(|(ports, number)| {
        let name = format!("m{number}");
        Member {
            client: format!("http://127.0.0.1:{}", ports[0]),
            peer: format!("http://127.0.0.1:{}", ports[1]),
            metrics: Some(format!("http://127.0.0.1:{}", ports[2])),
            data_dir: dir.join(&name).join("data"),
            service: Service {
                start: script(dir, "start", &name),
                stop: script(dir, "stop", &name),
                status: script(dir, "status", &name),
                mask: None,
                unmask: None,
                is_masked: None,
            },
            ..sample::member(&name)
        }
    });
    let mut cluster = sample::cluster_of("c1", members.collect());
    cluster.etcd.tools = tools;
    cluster.etcd.backups.dir = dir.join("backups");
    cluster.control_targets.clear();
    cluster
}

/// Tools that are not there.
pub(crate) fn no_tools() -> Tools {
    Tools { etcdutl: "/nowhere/etcdutl".into(), etcd: "/nowhere/etcd".into() }
}

/// A call of one fixed run.
pub(crate) fn mk_call(action: &str, args: &[(&str, Value)]) -> Call {
    let args = args.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Call { action: action.into(), args, run: RunId(uuid::Uuid::from_u128(77)), started_at: Time(0) }
}

/// Does it, without deadline or lock.
pub(crate) async fn act(cluster: &Arc<Cluster>, call: &Call) -> Result<Done, Failure> {
    act_on(cluster, call, &nothing()).await
}

/// The same, on what was read before.
pub(crate) async fn act_on(
    cluster: &Arc<Cluster>,
    call: &Call,
    before: &Value,
) -> Result<Done, Failure> {
    registry().get(&call.action).unwrap().act(On { cluster, call }, before).await
}

/// Reads what it is about to change.
pub(crate) async fn before(cluster: &Arc<Cluster>, call: &Call) -> Result<Value, Failure> {
    registry().get(&call.action).unwrap().before(On { cluster, call }).await
}

/// Asks whether it took effect.
pub(crate) async fn probe(
    cluster: &Arc<Cluster>,
    call: &Call,
    before: &Value,
) -> Result<Probed, Failure> {
    registry().get(&call.action).unwrap().probe(On { cluster, call }, before).await
}

/// A probe's answer without its details.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Says {
    Done,
    NotDone,
    Unknown,
}

impl Says {
    /// Which one it is; whatever is not told by an output must say why.
    pub(crate) fn of(probed: &Probed) -> Self {
        match probed {
            Probed::Done(_) => Self::Done,
            Probed::NotDone { finding } => {
                assert!(!finding.is_empty(), "a finding says what was seen");
                Self::NotDone
            }
            Probed::Unknown(why) => {
                assert!(!why.is_empty());
                Self::Unknown
            }
        }
    }
}
