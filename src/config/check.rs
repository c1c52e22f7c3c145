//! `quorate check`: all problems of rules and configurations at once.
//!
//! What a file is, its content says: a configuration has no `kind`. Rules are checked together, as
//! `serve` would load them, with those that a configuration names. Prometheus rule files (`groups`) are passed over.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::{Loaded, field::real, inventory, load, rules_files};
use crate::domain::rules::{
    self,
    action::Catalogue,
    diagnostic::{Diagnostic, Severity},
    yaml::documents,
};

#[cfg(test)]
mod tests;

/// What was checked and found.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// The text of every file by its name, for code frames.
    pub files: BTreeMap<String, String>,
    /// All problems, by file and place.
    pub found: Vec<Diagnostic>,
}

impl Checked {
    /// How many problems of a severity there are.
    pub fn count(&self, severity: Severity) -> usize {
        self.found.iter().filter(|found| found.severity == severity).count()
    }

    /// Every file that was read, or should have been.
    pub fn paths(&self) -> Vec<PathBuf> {
        let named = self.found.iter().map(|one| &one.file);
        let all: BTreeSet<&String> = self.files.keys().chain(named).collect();
        all.into_iter().map(PathBuf::from).collect()
    }

    /// The text of a file.
    pub fn text(&self, file: &str) -> &str {
        self.files.get(file).map_or("", String::as_str)
    }
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Rules,
    Config,
    /// One cluster of an inventory.
    Cluster,
    /// A Prometheus rule file.
    Alerts,
}

/// Checks folders and files; with none, `./rules` and `./quorate.yaml` of `folder` if there.
pub fn check_paths(paths: &[PathBuf], folder: &Path, catalogue: &Catalogue) -> Checked {
    let mut paths = paths.to_vec();
    if paths.is_empty() {
        let usual = ["rules", "quorate.yaml"].map(|name| folder.join(name));
        paths.extend(usual.into_iter().filter(|path| path.exists()));
    }
    let (files, mut found) = rules_files(&paths);
    let known: BTreeSet<_> = files.iter().map(|(name, _)| real(Path::new(name))).collect();
    let mut by_content = ByContent::default();
    for (name, text) in files {
        by_content.of(content(&text)).push((name, text));
    }
    let ByContent { mut rules, configs, clusters, alerts } = by_content;
    let (mut loaded, mut named, mut part_of) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (name, text) in &configs {
        let folder = Path::new(name).parent().unwrap_or(Path::new(""));
        let Loaded { config, found, files } = load(name, text, folder);
        named.extend(config.map(|config| config.rules).unwrap_or_default());
        part_of.extend(files.iter().map(|(name, _)| real(Path::new(name))));
        loaded.push((real(Path::new(name)), found, files));
    }
    let mut checked = Checked::default();
    // a file of clusters may look like a configuration of its own
    for (_, problems, files) in loaded.into_iter().filter(|(path, ..)| !part_of.contains(path)) {
        found.extend(problems);
        checked.files.extend(files);
    }
    // read already, perhaps by another way to write its path
    let is_other = |(name, _): &(String, String)| !part_of.contains(&real(Path::new(name)));
    for (name, text) in clusters.iter().filter(|file| is_other(file)) {
        found.extend(inventory::check_alone(name, text));
    }
    let (more, problems) = rules_files(&named);
    found.extend(problems);
    rules.extend(more.into_iter().filter(|(name, _)| !known.contains(&real(Path::new(name)))));
    found.extend(rules::load(&rules, catalogue).1);
    found.sort_by(|a, b| (&a.file, a.span.start, a.id).cmp(&(&b.file, b.span.start, b.id)));
    let configured = configs.into_iter().chain(clusters).filter(is_other);
    checked.files.extend(configured.chain(rules).chain(alerts));
    Checked { found, ..checked }
}

/// Files by what they hold.
#[derive(Default)]
struct ByContent {
    rules: Vec<(String, String)>,
    configs: Vec<(String, String)>,
    clusters: Vec<(String, String)>,
    alerts: Vec<(String, String)>,
}

impl ByContent {
    fn of(&mut self, content: Content) -> &mut Vec<(String, String)> {
        match content {
            Content::Rules => &mut self.rules,
            Content::Config => &mut self.configs,
            Content::Cluster => &mut self.clusters,
            Content::Alerts => &mut self.alerts,
        }
    }
}

fn content(text: &str) -> Content {
    let (documents, _) = documents(text);
    let has = |key: &str| documents.iter().any(|document| document.root.get(key).is_some());
    // A text too broken to tell: the keys stand at the start of lines.
    let starts = |key: &str| documents.is_empty() && text.lines().any(|line| line.starts_with(key));
    // Prometheus rule files, and promtool's tests of them
    if has("groups") || has("rule_files") {
        Content::Alerts
    } else if has("kind") || has("apiVersion") || starts("kind:") || starts("apiVersion:") {
        Content::Rules
    } else if has("etcd") && has("name") {
        Content::Cluster
    } else if ["clusters", "listen", "store", "rules", "webhook"]
        .iter()
        .any(|key| has(key) || starts(key))
    {
        Content::Config
    } else {
        Content::Rules
    }
}
