//! The lock of a member's host: who changes something of the member there holds it, with all that it
//! started.
//!
//! It is a file that only has to exist; the kernel forgets who held it when they have ended. It stands
//! with the backups, not with the data: a wiped disk takes no lock away.

use std::{
    fs::{File, TryLockError},
    path::Path,
    time::Duration,
};

use super::files::{blocking, failure, make_dir};
use crate::domain::rules::action::{ErrorKind, Failure};

/// How long the former holder is waited for: longer than a service's command may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(55);
const POLL: Duration = Duration::from_millis(50);

/// Takes a lock, once its former holder has ended.
pub(crate) async fn take(path: &Path, patience: Duration) -> Result<File, Failure> {
    let at = path.to_owned();
    let file = blocking(move |_| open(&at)).await?;
    let until = tokio::time::Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(failure("locking", path, &error)),
            Err(TryLockError::WouldBlock) => {}
        }
        if tokio::time::Instant::now() >= until {
            let message = format!(
                "what an earlier try started is still at work: {} is locked. Wait until it has ended, or find and end the process that has it open",
                path.display()
            );
            return Err(Failure {
                still_running: true,
                ..Failure::new(ErrorKind::Timeout, message)
            });
        }
        tokio::time::sleep(POLL).await;
    }
}

fn open(path: &Path) -> Result<File, Failure> {
    if let Some(dir) = path.parent() {
        make_dir(dir)?;
    }
    let file = File::options().create(true).write(true).truncate(false).open(path);
    file.map_err(|error| failure("opening", path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lock_is_waited_for_and_what_holds_it_too_long_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("locks/c1/m1");
        let brief = Duration::from_millis(20);
        let held = take(&path, brief).await.unwrap();
        let failure = take(&path, brief).await.unwrap_err();
        assert!(failure.still_running && failure.message.contains("locks/c1/m1"), "{failure}");
        let waits = take(&path, Duration::from_secs(10));
        let ends = async {
            tokio::task::yield_now().await;
            drop(held);
        };
        assert!(tokio::join!(waits, ends).0.is_ok());
    }
}
