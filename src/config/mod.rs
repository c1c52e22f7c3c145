//! Configuration: `quorate.yaml` to validated values, and the files of the rules.
//!
//! Read by the same spanned YAML as the rules, with the same diagnostics: all problems at once.
//! Relative paths are relative to the folder of the file they stand in. Secrets are only named here
//! (`*_file`), never read; the environment is not expanded.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::domain::{inventory::Cluster, rules::response::Role};

mod check;
mod cluster;
mod etcd;
mod field;
mod files;
mod inventory;
mod load;
mod open;
mod reload;
mod shared;
mod sources;
mod whereabouts;

pub use check::{Checked, check_paths};
pub use files::rules_files;
pub use load::{Loaded, load};
pub use open::{Opened, open};
pub use reload::{Change, Kind, Reloaded, reload, told};
pub use sources::Sources;
pub(crate) use whereabouts::lies;

/// Everything that `serve` needs, valid.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the server listens; default `127.0.0.1:9912`. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Folders and files of the rules; default `rules/responses` and `rules/playbooks`.
    pub rules: Vec<PathBuf>,
    /// Folder of the embedded store; default `data`.
    pub store: PathBuf,
    /// How long finished incidents and runs are kept; default 90 d, at least 1 h.
    pub retention_finished: Duration,
    /// Intake.
    pub webhook: Webhook,
    /// Who may use the API; none by default.
    pub tokens: Vec<Token>,
    /// The look at every cluster.
    pub watch: Watch,
    /// Runs at once; default 16, 1 to 1000: each holds tools and copies on the hosts.
    pub runs_concurrent: u32,
    /// How long a stop waits for runs to reach a journal boundary; default 30 s, at most 10 m.
    pub shutdown_grace: Duration,
    /// The files and folders that `clusters` names.
    pub cluster_files: Vec<PathBuf>,
    /// The inventory, in the order written.
    pub clusters: Vec<Arc<Cluster>>,
}

/// Intake of alerts.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// A file that holds the bearer token; without one everybody may post (loopback, or `none` was
    /// written).
    pub bearer_file: Option<PathBuf>,
    /// Largest body in bytes; default 10 MiB, 1 KiB to 256 MiB: an Alertmanager group of 10,000
    /// alerts has about 8 MiB.
    pub max_body: u64,
    /// All bodies in flight together in bytes; default 64 MiB (or `max_body`, where that is more),
    /// 1 KiB to 4 GiB, no less than `max_body`: six of the largest at once, or thousands of usual
    /// ones. Beyond it 503, and Alertmanager tries again.
    pub bodies_max: u64,
}

/// All bodies in flight together where nothing is said.
pub(crate) const BODIES_MAX: u64 = 64 << 20;

/// A token of the API.
#[derive(Clone, Debug)]
pub struct Token {
    /// Whose it is; stands in the journal.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The file that holds it.
    pub file: PathBuf,
}

/// The look at every cluster, healthy ones too.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// Between two looks; default 10 s, 1 s to 5 m: the loss estimate rests on the last one.
    pub every: Duration,
    /// Limit of one probe; default 8 s, 1 s to 60 s: etcd's own health check takes 7 s without
    /// quorum.
    pub timeout: Duration,
    /// Looks at once; default 64, 1 to 10,000.
    pub concurrent: u32,
}

impl Config {
    /// What holds without a file: loopback, no clusters, paths in `folder` (there or not).
    pub fn without_file(folder: &Path) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9912)),
            rules: ["rules/responses", "rules/playbooks"].map(|path| folder.join(path)).into(),
            store: folder.join("data"),
            retention_finished: Duration::from_hours(90 * 24),
            webhook: Webhook { bearer_file: None, max_body: 10 << 20, bodies_max: BODIES_MAX },
            tokens: Vec::new(),
            watch: Watch {
                every: Duration::from_secs(10),
                timeout: Duration::from_secs(8),
                concurrent: 64,
            },
            runs_concurrent: 16,
            shutdown_grace: Duration::from_secs(30),
            cluster_files: Vec::new(),
            clusters: Vec::new(),
        }
    }
}
