//! `clusters:` of a configuration: entries, or files and folders that hold them.
//!
//! A file holds one entry, or several under `clusters:`; a folder stands for its `*.yaml` and
//! `*.yml` files in the order of their names, without what lies in folders below it. Relative paths
//! in a file begin at that file's own folder.
//!
//! # Design
//!
//! One file is read, taken apart and dropped before the next: an inventory of ten thousand clusters
//! never stands in memory as YAML. The bounds on one file (bytes, values, depth) hold for each.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Config, cluster,
    field::{Folder, real},
    files::{self, is_hidden, is_yaml},
    shared::Shared,
};
use crate::domain::{
    base::id::ClusterName,
    inventory::Cluster,
    rules::{
        codes,
        diagnostic::{Diagnostic, position},
        yaml::{
            Node,
            read::{Fields, Sink, list},
        },
    },
};

#[cfg(test)]
mod tests;

/// Files of clusters: twice the largest inventory that one server is made for.
const FILES_MAX: usize = 20_000;

/// What the items of an inventory held.
#[derive(Debug, Default)]
pub(super) struct Inventory<'t> {
    /// In the order of the list, of the names of files, and within a file.
    pub(super) clusters: Vec<Arc<Cluster>>,
    /// The files and folders that the items name.
    pub(super) named: Vec<PathBuf>,
    /// Name and text of every file that was read.
    pub(super) files: Vec<(String, String)>,
    /// What is wrong in those files.
    pub(super) found: Vec<Diagnostic>,
    /// Name and text of the configuration itself.
    config: (&'t str, &'t str),
    /// Where each name was first given: the file (`None`: the configuration itself) and the place.
    names: BTreeMap<ClusterName, (Option<usize>, usize)>,
}

/// Reads the items of `clusters:`; what is wrong in the configuration itself goes to `sink`.
pub(super) fn read<'t>(items: &[Node], shared: &Shared<'_>, sink: &mut Sink<'t>) -> Inventory<'t> {
    let config = (sink.file(), sink.text());
    let mut inventory = Inventory { config, ..Inventory::default() };
    let mut sources = Vec::new();
    let mut seen = BTreeSet::new();
    for item in items {
        if item.as_str().is_none() {
            sources.push(Source::Entry(item));
            continue;
        }
        let Some(path) = shared.folder.path(item, sink) else { continue };
        let files = named(&path, item, sink);
        inventory.named.push(path);
        for path in files {
            if !seen.insert(real(&path)) {
                let message = format!("{} is named twice in this list", path.display());
                sink.add(&codes::NOT_UNIQUE, &item.span, message);
            } else if seen.len() > FILES_MAX {
                let message = format!("more than {FILES_MAX} files of clusters");
                sink.add(&codes::TOO_LARGE, &item.span, message);
                break;
            } else {
                sources.push(Source::File(path));
            }
        }
    }
    let alone = sources.len() == 1;
    for source in sources {
        match source {
            Source::Entry(node) => {
                let read = cluster::read(node, &Shared { alone, ..*shared }, sink);
                inventory.add(read, None, sink);
            }
            Source::File(path) => inventory.file(&path, alone, shared),
        }
    }
    inventory
}

enum Source<'n> {
    Entry(&'n Node),
    File(PathBuf),
}

/// The files that an item stands for.
fn named(path: &Path, item: &Node, sink: &mut Sink<'_>) -> Vec<PathBuf> {
    files_of(path).unwrap_or_else(|error| {
        let message = format!("no clusters can be read from {}: {error}", path.display());
        let help = "an item of `clusters` is an entry, or a file or folder that holds entries; a \
                    relative path begins at the folder of this file";
        sink.add_help(&codes::FILE_MISSING, &item.span, message, help);
        Vec::new()
    })
}

/// The files of clusters that a path stands for, in their order.
pub(super) fn files_of(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        if is_yaml(&path) && !is_hidden(&path) && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Checks a file of clusters that no configuration names.
pub(super) fn check_alone(name: &str, text: &str) -> Vec<Diagnostic> {
    let folder = Folder(Path::new(name).parent().unwrap_or(Path::new("")));
    let defaults = Config::without_file(folder.0);
    let shared = Shared {
        folder: &folder,
        control_targets: None,
        probe_timeout: defaults.watch.timeout,
        store: &real(&defaults.store),
        alone: true,
    };
    let mut sink = Sink::new(name, text);
    Inventory::default().text(&shared, &mut sink);
    sink.finish()
}

impl Inventory<'_> {
    /// Reads one file.
    fn file(&mut self, path: &Path, alone: bool, shared: &Shared<'_>) {
        let name = path.display().to_string();
        let text = match files::read(path) {
            Ok(text) => text,
            Err(error) => return self.found.push(files::unreadable(path, &error)),
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut sink = Sink::new(&name, &text);
        self.text(&Shared { folder: &Folder(folder), alone, ..*shared }, &mut sink);
        self.found.extend(sink.finish());
        self.files.push((name, text));
    }

    /// Reads the text of a file: one entry, or several under `clusters`.
    fn text(&mut self, shared: &Shared<'_>, sink: &mut Sink<'_>) {
        let Some(root) = files::document(sink, "a file of clusters") else { return };
        let own = Some(self.files.len());
        if root.get("clusters").is_none() {
            let read = cluster::read(&root, shared, sink);
            return self.add(read, own, sink);
        }
        let Some(mut fields) = Fields::of(&root, sink) else { return };
        let items = fields.get("clusters").and_then(|node| list(node, sink)).unwrap_or_default();
        fields.finish(sink);
        let alone = shared.alone && items.len() == 1;
        for item in items {
            if item.as_str().is_some() {
                let message = "a file of clusters names no further files";
                let help = "name it in the configuration's own `clusters`";
                sink.add_help(&codes::WRONG_TYPE, &item.span, message, help);
            } else {
                let read = cluster::read(item, &Shared { alone, ..*shared }, sink);
                self.add(read, own, sink);
            }
        }
    }

    fn add(
        &mut self,
        read: Option<(Cluster, Range<usize>)>,
        file: Option<usize>,
        sink: &mut Sink<'_>,
    ) {
        let Some((cluster, span)) = read else { return };
        if let Some(first) = self.names.get(&cluster.name) {
            let first = self.place(*first, file, sink);
            let message = format!("there is a cluster `{}` already, at {first}", cluster.name);
            sink.add(&codes::NOT_UNIQUE, &span, message);
        } else {
            self.names.insert(cluster.name.clone(), (file, span.start));
        }
        self.clusters.push(Arc::new(cluster));
    }

    /// `file:line:column`; `current` is the file that `sink` is about, not yet among the others.
    fn place(
        &self,
        (file, at): (Option<usize>, usize),
        current: Option<usize>,
        sink: &Sink<'_>,
    ) -> String {
        let (name, text) = match file {
            None => self.config,
            Some(_) if file == current => (sink.file(), sink.text()),
            Some(file) => {
                let (name, text) = &self.files[file];
                (name.as_str(), text.as_str())
            }
        };
        let (line, column) = position(text, at);
        format!("{name}:{line}:{column}")
    }
}
