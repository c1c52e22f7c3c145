//! Whether what a configuration is read from has changed: by content, so that a touched file is none.
//!
//! Files that are only named (tokens, certificates) are not among them; who uses one reads it again.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{Config, files, inventory};

/// Tells a file that was written or exchanged from one that was not, without reading it: size, inode,
/// and the time of the last change of either.
type Stamp = Option<(u64, u64, i64, i64)>;

/// Everything a configuration was read from, as it was last seen.
#[derive(Debug)]
pub struct Sources {
    file: Option<PathBuf>,
    rules: Vec<PathBuf>,
    clusters: Vec<PathBuf>,
    also: Vec<PathBuf>,
    stamps: BTreeMap<PathBuf, Stamp>,
    digest: [u8; 32],
}

impl Sources {
    /// Of a configuration that was just read from `file`.
    pub fn of(file: Option<&Path>, config: &Config) -> Self {
        let mut sources = Self {
            file: file.map(Path::to_owned),
            rules: config.rules.clone(),
            clusters: config.cluster_files.clone(),
            also: Vec::new(),
            stamps: BTreeMap::new(),
            digest: [0; 32],
        };
        sources.is_changed();
        sources
    }

    /// Files beside its own, in place of those that were given before: a configuration that was
    /// refused may name others, and one of them may be what has to be mended.
    pub fn watch_also(&mut self, also: Vec<PathBuf>) {
        self.also = also;
        self.is_changed();
    }

    /// Whether any content differs from what was seen last. Reads only where a stamp differs.
    pub fn is_changed(&mut self) -> bool {
        let stamps: BTreeMap<_, _> = self.paths().into_iter().map(stamped).collect();
        if stamps == self.stamps {
            return false;
        }
        let digest = digest(stamps.keys());
        self.stamps = stamps;
        std::mem::replace(&mut self.digest, digest) != digest
    }

    /// Every file there is now. A path that cannot be read stands for itself: it is missed, and seen
    /// when it is there again.
    fn paths(&self) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = self.file.iter().cloned().collect();
        let (rules, _) = files::names(&self.rules);
        paths.extend(rules);
        paths.extend(self.rules.iter().cloned());
        for path in &self.clusters {
            paths.extend(inventory::files_of(path).unwrap_or_default());
            paths.push(path.clone());
        }
        paths.extend(self.also.iter().cloned());
        paths
    }
}

fn stamped(path: PathBuf) -> (PathBuf, Stamp) {
    let meta = fs::metadata(&path).ok();
    let stamp = meta.map(|meta| (meta.len(), meta.ino(), meta.ctime(), meta.ctime_nsec()));
    (path, stamp)
}

fn digest<'p>(paths: impl Iterator<Item = &'p PathBuf>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for path in paths {
        let content = match files::read(path) {
            Ok(text) => Ok(Sha256::digest(text)),
            Err(error) => Err(error.kind()),
        };
        hash.update(format!("{} {content:?}\n", path.display()));
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_one_of_content() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("rules")).unwrap();
        fs::create_dir_all(at("clusters.d")).unwrap();
        let file = at("quorate.yaml");
        fs::write(&file, "one").unwrap();
        fs::write(at("clusters.d/a.yaml"), "a").unwrap();
        let mut config = Config::without_file(folder.path());
        config.rules = vec![at("rules")];
        config.cluster_files = vec![at("clusters.d"), at("missing.yaml")];
        let mut sources = Sources::of(Some(&file), &config);
        assert!(!sources.is_changed());
        fs::write(&file, "one").unwrap();
        assert!(!sources.is_changed(), "written anew, and the same");
        let write = |name: &str, text: &str| fs::write(at(name), text).unwrap();
        write("rules/notes.txt", "x");
        write("clusters.d/.b.yaml", "x");
        assert!(!sources.is_changed(), "none of ours");
        for (name, text) in [
            ("quorate.yaml", "two"),
            ("clusters.d/a.yaml", "b"),
            ("clusters.d/b.yml", "b"),
            ("rules/a.yaml", "c"),
            ("missing.yaml", "d"),
        ] {
            write(name, text);
            assert!(sources.is_changed(), "{name}");
            assert!(!sources.is_changed(), "{name}");
        }
        fs::remove_file(at("clusters.d/a.yaml")).unwrap();
        assert!(sources.is_changed() && !sources.is_changed());
        fs::rename(at("rules/a.yaml"), at("rules/b.yaml")).unwrap();
        assert!(sources.is_changed(), "a name is part of it: diagnostics tell it");
    }

    /// A configuration that was refused names files that the one in force does not.
    #[test]
    fn files_that_only_a_refused_configuration_names_are_looked_at_until_others_are_given() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut sources = Sources::of(None, &Config::without_file(folder.path()));
        fs::write(at("more.yaml"), "one").unwrap();
        sources.watch_also(vec![at("more.yaml"), at("missing.yaml")]);
        assert!(!sources.is_changed(), "what stands there is not news");
        for name in ["more.yaml", "missing.yaml"] {
            fs::write(at(name), "two").unwrap();
            assert!(sources.is_changed() && !sources.is_changed(), "{name}");
        }
        sources.watch_also(Vec::new());
        fs::write(at("more.yaml"), "three").unwrap();
        assert!(!sources.is_changed(), "nothing names it any more");
    }
}
