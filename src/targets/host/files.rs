//! Files of this host: durable small writes, renames, sizes, free space, and what stands in a
//! member's data directory.
//!
//! Whatever returns `Ok` here is on disk: files and the directories that name them are synced.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use super::places::Places;
use crate::{
    domain::{
        base::time::format_duration,
        etcd::evidence::{Data, DataState},
        rules::action::{ErrorKind, Failure},
    },
    targets::effect,
};

/// A file operation that failed, as a person reads it.
pub(crate) fn failure(what: &str, path: &Path, error: &io::Error) -> Failure {
    let (kind, hint) = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            (ErrorKind::DiskFull, ": make room and try again")
        }
        io::ErrorKind::PermissionDenied => (ErrorKind::Denied, ""),
        io::ErrorKind::NotFound => (ErrorKind::NotFound, ""),
        io::ErrorKind::CrossesDevices => {
            (ErrorKind::Invalid, ": it is on another file system, and data is only ever renamed")
        }
        _ => (ErrorKind::Other, ""),
    };
    Failure::new(kind, format!("{what} {} failed: {error}{hint}", path.display()))
}

/// Runs blocking work off the event loop. When its caller goes away the work is told by the flag,
/// which it looks at between chunks; an effect waits for it, and it holds the effect's lock.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce(&AtomicBool) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    struct Stop(Arc<AtomicBool>);
    impl Drop for Stop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = Stop(Arc::default());
    let seen = stop.0.clone();
    let holds = (effect::held(), effect::under_way("work on files"));
    let done = tokio::task::spawn_blocking(move || {
        let done = work(&seen);
        drop(holds);
        done
    })
    .await;
    done.unwrap_or_else(|error| {
        Err(Failure::new(ErrorKind::Other, format!("file work ended early: {error}")))
    })
}

/// A look at files that belong to `at`, within a limit. Where their file system hangs one thread waits
/// for it, which nothing can end; whoever comes later waits for that one and leaves none behind.
pub(crate) async fn looked<T: Send + 'static>(
    at: &Path,
    limit: Duration,
    work: impl FnOnce(&AtomicBool) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    /// Whose turn it is, by path: as many as inventories name.
    static TURNS: Mutex<BTreeMap<PathBuf, Arc<tokio::sync::Mutex<()>>>> =
        Mutex::new(BTreeMap::new());
    let turn = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    let turn = { turn }.entry(at.to_owned()).or_default().clone();
    let looked = tokio::time::timeout(limit, async {
        let turn = turn.lock_owned().await;
        blocking(move |stop| {
            let done = work(stop);
            drop(turn);
            done
        })
        .await
    });
    looked.await.unwrap_or_else(|_| {
        let message = format!(
            "looking at {} took longer than {}: its file system hangs",
            at.display(),
            format_duration(limit)
        );
        Err(Failure::new(ErrorKind::Timeout, message))
    })
}

/// Whether anything stands there. A link counts, wherever it leads.
pub(crate) fn exists(path: &Path) -> Result<bool, Failure> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failure("looking at", path, &error)),
    }
}

/// Makes a directory and its missing parents, each with mode 0700 and the owner of the first
/// directory that was there: a member that runs as its own user must be able to use them.
pub(crate) fn make_dir(path: &Path) -> Result<(), Failure> {
    let mut missing: Vec<&Path> = Vec::new();
    let mut there = path;
    while !exists(there)? {
        missing.push(there);
        let Some(parent) = there.parent() else { break };
        there = parent;
    }
    let owner = fs::metadata(there).map_err(|error| failure("looking at", there, &error))?;
    for dir in missing.into_iter().rev() {
        match DirBuilder::new().mode(0o700).create(dir) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(failure("making", dir, &error)),
        }
        own(dir, &owner)?;
        sync_dir(dir)?;
        dir.parent().map_or(Ok(()), sync_dir)?;
    }
    Ok(())
}

/// Gives a file the owner of another one, where it has a different one.
fn own(path: &Path, like: &fs::Metadata) -> Result<(), Failure> {
    let is = fs::symlink_metadata(path).map_err(|error| failure("looking at", path, &error))?;
    if (is.uid(), is.gid()) == (like.uid(), like.gid()) {
        return Ok(());
    }
    chown(path, Some(like.uid()), Some(like.gid()))
        .map_err(|error| failure("giving away", path, &error))
}

/// Gives all that stands under `path` the owner of `like`.
pub(crate) fn own_all(path: &Path, like: &Path) -> Result<(), Failure> {
    let like = fs::metadata(like).map_err(|error| failure("looking at", like, &error))?;
    own(path, &like)?;
    if path.is_dir() {
        for entry in entries(path)? {
            own_all_of(&entry, &like)?;
        }
    }
    Ok(())
}

fn own_all_of(path: &Path, like: &fs::Metadata) -> Result<(), Failure> {
    own(path, like)?;
    if path.is_dir() && !path.is_symlink() {
        for entry in entries(path)? {
            own_all_of(&entry, like)?;
        }
    }
    Ok(())
}

/// The entries of a directory, by name.
pub(crate) fn entries(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let read = fs::read_dir(dir)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect());
    let mut paths: Vec<PathBuf> = read.map_err(|error| failure("listing", dir, &error))?;
    paths.sort();
    Ok(paths)
}

/// Makes a directory's entries durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), Failure> {
    File::open(dir)
        .and_then(|file| file.sync_all())
        .map_err(|error| failure("syncing", dir, &error))
}

/// Makes all that stands under `path` durable: for what a tool wrote.
pub(crate) fn sync_all(path: &Path, stop: &AtomicBool) -> Result<(), Failure> {
    if stop.load(Ordering::Relaxed) {
        let message = format!("syncing {} was given up", path.display());
        return Err(Failure::new(ErrorKind::Timeout, message));
    }
    if path.is_dir() {
        for entry in entries(path)? {
            sync_all(&entry, stop)?;
        }
    }
    sync_dir(path)
}

/// Renames, durably. The target must not exist; its parents are made.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), Failure> {
    if exists(to)? {
        let message = format!("{} is there already: look at it and move it away", to.display());
        return Err(Failure::new(ErrorKind::Conflict, message));
    }
    let parent = to.parent().unwrap_or(Path::new("/"));
    make_dir(parent)?;
    fs::rename(from, to).map_err(|error| failure("renaming", from, &error))?;
    sync_dir(parent)?;
    from.parent().map_or(Ok(()), sync_dir)
}

/// Replaces a small file at once and durably, with the owner of its directory.
pub(crate) fn write_atomic(path: &Path, text: &str) -> Result<(), Failure> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    make_dir(parent)?;
    let partial = path.with_extension("partial");
    let written = File::create(&partial).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| failure("writing", &partial, &error))?;
    let owner = fs::metadata(parent).map_err(|error| failure("looking at", parent, &error))?;
    own(&partial, &owner)?;
    fs::rename(&partial, path).map_err(|error| failure("renaming", &partial, &error))?;
    sync_dir(parent)
}

/// Removes what this run made itself (a copy, a partial, a restored directory); fine if absent.
/// Whether it was there.
pub(crate) fn remove_own(path: &Path) -> Result<bool, Failure> {
    if !exists(path)? {
        return Ok(false);
    }
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(|error| failure("removing", path, &error))?;
    path.parent().map_or(Ok(()), sync_dir)?;
    Ok(true)
}

/// What stands in a member's data directory.
pub(crate) fn data(places: &Places) -> Result<Data, Failure> {
    if !exists(&places.data_dir)? {
        return Ok(Data { state: DataState::Missing, mark: None });
    }
    let wal = places.wal();
    let member = exists(&places.data_dir.join("member"))?;
    if !member || !exists(&wal)? {
        return Ok(Data { state: DataState::Empty, mark: None });
    }
    let logs = entries(&wal)?.iter().any(|path| path.extension().is_some_and(|ext| ext == "wal"));
    let state = if logs { DataState::Present } else { DataState::Empty };
    Ok(Data { state, mark: logs.then(|| mark(&wal)).flatten() })
}

/// Identity of a directory: device, inode, birth time.
fn mark(dir: &Path) -> Option<String> {
    let meta = fs::metadata(dir).ok()?;
    let born = meta.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let born = born.map_or(0, |at| at.as_nanos());
    Some(format!("{}:{}:{born}", meta.dev(), meta.ino()))
}

/// Bytes of all files under a directory, without what runs of ours keep there.
pub(crate) fn size(path: &Path) -> Result<u64, Failure> {
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(failure("looking at", path, &error)),
    };
    if !meta.is_dir() {
        return Ok(meta.len());
    }
    let mut total = 0;
    for entry in entries(path)?.iter().filter(|entry| !entry.ends_with(".quorate")) {
        total += size(entry)?;
    }
    Ok(total)
}

/// Free bytes for an ordinary user where `path` is, or will be.
pub(crate) fn free(path: &Path) -> Result<u64, Failure> {
    let mut there = path;
    while !exists(there)? {
        let Some(parent) = there.parent() else { break };
        there = parent;
    }
    let stat =
        rustix::fs::statvfs(there).map_err(|error| failure("looking at", there, &error.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Rows: E2.
    #[tokio::test]
    async fn a_file_system_that_hangs_keeps_one_thread_and_no_caller() {
        let (at, brief) = (Path::new("/hangs"), Duration::from_millis(20));
        let (hangs, hung) = mpsc::channel::<()>();
        let first = looked(at, brief, move |_| Ok(hung.recv().is_ok())).await.unwrap_err();
        assert_eq!(first.kind, ErrorKind::Timeout);
        assert!(first.message.contains("/hangs"), "{first}");
        let begun = Arc::new(AtomicBool::new(false));
        let seen = begun.clone();
        let second = looked(at, brief, move |_| {
            seen.store(true, Ordering::Relaxed);
            Ok(())
        })
        .await;
        assert_eq!(second.unwrap_err().kind, ErrorKind::Timeout);
        assert!(!begun.load(Ordering::Relaxed), "no second thread waits for it");
        assert_eq!(looked(Path::new("/other"), brief * 500, |_| Ok(1)).await, Ok(1));
        hangs.send(()).unwrap();
        assert_eq!(looked(at, brief * 500, |_| Ok(2)).await, Ok(2), "it answers again");
    }
}
