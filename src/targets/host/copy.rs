//! A verified copy of a directory tree.
//!
//! The copy is made beside its final name, every file is synced and read back, and only a copy
//! that equals its source gets the name. What fails removes its own partial copy, nothing else.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use sha2::{Digest, Sha256};

use super::files::{entries, exists, failure, make_dir, remove_own, rename, sync_dir};
use crate::domain::rules::action::{ErrorKind, Failure};

/// Bytes per read: a cancelled copy stops within one of these.
const CHUNK: usize = 1 << 20;

/// What was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    pub(crate) files: i64,
    pub(crate) bytes: i64,
    /// SHA-256 over the relative paths and the SHA-256 of each file.
    pub(crate) sha256: String,
}

/// Copies each `(from, name)` to `to/name`. Where `to` is there already it must equal the sources:
/// then nothing is done, and the second value is false.
pub(crate) fn copy(
    parts: &[(PathBuf, &str)],
    to: &Path,
    stop: &AtomicBool,
) -> Result<(Copied, bool), Failure> {
    let partial = to.with_extension("partial");
    remove_own(&partial)?;
    if exists(to)? {
        return check(parts, to, stop).map(|copied| (copied, false));
    }
    let made = make(parts, &partial, stop).and_then(|()| check(parts, &partial, stop));
    match made {
        Ok(copied) => rename(&partial, to).map(|()| (copied, true)),
        Err(failure) => {
            // The first failure is the one to report; a partial that stays is removed by a rerun.
            drop(remove_own(&partial));
            Err(failure)
        }
    }
}

fn make(parts: &[(PathBuf, &str)], to: &Path, stop: &AtomicBool) -> Result<(), Failure> {
    make_dir(to)?;
    for (from, name) in parts {
        copy_tree(from, &to.join(name), stop)?;
    }
    sync_dir(to)
}

fn copy_tree(from: &Path, to: &Path, stop: &AtomicBool) -> Result<(), Failure> {
    let meta = fs::metadata(from).map_err(|error| failure("looking at", from, &error))?;
    if !meta.is_dir() {
        return copy_file(from, to, stop);
    }
    make_dir(to)?;
    for entry in ours_left_out(from)? {
        copy_tree(&entry, &to.join(entry.file_name().unwrap_or_default()), stop)?;
    }
    sync_dir(to)
}

/// The entries of a directory without what runs of ours keep there.
fn ours_left_out(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    Ok(entries(dir)?.into_iter().filter(|entry| !entry.ends_with(".quorate")).collect())
}

fn copy_file(from: &Path, to: &Path, stop: &AtomicBool) -> Result<(), Failure> {
    let mut source = File::open(from).map_err(|error| failure("opening", from, &error))?;
    let mut target = File::create(to).map_err(|error| failure("making", to, &error))?;
    let mut length = 0;
    let mut sink = |chunk: &[u8]| {
        length += chunk.len() as u64;
        // A log is mostly room for later, 64 MiB of zeros at a time: a hole needs no writing.
        let written = if chunk.iter().all(|byte| *byte == 0) {
            target.seek(SeekFrom::Start(length)).map(drop)
        } else {
            target.write_all(chunk)
        };
        written.map_err(|error| failure("writing", to, &error))
    };
    read_all(&mut source, from, stop, &mut sink)?;
    target.set_len(length).map_err(|error| failure("writing", to, &error))?;
    let mode =
        source.metadata().map_err(|error| failure("looking at", from, &error))?.permissions();
    target.set_permissions(mode).map_err(|error| failure("writing", to, &error))?;
    target.sync_all().map_err(|error| failure("syncing", to, &error))
}

fn read_all(
    file: &mut impl Read,
    path: &Path,
    stop: &AtomicBool,
    sink: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let mut chunk = vec![0; CHUNK];
    let mut total = 0;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(Failure::new(
                ErrorKind::Timeout,
                format!("reading {} was given up", path.display()),
            ));
        }
        match file.read(&mut chunk) {
            Ok(0) => return Ok(total),
            Ok(count) => {
                sink(&chunk[..count])?;
                total += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failure("reading", path, &error)),
        }
    }
}

/// Compares sources and copy, both read from their files.
fn check(parts: &[(PathBuf, &str)], to: &Path, stop: &AtomicBool) -> Result<Copied, Failure> {
    let (mut source, mut target) = (Vec::new(), Vec::new());
    for (from, name) in parts {
        sums(from, Path::new(name), stop, &mut source)?;
        sums(&to.join(name), Path::new(name), stop, &mut target)?;
    }
    if let Some((one, _)) = source.iter().zip(&target).find(|(a, b)| a != b) {
        let message =
            format!("the copy {} differs from its source at {}", to.display(), one.path.display());
        return Err(Failure::new(ErrorKind::Conflict, message));
    }
    if source.len() != target.len() {
        let message = format!(
            "the copy {} has {} files, its source {}",
            to.display(),
            target.len(),
            source.len()
        );
        return Err(Failure::new(ErrorKind::Conflict, message));
    }
    let mut all = Sha256::new();
    for sum in &source {
        all.update(format!("{}  {}\n", sum.sha256, sum.path.display()));
    }
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    Ok(Copied {
        files: count(source.len() as u64),
        bytes: count(source.iter().map(|sum| sum.bytes).sum()),
        sha256: hex(&all.finalize()),
    })
}

#[derive(PartialEq, Eq)]
struct Sum {
    path: PathBuf,
    bytes: u64,
    sha256: String,
}

fn sums(path: &Path, name: &Path, stop: &AtomicBool, into: &mut Vec<Sum>) -> Result<(), Failure> {
    if path.is_dir() {
        for entry in ours_left_out(path)? {
            let name = name.join(entry.file_name().unwrap_or_default());
            sums(&entry, &name, stop, into)?;
        }
        return Ok(());
    }
    let (sha256, bytes) = sha256_file(path, stop)?;
    into.push(Sum { path: name.into(), bytes, sha256 });
    Ok(())
}

/// A file's SHA-256 in hex, and its length.
pub(crate) fn sha256_file(path: &Path, stop: &AtomicBool) -> Result<(String, u64), Failure> {
    let mut file = File::open(path).map_err(|error| failure("opening", path, &error))?;
    let mut hash = Sha256::new();
    let mut sink = |chunk: &[u8]| {
        hash.update(chunk);
        Ok(())
    };
    let bytes = read_all(&mut file, path, stop, &mut sink)?;
    Ok((hex(&hash.finalize()), bytes))
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('?');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("data/member/wal")).unwrap();
        fs::create_dir_all(dir.path().join("data/.quorate/run_x/old")).unwrap();
        fs::write(dir.path().join("data/member/wal/0.wal"), vec![7; CHUNK + 5]).unwrap();
        fs::write(dir.path().join("data/member/wal/1.tmp"), vec![0; CHUNK * 2]).unwrap();
        fs::write(dir.path().join("data/member/db"), b"db").unwrap();
        fs::write(dir.path().join("data/.quorate/run_x/old/x"), b"ours").unwrap();
        dir
    }

    #[test]
    fn a_copy_equals_its_source_and_leaves_out_what_is_ours() {
        let dir = mk_tree();
        let parts = [(dir.path().join("data"), "data")];
        let to = dir.path().join("b/backup");
        let going = AtomicBool::new(false);
        let (copied, made) = copy(&parts, &to, &going).unwrap();
        assert!(made);
        assert_eq!((copied.files, copied.bytes), (3, i64::try_from(CHUNK * 3).unwrap() + 7));
        assert_eq!(fs::read(to.join("data/member/wal/1.tmp")).unwrap(), vec![0; CHUNK * 2]);
        assert_eq!(fs::read(to.join("data/member/db")).unwrap(), b"db");
        assert!(!to.join("data/.quorate").exists());
        assert_eq!(copy(&parts, &to, &going).unwrap(), (copied, false));
        fs::write(to.join("data/member/db"), b"xx").unwrap();
        assert_eq!(copy(&parts, &to, &going).unwrap_err().kind, ErrorKind::Conflict);
    }

    #[test]
    fn a_copy_that_is_given_up_leaves_nothing_behind() {
        let dir = mk_tree();
        let to = dir.path().join("backup");
        let failure =
            copy(&[(dir.path().join("data"), "data")], &to, &AtomicBool::new(true)).unwrap_err();
        assert_eq!(failure.kind, ErrorKind::Timeout);
        assert!(!to.exists() && !to.with_extension("partial").exists());
    }
}
