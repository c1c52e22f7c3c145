//! Where a member's data and a run's copies of it stand: paths, from run id and member alone.
//!
//! `old`, `new` and `failed` stand in `<data_dir>/.quorate/<run>/<place>`, so that moving data is
//! a rename; `scratch`, `backup` and snapshots in `<backups.dir>/<run>/<member>`.
//!
//! A separate WAL goes to `.quorate/<run>/<place>` *beside* its directory, not inside it: etcd
//! removes a WAL directory with all that is in it before it creates a new one.

use std::path::{Path, PathBuf};

use crate::domain::{
    base::id::RunId,
    inventory::{Cluster, Member},
    rules::action::{Call, ErrorKind, Failure},
};

/// The paths of one member in one run.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) data_dir: PathBuf,
    pub(crate) wal_dir: Option<PathBuf>,
    backups: PathBuf,
    lock: PathBuf,
    told: PathBuf,
    run: String,
}

/// A part of a member's data and where a place keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Where the member looks for it.
    pub(crate) home: PathBuf,
    /// Where the place keeps it.
    pub(crate) kept: PathBuf,
}

impl Places {
    pub(crate) fn new(cluster: &Cluster, member: &Member, run: RunId) -> Self {
        let run = run.to_string();
        let backups = cluster.etcd.backups.dir.join(&run).join(member.name.as_str());
        let locks = cluster.etcd.backups.dir.join(".locks");
        let lock = locks.join(cluster.name.as_str()).join(member.name.as_str());
        let told = cluster.etcd.backups.dir.join(".told");
        let told = told.join(cluster.name.as_str()).join(member.name.as_str()).join("process");
        // A WAL that is configured where it stands anyway is not separate.
        let wal_dir =
            member.wal_dir.clone().filter(|dir| !dir.starts_with(member.data_dir.join("member")));
        Self { data_dir: member.data_dir.clone(), wal_dir, backups, lock, told, run }
    }

    /// Where the member's write-ahead log stands.
    pub(crate) fn wal(&self) -> PathBuf {
        self.wal_dir.clone().unwrap_or_else(|| self.data_dir.join("member/wal"))
    }

    /// The directory of a place inside the data directory.
    pub(crate) fn beside(&self, place: &str) -> PathBuf {
        self.data_dir.join(".quorate").join(&self.run).join(place)
    }

    /// The directory of a place for a separate WAL.
    pub(crate) fn wal_beside(&self, place: &str) -> Option<PathBuf> {
        let dir = self.wal_dir.as_ref()?;
        let name = dir.file_name()?;
        Some(dir.parent()?.join(".quorate").join(&self.run).join(place).join(name))
    }

    /// Where a place keeps the member's write-ahead log.
    pub(crate) fn wal_in(&self, place: &str) -> PathBuf {
        self.wal_beside(place).unwrap_or_else(|| self.beside(place).join("member/wal"))
    }

    /// The parts of the data, with where a place keeps each.
    pub(crate) fn parts(&self, place: &str) -> Vec<Part> {
        let member =
            Part { home: self.data_dir.join("member"), kept: self.beside(place).join("member") };
        let wal = self
            .wal_dir
            .clone()
            .zip(self.wal_beside(place))
            .map(|(home, kept)| Part { home, kept });
        std::iter::once(member).chain(wal).collect()
    }

    /// The directory of copies and snapshots of this run.
    pub(crate) fn backups(&self) -> &Path {
        &self.backups
    }

    /// The lock of all that changes something of the member on its host, in whatever run.
    pub(crate) fn lock(&self) -> &Path {
        &self.lock
    }

    /// Which process of the member was told to end, by whatever run.
    pub(crate) fn told(&self) -> PathBuf {
        self.told.clone()
    }

    /// The arguments in force.
    pub(crate) fn args_file(&self) -> PathBuf {
        self.data_dir.join(".quorate/args")
    }

    /// The snapshot that a run takes.
    pub(crate) fn snapshot(&self) -> PathBuf {
        self.backups.join("snapshot.db")
    }

    /// The data directory of a copy (`scratch`, `backup`).
    pub(crate) fn copied_data(&self, place: &str) -> PathBuf {
        self.backups.join(place).join("data")
    }

    /// The WAL directory of a copy, where the WAL is separate.
    pub(crate) fn copied_wal(&self, place: &str) -> Option<PathBuf> {
        self.wal_dir.as_ref().map(|_| self.backups.join(place).join("wal"))
    }
}

/// The member a call is about.
pub(crate) fn member<'c>(cluster: &'c Cluster, call: &Call) -> Result<&'c Member, Failure> {
    let name = call.text("member").unwrap_or_default();
    let found = cluster.member(name);
    found.ok_or_else(|| {
        Failure::new(ErrorKind::Invalid, format!("{} has no member {name:?}", cluster.name))
    })
}

/// The place of a call, which must be one of these.
pub(crate) fn place(
    call: &Call,
    argument: &str,
    allowed: &[&'static str],
) -> Result<&'static str, Failure> {
    let given = call.text(argument).unwrap_or_default();
    allowed.iter().find(|place| **place == given).copied().ok_or_else(|| {
        let allowed = allowed.join(", ");
        Failure::new(
            ErrorKind::Invalid,
            format!("{}: {argument} is {given:?}, it can be {allowed}", call.action),
        )
    })
}
