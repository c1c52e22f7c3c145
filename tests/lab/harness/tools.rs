//! Where the real programs are: from the environment, else from what the installer wrote.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

/// The programs that the tests start.
#[derive(Debug)]
pub(crate) struct Tools {
    /// etcd that passes quorate's version gate.
    pub(crate) etcd: PathBuf,
    /// etcdutl of the same version.
    pub(crate) etcdutl: PathBuf,
    /// etcdctl of the same version.
    pub(crate) etcdctl: PathBuf,
    /// prometheus.
    pub(crate) prometheus: PathBuf,
    /// promtool.
    pub(crate) promtool: PathBuf,
    /// The Alertmanager of the system's own release.
    pub(crate) alertmanager: PathBuf,
    /// An Alertmanager one generation newer.
    pub(crate) alertmanager_new: PathBuf,
}

impl Tools {
    /// The tools of this machine.
    ///
    /// # Panics
    ///
    /// When one is missing; the message says what to run.
    pub(crate) fn find() -> &'static Self {
        static TOOLS: LazyLock<Tools> = LazyLock::new(Tools::read);
        &TOOLS
    }

    fn read() -> Self {
        let file = cache().join("env");
        let text = fs::read_to_string(&file).unwrap_or_default();
        let known: BTreeMap<&str, &str> =
            text.lines().filter_map(|line| line.split_once('=')).collect();
        let find = |name: &str| -> PathBuf {
            let path = env::var_os(name)
                .map(PathBuf::from)
                .or_else(|| known.get(name).map(PathBuf::from))
                .unwrap_or_else(|| {
                    panic!("{name} is neither set nor in {}: run tests/run", file.display())
                });
            assert!(path.is_file(), "{name}={} is no file: run tests/run", path.display());
            path
        };
        Self {
            etcd: find("ETCD"),
            etcdutl: find("ETCDUTL"),
            etcdctl: find("ETCDCTL"),
            prometheus: find("PROMETHEUS"),
            promtool: find("PROMTOOL"),
            alertmanager: find("ALERTMANAGER"),
            alertmanager_new: find("ALERTMANAGER_NEW"),
        }
    }
}

/// The same folder as in `deploy/lib/common.sh`.
fn cache() -> PathBuf {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("QUORATE_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("quorate")))
        .or_else(|| set("HOME").map(|dir| dir.join(".cache/quorate")))
        .unwrap_or_else(|| PathBuf::from("/nonexistent"))
}

/// A file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
