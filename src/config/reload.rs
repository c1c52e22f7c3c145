//! A configuration read anew while the old one is in force: all or nothing, and what is different.
//!
//! It puts nothing in force. The same code reads it as at the start and as `check` does.

use std::{collections::BTreeMap, fmt, path::Path};

use super::{Checked, Config, Token, Watch, Webhook, open};
use crate::domain::{
    base::time::format_duration,
    inventory::Cluster,
    rules::{Rules, action::Catalogue, diagnostic::Diagnostic},
};

#[cfg(test)]
mod tests;

/// Differences that are told one by one; a new inventory has thousands.
pub(super) const TOLD_MAX: usize = 100;

/// A configuration that may replace the one in force.
#[derive(Debug)]
pub struct Reloaded {
    /// It.
    pub config: Config,
    /// Its rules.
    pub rules: Rules,
    /// What is different: settings first, then clusters, responses and playbooks by name.
    pub changes: Vec<Change>,
    /// What somebody should look at all the same.
    pub warnings: Vec<Diagnostic>,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A setting has another value.
    Setting {
        /// Its key.
        key: &'static str,
        /// The value in force.
        from: String,
        /// The value in the files.
        to: String,
        /// Whether only a restart puts it in force.
        needs_restart: bool,
    },
    /// A cluster.
    Cluster(String, Kind),
    /// A response.
    Response(String, Kind),
    /// A playbook.
    Playbook(String, Kind),
}

/// What became of a thing with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is new.
    Added,
    /// It is not there any more.
    Removed,
    /// It is different, in these parts where those have names.
    Changed(Vec<&'static str>),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting { key, from, to, needs_restart } => {
                let later = if *needs_restart { "; it needs a restart" } else { "" };
                write!(f, "{key}: {from} becomes {to}{later}")
            }
            Self::Cluster(name, kind) => write!(f, "cluster {name} {kind}"),
            Self::Response(name, kind) => write!(f, "response {name} {kind}"),
            Self::Playbook(name, kind) => write!(f, "playbook {name} {kind}"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added => f.write_str("added"),
            Self::Removed => f.write_str("removed"),
            Self::Changed(parts) if parts.is_empty() => f.write_str("changed"),
            Self::Changed(parts) => write!(f, "changed: {}", parts.join(", ")),
        }
    }
}

/// The differences as lines; of very many the first.
pub fn told(changes: &[Change]) -> Vec<String> {
    let mut lines: Vec<String> = changes.iter().take(TOLD_MAX).map(Change::to_string).collect();
    if changes.len() > TOLD_MAX {
        lines.push(format!("and {} more", changes.len() - TOLD_MAX));
    }
    lines
}

/// Reads everything again, from where [`open`] read it.
///
/// # Errors
///
/// Every file and problem, where there is an error among them: what is in force stays.
pub fn reload(
    file: Option<&Path>,
    folder: &Path,
    catalogue: &Catalogue,
    old: (&Config, &Rules),
) -> Result<Reloaded, Box<Checked>> {
    let opened = open(file, folder, catalogue);
    let Some((config, rules)) = opened.valid else { return Err(Box::new(opened.checked)) };
    let mut changes = settings(old.0, &config);
    let clusters = |config: &Config| {
        let all = config.clusters.iter();
        all.map(|cluster| (cluster.name.to_string(), parts(cluster))).collect()
    };
    between(&clusters(old.0), &clusters(&config), |name, kind| {
        changes.push(Change::Cluster(name, kind));
    });
    let responses = |rules: &Rules| {
        let all = rules.responses.iter();
        all.map(|(name, one)| (name.to_string(), vec![("", one.digest.clone())])).collect()
    };
    between(&responses(old.1), &responses(&rules), |name, kind| {
        changes.push(Change::Response(name, kind));
    });
    let playbooks = |rules: &Rules| {
        let all = rules.playbooks.iter();
        all.map(|(name, one)| (name.to_string(), vec![("", one.digest.clone())])).collect()
    };
    between(&playbooks(old.1), &playbooks(&rules), |name, kind| {
        changes.push(Change::Playbook(name, kind));
    });
    Ok(Reloaded { config, rules, changes, warnings: opened.checked.found })
}

/// Things by name, each in parts that can be compared.
type Named = BTreeMap<String, Vec<(&'static str, String)>>;

fn between(old: &Named, new: &Named, mut tell: impl FnMut(String, Kind)) {
    for (name, parts) in new {
        let Some(before) = old.get(name) else {
            tell(name.clone(), Kind::Added);
            continue;
        };
        let pairs = before.iter().zip(parts).filter(|(before, now)| before != now);
        let changed: Vec<_> = pairs.map(|((part, _), _)| *part).collect();
        if !changed.is_empty() {
            let named = changed.into_iter().filter(|part| !part.is_empty());
            tell(name.clone(), Kind::Changed(named.collect()));
        }
    }
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        tell(name.clone(), Kind::Removed);
    }
}

/// The parts of a cluster by the key that people know. Written out, so that no field is forgotten.
fn parts(cluster: &Cluster) -> Vec<(&'static str, String)> {
    let Cluster {
        name: _,
        matches,
        labels,
        etcd,
        hosts,
        prometheus,
        alertmanager,
        control_targets,
        mode,
        loss_budget_revisions,
        probe_timeout,
    } = cluster;
    vec![
        ("match", format!("{matches:?}")),
        ("labels", format!("{labels:?}")),
        ("etcd", format!("{etcd:?}")),
        ("hosts", format!("{hosts:?}")),
        ("prometheus", format!("{prometheus:?}")),
        ("alertmanager", format!("{alertmanager:?}")),
        ("control_targets", format!("{control_targets:?}")),
        ("mode", format!("{mode:?}")),
        ("loss_budget", format!("{loss_budget_revisions:?}")),
        ("watch.timeout", format!("{probe_timeout:?}")),
    ]
}

fn settings(old: &Config, new: &Config) -> Vec<Change> {
    let pairs = values(old).into_iter().zip(values(new));
    let changed = pairs.filter(|((_, from), (_, to))| from != to);
    let change = |((key, from), (_, to))| {
        let needs_restart = NEED_RESTART.contains(&key);
        Change::Setting { key, from, to, needs_restart }
    };
    changed.map(change).collect()
}

/// What is opened once, at the start.
const NEED_RESTART: [&str; 2] = ["listen", "store"];

/// Every setting beside clusters and rules, as people write it. Written out like [`parts`].
fn values(config: &Config) -> Vec<(&'static str, String)> {
    let Config {
        listen,
        rules,
        store,
        retention_finished,
        webhook: Webhook { bearer_file, max_body, bodies_max },
        tokens,
        watch: Watch { every, timeout, concurrent },
        runs_concurrent,
        shutdown_grace,
        cluster_files,
        clusters: _,
    } = config;
    let path = |path: &Path| path.display().to_string();
    let paths = |all: &[std::path::PathBuf]| {
        format!("[{}]", all.iter().map(|one| path(one)).collect::<Vec<_>>().join(", "))
    };
    let token = |Token { name, role, file }: &Token| {
        format!("{name} ({}, {})", role.label(), file.display())
    };
    let bearer = bearer_file.as_deref().map_or("no token".into(), path);
    vec![
        ("listen", listen.to_string()),
        ("store", path(store)),
        ("rules", paths(rules)),
        ("retention.finished", format_duration(*retention_finished)),
        ("webhook.auth", bearer),
        ("webhook.max_body", format!("{max_body} bytes")),
        ("webhook.bodies_max", format!("{bodies_max} bytes")),
        ("api.tokens", format!("[{}]", tokens.iter().map(token).collect::<Vec<_>>().join(", "))),
        ("watch.every", format_duration(*every)),
        ("watch.timeout", format_duration(*timeout)),
        ("watch.concurrent", concurrent.to_string()),
        ("runs.concurrent", runs_concurrent.to_string()),
        ("shutdown_grace", format_duration(*shutdown_grace)),
        ("clusters", paths(cluster_files)),
    ]
}
