//! The keys of `quorate.yaml` beside the clusters.

use std::{net::SocketAddr, path::Path, time::Duration};

use super::{
    BODIES_MAX, Config, Token, Watch, Webhook,
    field::{Folder, plain, real, size, target},
    files,
    inventory::{self, Inventory},
    shared::Shared,
};
use crate::domain::rules::{
    codes,
    diagnostic::Diagnostic,
    has_errors,
    response::Role,
    yaml::{
        Node,
        read::{Bounds, Fields, Sink, count, duration, list, text, word},
    },
};

#[cfg(test)]
mod tests;

const EVERY: Bounds<Duration> = Duration::from_secs(1)..=Duration::from_mins(5);
const PROBE: Bounds<Duration> = Duration::from_secs(1)..=Duration::from_mins(1);
const RETENTION: Bounds<Duration> = Duration::from_hours(1)..=Duration::from_hours(3660 * 24);
const GRACE: Bounds<Duration> = Duration::ZERO..=Duration::from_mins(10);

/// A configuration that was read, with the files of clusters that it names.
#[derive(Debug)]
pub struct Loaded {
    /// The result; `None` where there are errors. Warnings alone do not keep it back.
    pub config: Option<Config>,
    /// All problems, file by file.
    pub found: Vec<Diagnostic>,
    /// Name and text of every further file that was read.
    pub files: Vec<(String, String)>,
}

/// Reads a configuration. `file` is its name for people, `folder` where relative paths begin.
pub fn load(file: &str, source: &str, folder: &Path) -> Loaded {
    let mut sink = Sink::new(file, source);
    let root = files::document(&mut sink, "a configuration");
    let mut config = Config::without_file(folder);
    let rules_named = root.as_ref().is_some_and(|root| root.get("rules").is_some());
    let mut inventory = Inventory::default();
    match &root {
        Some(root) => inventory = read(root, &Folder(folder), &mut config, &mut sink),
        // half of a write looks like that: taken for all defaults, it would drop tokens and clusters
        None => sink.add(
            &codes::WRONG_TYPE,
            &(0..0),
            "the file holds nothing; for a configuration of defaults only write `{}`",
        ),
    }
    if !rules_named {
        config.rules.retain(|path| path.exists());
    }
    let (files, mut found) = (inventory.files, sink.finish());
    for too_large in found.iter_mut().filter(|one| one.id == codes::TOO_LARGE.id) {
        let help = "clusters may stand in files of their own: `clusters: [clusters.d]`";
        too_large.help.get_or_insert_with(|| help.to_owned());
    }
    found.extend(inventory.found);
    (config.clusters, config.cluster_files) = (inventory.clusters, inventory.named);
    Loaded { config: (!has_errors(&found)).then_some(config), found, files }
}

fn read<'t>(
    root: &Node,
    folder: &Folder<'_>,
    config: &mut Config,
    sink: &mut Sink<'t>,
) -> Inventory<'t> {
    let Some(mut fields) = Fields::of(root, sink) else { return Inventory::default() };
    let listening = fields.get("listen");
    if let Some(address) = listening.and_then(|node| listen(node, sink)) {
        config.listen = address;
    }
    if let Some(items) = fields.get("rules").and_then(|node| list(node, sink)) {
        config.rules = items.iter().filter_map(|item| folder.path(item, sink)).collect();
    }
    if let Some(path) = fields.get("store").and_then(|node| store(node, folder, sink)) {
        config.store = path;
    }
    config.store = plain(&config.store);
    if let Some(node) = fields.get("retention")
        && let Some(mut inner) = Fields::of(node, sink)
    {
        let finished = inner.get("finished").and_then(|node| duration(node, &RETENTION, sink));
        config.retention_finished = finished.unwrap_or(config.retention_finished);
        inner.finish(sink);
    }
    let has_auth = fields.get("webhook").is_some_and(|node| webhook(node, folder, config, sink));
    if !config.listen.ip().is_loopback() && !has_auth {
        let span = listening.map_or(0..0, |node| node.span.clone());
        let message = format!("everybody who reaches {} could post alerts", config.listen);
        let help =
            "add `webhook: {auth: {bearer_file: …}}`, or write `auth: none` if that is meant";
        sink.add_help(&codes::OPEN_WEBHOOK, &span, message, help);
    }
    let (api, errors) = (fields.get("api"), sink.errors());
    if let Some(node) = api {
        config.tokens = tokens(node, folder, sink);
    }
    // Not where a token was written and is wrong: one mistake is one problem.
    if sink.errors() == errors {
        nobody(config, api.or(listening), sink);
    }
    if let Some(node) = fields.get("watch") {
        watch(node, &mut config.watch, sink);
    }
    if let Some(node) = fields.get("runs")
        && let Some(mut inner) = Fields::of(node, sink)
    {
        let concurrent = inner.get("concurrent").and_then(|node| count(node, &(1..=1000), sink));
        config.runs_concurrent = concurrent.unwrap_or(config.runs_concurrent);
        inner.finish(sink);
    }
    let grace = fields.get("shutdown_grace").and_then(|node| duration(node, &GRACE, sink));
    config.shutdown_grace = grace.unwrap_or(config.shutdown_grace);
    let targets = fields.get("control_targets").and_then(|node| list(node, sink));
    let targets = targets.unwrap_or_default().iter().filter_map(|item| target(item, sink));
    let control_targets: Vec<String> = targets.collect();
    let clusters = fields.get("clusters").and_then(|node| list(node, sink));
    fields.unsupported(&["tls", "notify"], sink);
    fields.finish(sink);
    let shared = Shared {
        folder,
        control_targets: Some(&control_targets),
        probe_timeout: config.watch.timeout,
        store: &real(&config.store),
        alone: true,
    };
    inventory::read(clusters.unwrap_or_default(), &shared, sink)
}

fn listen(node: &Node, sink: &mut Sink<'_>) -> Option<SocketAddr> {
    let got = text(node, sink)?;
    let address = got.parse::<SocketAddr>().ok();
    if address.is_none() {
        let message = format!("{got:?} is no address to listen on");
        sink.add_help(&codes::BAD_URL, &node.span, message, "write ip:port, as 127.0.0.1:9912");
    }
    address
}

/// Warns where the API can be reached from elsewhere and lets nobody in.
fn nobody(config: &Config, at: Option<&Node>, sink: &mut Sink<'_>) {
    if config.listen.ip().is_loopback() || !config.tokens.is_empty() {
        return;
    }
    let span = at.map_or(0..0, |node| node.span.clone());
    let message = format!(
        "nobody can use the API at {}, not even from this machine: beyond loopback it needs tokens, and a repair that asks is never approved",
        config.listen
    );
    let help = "add `api: {tokens: [{name: …, role: approver, file: …}]}`, or listen on 127.0.0.1";
    sink.add_help(&codes::NO_TOKENS, &span, message, help);
}

fn store(node: &Node, folder: &Folder<'_>, sink: &mut Sink<'_>) -> Option<std::path::PathBuf> {
    let mut fields = Fields::of(node, sink)?;
    fields.unsupported(&["etcd"], sink);
    let embedded = fields.get("embedded");
    fields.finish(sink);
    let path = super::field::only(embedded?, "path", sink)?;
    folder.path(path, sink)
}

/// Whether authentication was decided on: a token, or `none` in so many words.
fn webhook(node: &Node, folder: &Folder<'_>, config: &mut Config, sink: &mut Sink<'_>) -> bool {
    let Some(mut fields) = Fields::of(node, sink) else { return false };
    let auth = fields.get("auth");
    // 256 MiB: more alerts than a responder of one machine is made for.
    let bounds = (1 << 10)..=(256 << 20);
    let max_body = fields.get("max_body").and_then(|node| size(node, &bounds, sink));
    let max_body = max_body.unwrap_or(config.webhook.max_body);
    let bodies = fields.get("bodies_max");
    let bodies_max = bodies.and_then(|node| size(node, &((1 << 10)..=(4 << 30)), sink));
    if let (Some(node), Some(bodies_max)) = (bodies, bodies_max)
        && bodies_max < max_body
    {
        let message = "`bodies_max` is less than `max_body`: the largest body would never fit";
        sink.add(&codes::OUT_OF_RANGE, &node.span, message);
    }
    fields.finish(sink);
    let mut decided = auth.is_some();
    let mut bearer_file = None;
    if let Some(node) = auth {
        if node.as_str().is_some() {
            decided = word(node, &["none"], sink).is_some();
        } else if let Some(mut fields) = Fields::of(node, sink) {
            fields.unsupported(&["basic", "mtls", "hmac"], sink);
            let file = fields.need("bearer_file", sink);
            bearer_file = file.and_then(|node| folder.file(node, sink));
            fields.finish(sink);
        }
    }
    let bodies_max = bodies_max.unwrap_or_else(|| BODIES_MAX.max(max_body));
    config.webhook = Webhook { bearer_file, max_body, bodies_max };
    decided
}

fn tokens(node: &Node, folder: &Folder<'_>, sink: &mut Sink<'_>) -> Vec<Token> {
    let items = super::field::only(node, "tokens", sink).and_then(|node| list(node, sink));
    let mut tokens: Vec<Token> = Vec::new();
    for item in items.unwrap_or_default() {
        let Some(mut fields) = Fields::of(item, sink) else { continue };
        let name = fields.need("name", sink);
        let words = Role::ALL.map(Role::label);
        let role = fields.need("role", sink).and_then(|node| word(node, &words, sink));
        let file = fields.need("file", sink).and_then(|node| folder.file(node, sink));
        fields.finish(sink);
        let Some(name) = name.and_then(|node| text(node, sink).map(|name| (name, node))) else {
            continue;
        };
        super::field::name(name.0, &name.1.span, sink);
        if tokens.iter().any(|token| token.name == name.0) {
            let message = format!("there is a token `{}` already", name.0);
            sink.add(&codes::NOT_UNIQUE, &name.1.span, message);
        }
        if let (Some(role), Some(file)) = (role.and_then(Role::parse), file) {
            tokens.push(Token { name: name.0.to_owned(), role, file });
        }
    }
    tokens
}

fn watch(node: &Node, watch: &mut Watch, sink: &mut Sink<'_>) {
    let Some(mut fields) = Fields::of(node, sink) else { return };
    let every = fields.get("every").and_then(|node| duration(node, &EVERY, sink));
    let timeout = fields.get("timeout").and_then(|node| duration(node, &PROBE, sink));
    let concurrent = fields.get("concurrent").and_then(|node| count(node, &(1..=10_000), sink));
    fields.finish(sink);
    watch.every = every.unwrap_or(watch.every);
    watch.timeout = timeout.unwrap_or(watch.timeout);
    watch.concurrent = concurrent.unwrap_or(watch.concurrent);
}
