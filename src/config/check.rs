//! `quorate check`: all problems of rules and configurations at once.
//!
//! What a file is, its content says: a configuration has no `kind`. Rules are checked together, as
//! `serve` would load them, with those that a configuration names. Prometheus rule files (`groups`) are passed over.

use std::path::{Path, PathBuf};

use super::{field::real, load, rules_files};
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
    /// Name and text of every file, for code frames.
    pub files: Vec<(String, String)>,
    /// All problems, by file and place.
    pub found: Vec<Diagnostic>,
}

impl Checked {
    /// How many problems of a severity there are.
    pub fn count(&self, severity: Severity) -> usize {
        self.found.iter().filter(|found| found.severity == severity).count()
    }

    /// The text of a file.
    pub fn text(&self, file: &str) -> &str {
        self.files.iter().find(|(name, _)| name == file).map_or("", |(_, text)| text)
    }
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Rules,
    Config,
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
    let (mut files, mut found) = rules_files(&paths);
    let mut named = Vec::new();
    for (name, text) in files.iter().filter(|(_, text)| content(text) == Content::Config) {
        let folder = Path::new(name).parent().unwrap_or(Path::new(""));
        let (config, problems) = load(name, text, folder);
        found.extend(problems);
        named.extend(config.map(|config| config.rules).unwrap_or_default());
    }
    let (more, problems) = rules_files(&named);
    found.extend(problems);
    let known: Vec<_> = files.iter().map(|(name, _)| real(Path::new(name))).collect();
    files.extend(more.into_iter().filter(|(name, _)| !known.contains(&real(Path::new(name)))));
    let is_rule = |file: &&(String, String)| content(&file.1) == Content::Rules;
    let rule_files: Vec<_> = files.iter().filter(is_rule).cloned().collect();
    found.extend(rules::load(&rule_files, catalogue).1);
    found.sort_by(|a, b| (&a.file, a.span.start, a.id).cmp(&(&b.file, b.span.start, b.id)));
    Checked { files, found }
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
    } else if ["clusters", "listen", "store", "rules", "webhook"]
        .iter()
        .any(|key| has(key) || starts(key))
    {
        Content::Config
    } else {
        Content::Rules
    }
}
