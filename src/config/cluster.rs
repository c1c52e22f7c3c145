//! One cluster of the inventory.

use std::{collections::BTreeMap, ops::Range};

use super::{
    etcd,
    field::{Folder, host_of, name, unsigned, url},
    shared::Shared,
};
use crate::domain::{
    alert::labels::Matchers,
    base::id::{ClusterName, HostName},
    inventory::{Cluster, Endpoint, Host, Mode},
    rules::{
        codes,
        response::parse::matchers,
        yaml::{
            Node,
            read::{Fields, Names, Sink, text, word},
        },
    },
};

/// Reads one cluster, and where its name stands.
pub(super) fn read(
    node: &Node,
    shared: &Shared<'_>,
    sink: &mut Sink<'_>,
) -> Option<(Cluster, Range<usize>)> {
    let errors = sink.errors();
    let mut fields = Fields::of(node, sink)?;
    let named = fields.need("name", sink);
    let matches = if shared.alone { fields.get("match") } else { fields.need("match", sink) };
    let matches = match matches {
        Some(node) => matchers(node, sink),
        None => Matchers::parse("{}").ok(),
    };
    let labels = fields.get("labels").map(|node| labels(node, sink)).unwrap_or_default();
    let hosts = fields.need("hosts", sink).map(|node| hosts(node, sink)).unwrap_or_default();
    let patient = fields.need("etcd", sink).and_then(|node| etcd::read(node, &hosts, shared, sink));
    let prometheus = fields.get("prometheus").and_then(|node| endpoint(node, shared.folder, sink));
    let manager = fields.get("alertmanager").and_then(|node| endpoint(node, shared.folder, sink));
    let words = [Mode::Propose, Mode::Auto].map(Mode::label);
    let mode = fields.get("mode").and_then(|node| word(node, &words, sink));
    let budget = fields.get("loss_budget").and_then(|node| budget(node, sink));
    fields.unsupported(&["kubernetes", "ssh", "maintenance"], sink);
    fields.finish(sink);

    let named = named?;
    let name = ClusterName::from(Names::Kebab.read(named, sink)?);
    let cluster = Cluster {
        name,
        matches: matches?,
        labels,
        etcd: patient?,
        hosts,
        prometheus,
        alertmanager: manager,
        control_targets: shared.control_targets.unwrap_or_default().to_vec(),
        mode: if mode == Some(Mode::Auto.label()) { Mode::Auto } else { Mode::Propose },
        loss_budget_revisions: budget.unwrap_or(0),
        probe_timeout: shared.probe_timeout,
    };
    // Not where a target was written and is wrong: one mistake is one problem.
    let is_told = shared.control_targets.is_some() && sink.errors() == errors;
    if is_told && !has_control_target(&cluster) {
        let message =
            format!("nothing tells whether {} or quorate itself is cut off", cluster.name);
        let help = "name a Prometheus or Alertmanager that does not stand on its hosts, or `control_targets`";
        sink.add_help(&codes::NO_CONTROL_TARGET, &named.span, message, help);
    }
    Some((cluster, named.span.clone()))
}

/// Whether a target exists that does not stand on the patient's hosts.
fn has_control_target(cluster: &Cluster) -> bool {
    let own = [&cluster.prometheus, &cluster.alertmanager];
    let own = own.into_iter().flatten().map(|endpoint| &endpoint.url);
    own.chain(&cluster.control_targets).any(|target| {
        let host = host_of(target);
        host.is_some() && !cluster.hosts.values().any(|patient| patient.address == host)
    })
}

fn labels(node: &Node, sink: &mut Sink<'_>) -> BTreeMap<String, String> {
    let Some(mut fields) = Fields::of(node, sink) else { return BTreeMap::new() };
    let pairs = fields.rest().into_iter();
    pairs
        .filter_map(|(key, value)| Some((key.name.clone(), text(value, sink)?.to_owned())))
        .collect()
}

fn hosts(node: &Node, sink: &mut Sink<'_>) -> BTreeMap<HostName, Host> {
    let Some(mut fields) = Fields::of(node, sink) else { return BTreeMap::new() };
    let mut hosts = BTreeMap::new();
    for (key, value) in fields.rest() {
        name(&key.name, &key.span, sink);
        if let Some(host) = host(value, sink) {
            hosts.insert(HostName::from(key.name.as_str()), host);
        }
    }
    hosts
}

fn host(node: &Node, sink: &mut Sink<'_>) -> Option<Host> {
    let mut fields = Fields::of(node, sink)?;
    let address = fields.get("address").and_then(|node| text(node, sink));
    let zone = fields.get("zone").and_then(|node| text(node, sink));
    if let Some(node) = fields.need("transport", sink) {
        if node.as_str() == Some("ssh") || node.get("command").is_some() {
            let message = "this transport is not supported yet";
            sink.add_help(&codes::NOT_SUPPORTED, &node.span, message, "write `transport: local`");
        } else {
            word(node, &["local"], sink);
        }
    }
    fields.unsupported(&["become", "control_plane"], sink);
    fields.finish(sink);
    Some(Host { address: address.map(str::to_owned), zone: zone.map(str::to_owned) })
}

fn endpoint(node: &Node, folder: &Folder<'_>, sink: &mut Sink<'_>) -> Option<Endpoint> {
    let mut fields = Fields::of(node, sink)?;
    let url = fields.need("url", sink).and_then(|node| url(node, false, sink));
    let auth = fields.get("auth").and_then(|node| Fields::of(node, sink));
    fields.finish(sink);
    let bearer_file = auth.and_then(|mut fields| {
        fields.unsupported(&["basic"], sink);
        let file = fields.need("bearer_file", sink).and_then(|node| folder.file(node, sink));
        fields.finish(sink);
        file
    });
    Some(Endpoint { url: url?, bearer_file })
}

fn budget(node: &Node, sink: &mut Sink<'_>) -> Option<u64> {
    super::field::only(node, "revisions", sink).and_then(|node| unsigned(node, sink))
}
