//! The folder of a store: whose it is, that one server works in it, and that its files stay what
//! they were.
//!
//! # Design
//! The locks lie on the folder and on the database themselves, not on a file beside them: what is
//! locked is what is worked on, and deleting a file cannot let a second server in. The kernel drops
//! them when the process ends, however it ends. Because a lock holds an inode and no name, the names
//! are looked at as well, before every acknowledgement and at least once a second: what is written to
//! a database that was deleted or replaced is gone with this process.
//!
//! A folder that is made is for its owner alone, and so are all files: labels, evidence and reasons
//! are nobody else's. A folder that is there and open to others is only warned of, because its mode
//! may be somebody's decision (a group that takes backups, a volume that belongs to another user);
//! the files in it are closed all the same.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, OFlags, flock, major, minor},
    io::Errno,
};

use crate::store::StoreError;

/// The database.
pub(super) const FILE: &str = "journal.db";
/// The side record.
pub(super) const MARK: &str = "journal.mark";
/// Its log, the memory that its readers share, and the side record.
const BESIDE: [&str; 3] = ["journal.db-wal", "journal.db-shm", MARK];

/// How often a lock is tried, 10 ms apart. A process that ended just now may have a child that has
/// not reached its exec yet and holds a copy of the file.
const TRIES_MAX: u32 = 20;

/// The folder, locked as long as this lives.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    locked: Vec<File>,
    names: Vec<Name>,
}

/// A name, and the file that it stood for.
#[derive(Debug)]
struct Name {
    path: PathBuf,
    file: (u64, u64),
}

/// A file that is not what it was.
#[derive(Debug, thiserror::Error)]
pub(super) enum Gone {
    /// There is no such name any more.
    #[error("{} was deleted or moved away while the server worked with it", .0.display())]
    Deleted(PathBuf),
    /// The name stands for another file.
    #[error("{} was replaced while the server worked with it", .0.display())]
    Replaced(PathBuf),
    /// Nobody knows.
    #[error("{} cannot be looked at", path.display())]
    Unseen {
        /// The name.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Folder {
    /// Makes the folder where it is missing, takes its locks or says who has them, and refuses
    /// files that only point elsewhere.
    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
        let failed = |source| unusable(dir, source);
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
        let path = dir.canonicalize().map_err(failed)?;
        let mut folder = Self { path, locked: Vec::new(), names: Vec::new() };
        let file = File::open(&folder.path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.mode();
        folder.lock(file, true).map_err(|error| error.at(dir))?;
        if mode & 0o077 != 0 {
            tracing::warn!(path = %dir.display(), mode = format!("{:o}", mode & 0o7777),
                "the store's folder is open to others; `chmod 700` closes it");
        }
        for name in [FILE].into_iter().chain(BESIDE) {
            folder.is_plain(name).map_err(|source| unusable(&folder.file(name), source))?;
        }
        let path = folder.file(FILE);
        let file = own(&path).map_err(|source| unusable(&path, source))?;
        folder.lock(file, false).map_err(|error| error.at(&path))?;
        Ok(folder)
    }

    /// A file in it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// From now on the names of the database and of what lies beside it must stay what they are.
    pub(super) fn watch(&mut self) -> io::Result<()> {
        // by its lock, not by its name: it may have been replaced since
        if let Some(database) = self.locked.last() {
            let file = identity(&database.metadata()?);
            self.names.push(Name { path: self.file(FILE), file });
        }
        for name in BESIDE {
            let path = self.file(name);
            let file = identity(&fs::symlink_metadata(&path)?);
            self.names.push(Name { path, file });
        }
        Ok(())
    }

    /// Whether all names still stand for the files that are worked with. Those are held open, so
    /// that no new file can have their number.
    pub(super) fn check(&self) -> Result<(), Gone> {
        for Name { path, file } in &self.names {
            match fs::symlink_metadata(path) {
                Ok(found) if identity(&found) == *file => {}
                Ok(_) => return Err(Gone::Replaced(path.clone())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(Gone::Deleted(path.clone()));
                }
                Err(source) => return Err(Gone::Unseen { path: path.clone(), source }),
            }
        }
        Ok(())
    }

    /// A file is only there after a power cut if its directory was synced, and so on upwards.
    pub(super) fn sync_names(&self) -> io::Result<()> {
        self.path.ancestors().take(2).try_for_each(|dir| File::open(dir)?.sync_all())
    }

    /// The size of the database and its log; what cannot be seen counts as nothing.
    pub(super) fn bytes(&self) -> u64 {
        let sizes = [FILE, BESIDE[0]].map(|name| fs::metadata(self.file(name)));
        sizes.into_iter().flatten().map(|file| file.len()).sum()
    }

    fn is_plain(&self, name: &str) -> io::Result<()> {
        match fs::symlink_metadata(self.file(name)) {
            Ok(found) if found.is_file() => Ok(()),
            Ok(_) => Err(io::Error::other("it is a link or no file; put the file itself there")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn lock(&mut self, file: File, is_folder: bool) -> Result<(), NotLocked> {
        for _ in 0..TRIES_MAX {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    self.locked.push(file);
                    return Ok(());
                }
                Err(Errno::WOULDBLOCK | Errno::INTR) => thread::sleep(Duration::from_millis(10)),
                // some network file systems lock files only; then the database's lock has to do
                Err(_) if is_folder => return Ok(()),
                Err(errno) => return Err(NotLocked::Refused(errno.into())),
            }
        }
        let found = file.metadata().map_err(NotLocked::Refused)?;
        Err(NotLocked::Held(holder(&found)))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        for file in &self.locked {
            // closing alone would leave it to a child between its fork and its exec
            flock(file, FlockOperation::Unlock).ok();
        }
    }
}

enum NotLocked {
    Held(Option<u32>),
    Refused(io::Error),
}

impl NotLocked {
    fn at(self, path: &Path) -> StoreError {
        match self {
            Self::Held(pid) => StoreError::Held { pid },
            Self::Refused(source) => unusable(path, source),
        }
    }
}

/// Opens a file of the store, or makes it, for its owner alone.
pub(super) fn own(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let no_link = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let file = options.custom_flags(no_link).open(path)?;
    if file.metadata()?.mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// The process that the kernel lists for a lock on this file: nothing that is written down can be
/// out of date.
fn holder(file: &Metadata) -> Option<u32> {
    let (major, minor) = (major(file.dev()), minor(file.dev()));
    let exact = format!("{major:02x}:{minor:02x}:{}", file.ino());
    // some file systems show another device here than there
    let alike = format!(":{}", file.ino());
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let pid = |is: &dyn Fn(&str) -> bool| {
        locks.lines().find_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let [_, "FLOCK", _, _, pid, inode, ..] = fields[..] else { return None };
            pid.parse().ok().filter(|pid| *pid > 0 && is(inode))
        })
    };
    pid(&|inode| inode == exact).or_else(|| pid(&|inode| inode.ends_with(&alike)))
}

fn unusable(path: &Path, source: io::Error) -> StoreError {
    StoreError::Open { path: path.into(), source: Arc::new(source) }
}
