//! The etcd of a cluster: members, how they are started, where their data is.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    field::{Folder, explicit_port, factor, filled, host_path, name, ports, url},
    shared::Shared,
    whereabouts::lies,
};
use crate::domain::{
    base::id::{HostName, MemberName},
    inventory::{Auth, Backups, Etcd, Host, Member, Service, Tls, Tools},
    rules::{
        codes,
        vocabulary::LAYOUTS,
        yaml::{
            Node,
            read::{Fields, Sink, count, head, list, suggest, text, word},
        },
    },
};

/// Ports for scratch copies where none are named.
const SCRATCH_PORTS: std::ops::RangeInclusive<u16> = 23790..=23799;
/// Risks that can be accepted by name.
const ALLOW: &[&str] = &["restore_without_bump", "force_new_cluster_below_fix"];

/// What may be given for all members or for one.
#[derive(Clone, Copy, Default)]
struct PerMember<'n> {
    data_dir: Option<&'n Node>,
    wal_dir: Option<&'n Node>,
    service: Option<&'n Node>,
    args: Option<&'n Node>,
}

impl<'n> PerMember<'n> {
    fn read(fields: &mut Fields<'n>) -> Self {
        Self {
            data_dir: fields.get("data_dir"),
            wal_dir: fields.get("wal_dir"),
            service: fields.get("service"),
            args: fields.get("args"),
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            data_dir: self.data_dir.or(other.data_dir),
            wal_dir: self.wal_dir.or(other.wal_dir),
            service: self.service.or(other.service),
            args: self.args.or(other.args),
        }
    }
}

pub(super) fn read(
    node: &Node,
    hosts: &BTreeMap<HostName, Host>,
    shared: &Shared<'_>,
    sink: &mut Sink<'_>,
) -> Option<Etcd> {
    let mut fields = Fields::of(node, sink)?;
    if let Some(node) = fields.need("layout", sink)
        && let Some(layout) = word(node, LAYOUTS, sink).filter(|layout| *layout != "hosts")
    {
        let message = format!("layout `{layout}` is not supported yet");
        sink.add_help(&codes::NOT_SUPPORTED, &node.span, message, "write `layout: hosts`");
    }
    let listed = fields.need("members", sink);
    let tls = fields.get("tls").and_then(|node| tls(node, shared.folder, sink));
    let auth = fields.get("auth").and_then(|node| auth(node, shared.folder, sink));
    let common = PerMember::read(&mut fields);
    let tools = fields.get("tools").map_or_else(default_tools, |node| tools(node, sink));
    let backups = fields.get("backups").map_or_else(default_backups, |node| backups(node, sink));
    let scratch = fields.get("scratch_ports");
    let allow = fields.get("allow").and_then(|node| list(node, sink)).unwrap_or_default();
    fields.finish(sink);
    let allow =
        allow.iter().filter_map(|item| word(item, ALLOW, sink)).map(str::to_owned).collect();

    let listed = listed?;
    let items = list(listed, sink)?;
    if items.is_empty() {
        sink.add(&codes::OUT_OF_RANGE, &listed.span, "at least one member was expected here");
    }
    let (mut members, mut places) = (Vec::new(), Vec::new());
    for item in items {
        let Some(member) = member(item, common, hosts, sink) else { continue };
        let place = lies(&member.data_dir);
        unique((&member, &place), &members, &places, item, sink);
        let wal = member.wal_dir.as_deref().map(lies);
        if nested(shared.store, &place) || wal.is_some_and(|wal| nested(shared.store, &wal)) {
            let message = format!("quorate's own store stands in the data of {}", member.name);
            let help = "the journal must outlive the patient: give `store.embedded.path` elsewhere";
            sink.add_help(&codes::OWN_STORE, &item.span, message, help);
        }
        members.push(member);
        places.push(place);
    }
    let scratch_ports = scratch.and_then(|node| ports(node, sink)).unwrap_or(SCRATCH_PORTS);
    let taken = |url: &String| explicit_port(url).is_some_and(|port| scratch_ports.contains(&port));
    if let Some(member) = members.iter().find(|member| taken(&member.client) || taken(&member.peer))
    {
        let span = scratch.map_or(&listed.span, |node| &node.span);
        let message = format!("{} listens on a port of `scratch_ports`", member.name);
        sink.add(&codes::OUT_OF_RANGE, span, message);
    }
    Some(Etcd { members, tls, auth, tools, backups, scratch_ports, allow })
}

fn member(
    node: &Node,
    common: PerMember<'_>,
    hosts: &BTreeMap<HostName, Host>,
    sink: &mut Sink<'_>,
) -> Option<Member> {
    let mut fields = Fields::of(node, sink)?;
    let named = fields.need("name", sink);
    let client = fields.need("client", sink).and_then(|node| url(node, true, sink));
    let peer = fields.need("peer", sink).and_then(|node| url(node, true, sink));
    let metrics = fields.get("metrics").map(|node| url(node, true, sink));
    let host = fields.need("host", sink);
    let own = PerMember::read(&mut fields).or(common);
    let span = fields.span.clone();
    fields.finish(sink);
    let named = named?;
    let member_name = text(named, sink).filter(|got| name(got, &named.span, sink))?;
    let host = host.and_then(|node| known_host(node, hosts, sink));
    for (key, node) in [("data_dir", own.data_dir), ("service", own.service)] {
        if node.is_none() {
            let at = head(sink.text(), &span);
            let message = format!("{member_name} has no `{key}`, and `etcd` names none for all");
            sink.add(&codes::MISSING_KEY, &at, message);
        }
    }
    let data_dir = own.data_dir.and_then(|node| host_path(node, member_name, sink));
    let wal_dir = own.wal_dir.map(|node| host_path(node, member_name, sink));
    let service = own.service.and_then(|node| service(node, member_name, sink));
    if let Some(node) = own.args {
        args(node, sink);
    }
    Some(Member {
        name: MemberName::from(member_name),
        client: client?,
        peer: peer?,
        metrics: match metrics {
            Some(read) => Some(read?),
            None => None,
        },
        host: host?,
        data_dir: data_dir?,
        wal_dir: match wal_dir {
            Some(read) => Some(read?),
            None => None,
        },
        service: service?,
    })
}

fn known_host(
    node: &Node,
    hosts: &BTreeMap<HostName, Host>,
    sink: &mut Sink<'_>,
) -> Option<HostName> {
    let got = text(node, sink)?;
    if hosts.contains_key(got) {
        return Some(HostName::from(got));
    }
    let names: Vec<&str> = hosts.keys().map(HostName::as_str).collect();
    let message = format!("there is no host `{got}` in this cluster");
    sink.push(&codes::UNKNOWN_HOST, &node.span, message, suggest(got, &names));
    None
}

fn unique(
    (member, place): (&Member, &Path),
    before: &[Member],
    places: &[PathBuf],
    node: &Node,
    sink: &mut Sink<'_>,
) {
    let same = |a: &Member, lies: &Path| {
        [
            (a.name == member.name, "name"),
            (a.client == member.client, "client"),
            (a.peer == member.peer, "peer"),
            (a.metrics.is_some() && a.metrics == member.metrics, "metrics"),
            // The only transport is local: all hosts are names for this machine.
            (nested(lies, place), "data_dir"),
        ]
    };
    for (other, lies) in before.iter().zip(places) {
        for (_, key) in same(other, lies).into_iter().filter(|(same, _)| *same) {
            let place = node.get(key).unwrap_or(node);
            let at = head(sink.text(), &place.span);
            let message = format!("{} has the same `{key}` as {}", member.name, other.name);
            sink.add(&codes::NOT_UNIQUE, &at, message);
        }
    }
}

/// Whether one path is the other or lies inside it.
fn nested(a: &Path, b: &Path) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

/// Commands that start, stop and find the process, with `${member}` filled in.
fn service(node: &Node, member: &str, sink: &mut Sink<'_>) -> Option<Service> {
    let mut fields = Fields::of(node, sink)?;
    fields.unsupported(&["systemd"], sink);
    if node.get("systemd").is_some() {
        fields.finish(sink);
        return None;
    }
    let command = fields.need("command", sink);
    fields.finish(sink);
    let command = command?;
    let mut fields = Fields::of(command, sink)?;
    let [start, stop, status] = ["start", "stop", "status"]
        .map(|key| fields.need(key, sink).map(|node| argv(node, member, sink)));
    let [mask, unmask, is_masked] = ["mask", "unmask", "is_masked"]
        .map(|key| fields.get(key).and_then(|node| argv(node, member, sink)));
    // One that is named and wrong has been told already.
    let masks = ["mask", "unmask"].iter().any(|key| command.get(key).is_some());
    let span = fields.span.clone();
    fields.finish(sink);
    if mask.is_some() != unmask.is_some() {
        let message = "`mask` and `unmask` go together";
        sink.add(&codes::MISSING_KEY, &head(sink.text(), &span), message);
    } else if !masks {
        let message = "an init system that restarts a fenced member would start it on an empty directory: neither `mask` nor `unmask` is named";
        let help = "name both, as `systemctl mask` and `systemctl unmask` of the member's unit";
        sink.add_help(&codes::NO_MASK, &head(sink.text(), &span), message, help);
    }
    Some(Service { start: start??, stop: stop??, status: status??, mask, unmask, is_masked })
}

/// A command as a list: nothing ever goes through a shell.
fn argv(node: &Node, member: &str, sink: &mut Sink<'_>) -> Option<Vec<String>> {
    let items = list(node, sink)?;
    let words: Option<Vec<String>> = items.iter().map(|item| filled(item, member, sink)).collect();
    let words = words?;
    if words.first().is_none_or(|program| !program.starts_with('/')) {
        let message = "a command begins with the absolute path of a program";
        sink.add(&codes::BAD_PATH, &node.span, message);
        return None;
    }
    Some(words)
}

/// How a start gets other arguments: appended to the command, the only way so far.
fn args(node: &Node, sink: &mut Sink<'_>) {
    let later = node.as_str() == Some("drop_in")
        || node.get("env_file").is_some()
        || node.get("config_file").is_some();
    if later {
        let message = "this way of giving arguments is not supported yet";
        sink.add_help(&codes::NOT_SUPPORTED, &node.span, message, "write `args: command`");
    } else {
        word(node, &["command"], sink);
    }
}

fn tls(node: &Node, folder: &Folder<'_>, sink: &mut Sink<'_>) -> Option<Tls> {
    let mut fields = Fields::of(node, sink)?;
    let ca_file = fields.need("ca_file", sink).and_then(|node| folder.file(node, sink));
    let own = ["cert_file", "key_file"].map(|key| fields.get(key));
    let at = head(sink.text(), &fields.span);
    fields.finish(sink);
    if own[0].is_some() != own[1].is_some() {
        sink.add(&codes::MISSING_KEY, &at, "`cert_file` and `key_file` go together");
    }
    let [cert_file, key_file] = own.map(|node| node.and_then(|node| folder.file(node, sink)));
    Some(Tls { ca_file: ca_file?, cert_file, key_file })
}

fn auth(node: &Node, folder: &Folder<'_>, sink: &mut Sink<'_>) -> Option<Auth> {
    let mut fields = Fields::of(node, sink)?;
    let username = fields.need("username", sink).and_then(|node| text(node, sink));
    let file = fields.need("password_file", sink).and_then(|node| folder.file(node, sink));
    fields.finish(sink);
    Some(Auth { username: username?.to_owned(), password_file: file? })
}

/// Where Debian and most packages put the tools.
fn default_tools() -> Tools {
    Tools { etcdutl: PathBuf::from("/usr/bin/etcdutl"), etcd: PathBuf::from("/usr/bin/etcd") }
}

fn tools(node: &Node, sink: &mut Sink<'_>) -> Tools {
    let mut tools = default_tools();
    let Some(mut fields) = Fields::of(node, sink) else { return tools };
    let etcdutl = fields.get("etcdutl").and_then(|node| host_path(node, "", sink));
    let etcd = fields.get("etcd").and_then(|node| host_path(node, "", sink));
    fields.finish(sink);
    tools.etcdutl = etcdutl.unwrap_or(tools.etcdutl);
    tools.etcd = etcd.unwrap_or(tools.etcd);
    tools
}

/// Twice the data: one copy and one restored directory.
fn default_backups() -> Backups {
    Backups { dir: PathBuf::from("/var/backups/etcd"), min_free_factor: 2.0 }
}

fn backups(node: &Node, sink: &mut Sink<'_>) -> Backups {
    let mut backups = default_backups();
    let Some(mut fields) = Fields::of(node, sink) else { return backups };
    let dir = fields.get("dir").and_then(|node| host_path(node, "", sink));
    let min_free = fields.get("min_free").and_then(|node| factor(node, sink));
    if let Some(node) = fields.get("keep")
        && count(node, &(1..=1000), sink).is_some()
    {
        let message = "`keep` has no effect yet: the copies of every repair stay";
        let help = "remove old folders of `dir` by hand, once their losses are acknowledged";
        sink.add_help(&codes::NO_EFFECT_YET, &node.span, message, help);
    }
    fields.finish(sink);
    backups.dir = dir.unwrap_or(backups.dir);
    backups.min_free_factor = min_free.unwrap_or(backups.min_free_factor);
    backups
}
