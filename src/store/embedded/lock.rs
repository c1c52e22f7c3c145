//! One server per store: an advisory lock on a file beside the database, with the holder's pid in it.
//!
//! The kernel drops the lock when the process ends, however it ends; the file stays and means
//! nothing by itself.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, Write},
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use crate::store::StoreError;

/// How often the lock is tried, 10 ms apart. A process that ended just now may have a child that
/// has not reached its exec yet and holds a copy of the file; and a holder writes its pid only after
/// it took the lock.
const TRIES_MAX: u32 = 20;

/// The lock, held as long as this lives.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock or says who has it.
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        let open =
            |source: io::Error| StoreError::Open { path: path.into(), source: Arc::new(source) };
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path).map_err(open)?;
        for _ in 0..TRIES_MAX {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    sign(&mut file).map_err(open)?;
                    return Ok(Self { file });
                }
                Err(Errno::WOULDBLOCK | Errno::INTR) => thread::sleep(Duration::from_millis(10)),
                Err(errno) => return Err(open(errno.into())),
            }
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(open)?;
        Err(StoreError::Held { pid: text.trim_end().parse().ok() })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // closing alone would leave it to a child between its fork and its exec
        flock(&self.file, FlockOperation::Unlock).ok();
    }
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}
