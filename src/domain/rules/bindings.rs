//! What expressions see of the patient: `etcd`, `hosts`, `cluster`, `ledger`, `subject`, `signals`.
//!
//! Built from a judgement; an unknown reading is left out, so that touching it is *unknown*.
//! `nodes` and `api` have no source yet and are therefore absent as a whole.

use std::{collections::BTreeMap, sync::Arc};

use super::expr::{HostOf, Value, Variables};
use crate::domain::{
    base::time::Time,
    etcd::{
        evidence::Evidence,
        loss::Loss,
        verdict::{Judgement, MemberState},
    },
    incident::ledger::Ledger,
    inventory::Cluster,
};

/// A set of root values, and what the functions need.
#[derive(Clone, Debug)]
pub struct Bindings {
    /// Values by name.
    pub values: BTreeMap<String, Value>,
    /// The inventory, for `hosts.of_member`.
    pub cluster: Arc<Cluster>,
    /// `now`.
    pub now: Time,
}

impl Variables for Bindings {
    fn root(&self, name: &str) -> Option<Value> {
        self.values.get(name).cloned()
    }

    fn host_of(&self, kind: HostOf, name: &str) -> Option<Value> {
        match kind {
            HostOf::Member => {
                self.cluster.member(name).map(|member| Value::str(member.host.as_str()))
            }
            HostOf::Node => None,
        }
    }

    fn now(&self) -> i64 {
        self.now.0
    }
}

/// `cluster`: the inventory entry.
pub fn cluster_value(cluster: &Cluster) -> Value {
    let labels = cluster.labels.iter().map(|(n, v)| (n.as_str(), Value::str(v.as_str())));
    let hosts = cluster.hosts.iter().map(|(name, host)| {
        let named = |field, value: &Option<String>| Some((field, Value::str(value.as_deref()?)));
        let fields = [named("address", &host.address), named("zone", &host.zone)];
        (name.as_str(), Value::map(fields.into_iter().flatten()))
    });
    Value::map([
        ("name", Value::str(cluster.name.as_str())),
        ("labels", Value::map(labels)),
        ("mode", Value::str(cluster.mode.label())),
        ("etcd", Value::map([("layout", Value::str("hosts"))])),
        ("hosts", Value::map(hosts)),
    ])
}

/// `etcd`: verdict, voters, members.
pub fn etcd_value(judgement: &Judgement, survivor: Option<&str>, loss: Option<&Loss>) -> Value {
    let members =
        judgement.members.iter().map(|(name, state)| (name.as_str(), member_value(state)));
    let mut fields = vec![
        ("verdict", Value::str(judgement.quorum.label())),
        ("reason", Value::str(judgement.reason.as_str())),
        ("members", Value::map(members)),
    ];
    if judgement.quorum.label() == "unknown" {
        fields.remove(0); // an unknown verdict is absent like any other unknown reading
    }
    if !judgement.voters.is_empty() {
        let voters = judgement.voters.iter().map(|name| Value::str(name.as_str()));
        fields.push(("voters", Value::list(voters.collect())));
    }
    fields.extend(survivor.map(|name| ("survivor", Value::str(name))));
    if let Some(loss) = loss {
        let mut bounds = vec![("lower", int(loss.lower))];
        bounds.extend(loss.upper.map(|upper| ("upper", int(upper))));
        fields.push(("loss", Value::map(bounds)));
    }
    Value::map(fields)
}

fn int(n: u64) -> Value {
    Value::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

fn member_value(state: &MemberState) -> Value {
    let mut fields = vec![
        ("host", Value::str(state.host.as_str())),
        ("serving", Value::Bool(state.serving)),
        ("held", Value::Bool(state.held)),
    ];
    fields.extend(state.learner.map(|learner| ("learner", Value::Bool(learner))));
    fields.extend(state.id.map(|id| ("id", Value::str(id.to_string()))));
    fields.extend(state.alive.map(|alive| ("alive", Value::Bool(alive))));
    fields.extend(state.leader.map(|leader| ("leader", Value::Bool(leader))));
    fields.extend(state.revision.map(|revision| ("revision", Value::Int(revision))));
    fields.extend(state.data.map(|data| ("data", Value::str(data.label()))));
    fields.extend(state.permanence.map(|class| ("permanence", Value::str(class.label()))));
    Value::map(fields)
}

/// `hosts`: what our transports saw.
pub fn hosts_value(evidence: &Evidence) -> Value {
    Value::map(evidence.hosts.iter().map(|(name, host)| {
        let mut fields = vec![("reachable", Value::Bool(host.reachable))];
        fields.extend(host.free_bytes.map(|bytes| ("free_bytes", int(bytes))));
        (name.as_str(), Value::map(fields))
    }))
}

/// `ledger`: what was tried before.
pub fn ledger_value(ledger: &Ledger, open_loss: bool, now: Time) -> Value {
    let mut fields =
        vec![("attempts", int(ledger.attempts())), ("open_loss", Value::Bool(open_loss))];
    fields.extend(ledger.last_success().map(|at| ("last_success", Value::Time(at.0))));
    fields.extend(ledger.unhealthy_since.map(|since| {
        let span = i64::try_from(now.since(since).as_millis()).unwrap_or(i64::MAX);
        ("unhealthy_for", Value::Duration(span))
    }));
    Value::map(fields)
}
