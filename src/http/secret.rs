//! Secrets in files, and how files are read that might be something else.
//!
//! A secret is never kept as such, only its digest: two of them compare in constant time whatever
//! their lengths, and none can be logged.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use rustix::fs::OFlags;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Largest file of a secret: tokens have some dozen bytes, the longest (JWTs) some thousand.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// The permission bit that lets everybody read.
const OTHERS_READ: u32 = 0o004;

/// A secret in a file; the file is read again when it changes.
pub struct Secret {
    path: PathBuf,
    kept: Mutex<Kept>,
}

/// The digest stands for the secret: two of them compare in constant time whatever the lengths.
struct Kept {
    stamp: Option<Stamp>,
    digest: [u8; 32],
}

/// What tells one version of a file from the next, also when a link to it is moved.
type Stamp = (Option<SystemTime>, u64, u64);

/// A secret that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("the secret in {path} cannot be read", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is empty: it would let in who sends nothing.
    #[error("the secret in {path} is empty", path = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

impl Secret {
    /// Reads the file; a trailing line break is no part of the secret.
    pub fn open(path: &Path) -> Result<Self, SecretError> {
        let (stamp, digest) = (stamp(path), read(path)?);
        if fs::metadata(path).is_ok_and(|meta| meta.mode() & OTHERS_READ != 0) {
            let file = path.display();
            tracing::warn!(%file, "every user of this machine can read this secret; chmod o-r it");
        }
        Ok(Self { path: path.into(), kept: Mutex::new(Kept { stamp, digest }) })
    }

    /// Its SHA-256, as last read.
    pub(super) fn digest(&self) -> [u8; 32] {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).digest
    }

    /// Whether this is the secret. A file that cannot be read any more leaves the last one in force.
    pub fn is(&self, given: &str) -> bool {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(&self.path);
        if stamp != kept.stamp {
            kept.stamp = stamp;
            match read(&self.path) {
                Ok(digest) => kept.digest = digest,
                Err(error) => {
                    let error = crate::engine::chain(&error);
                    tracing::warn!(error, "the secret read before stays in force");
                }
            }
        }
        digest(given.as_bytes()).ct_eq(&kept.digest).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("path", &self.path).finish_non_exhaustive()
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.modified().ok(), meta.len(), meta.ino()))
}

fn read(path: &Path) -> Result<[u8; 32], SecretError> {
    let text = read_regular(path, SECRET_BYTES_MAX);
    let text = text.map_err(|source| SecretError::Unreadable { path: path.into(), source })?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(SecretError::Empty { path: path.into() });
    }
    Ok(digest(secret.as_bytes()))
}

fn digest(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// The text of a regular file of at most `bytes_max`. Anything else is refused and never waited for:
/// opening a FIFO would hang, and reading a device may have effects.
pub fn read_regular(path: &Path, bytes_max: u64) -> io::Result<String> {
    let refuse = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
    let check = |meta: &fs::Metadata| match irregular(meta) {
        Some(what) => Err(refuse(format!("it is {what}, not a regular file"))),
        None if meta.len() > bytes_max => {
            Err(refuse(format!("it has {} bytes, more than {bytes_max}", meta.len())))
        }
        None => Ok(()),
    };
    check(&fs::metadata(path)?)?;
    let mut options = OpenOptions::new();
    // between the look and the opening it may have become something else
    let nonblock = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = options.read(true).custom_flags(nonblock).open(path)?;
    check(&file.metadata()?)?;
    text(file, bytes_max)
}

fn text(file: File, bytes_max: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    // it may have grown
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let what = format!("it has more than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    String::from_utf8(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

/// What it is, where it is no regular file.
fn irregular(meta: &fs::Metadata) -> Option<&'static str> {
    let kind = meta.file_type();
    match () {
        () if kind.is_file() => None,
        () if kind.is_dir() => Some("a folder"),
        () if kind.is_fifo() => Some("a FIFO"),
        () if kind.is_socket() => Some("a socket"),
        () => Some("a device"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_follows_its_file_and_an_empty_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        assert!(matches!(Secret::open(&path), Err(SecretError::Unreadable { .. })));
        fs::write(&path, "\n").unwrap();
        assert!(matches!(Secret::open(&path), Err(SecretError::Empty { .. })));
        fs::write(&path, "first\n").unwrap();
        let secret = Secret::open(&path).unwrap();
        assert!(secret.is("first") && !secret.is("first\n") && !secret.is(""));
        fs::write(&path, "the second").unwrap();
        assert!(secret.is("the second") && !secret.is("first"));
        fs::remove_file(&path).unwrap();
        assert!(secret.is("the second"), "a file that is gone leaves the last secret in force");
        assert!(!format!("{secret:?}").contains("second"));
    }

    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, mode).unwrap();
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for (path, what) in [
            (fifo.as_path(), "a FIFO"),
            (&socket, "a socket"),
            (Path::new("/dev/zero"), "a device"),
            (dir.path(), "a folder"),
        ] {
            let error = read_regular(path, 10).unwrap_err();
            assert_eq!(error.to_string(), format!("it is {what}, not a regular file"));
            assert!(matches!(Secret::open(path), Err(SecretError::Unreadable { .. })));
        }
        let file = dir.path().join("file");
        fs::write(&file, "0123456789").unwrap();
        assert_eq!(read_regular(&file, 10).unwrap(), "0123456789");
        assert!(read_regular(&file, 9).is_err());
    }
}
