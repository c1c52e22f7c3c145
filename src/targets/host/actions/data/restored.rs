//! Restored data that was put in place of the member's own, and may have been used since: only what is
//! still what the restore made is moved aside again.

use std::{path::PathBuf, sync::atomic::AtomicBool};

use crate::{
    domain::rules::action::{ErrorKind, Failure},
    targets::host::{
        files::{exists, failure, write_atomic},
        places::Places,
        wal,
    },
};

/// Where the mark of the restored log is noted.
fn log_note(places: &Places) -> PathBuf {
    places.beside("new.log")
}

/// Notes what the restored log holds before it is put in.
pub(super) fn note_log(places: &Places, stop: &AtomicBool) -> Result<(), Failure> {
    match wal::mark_in(&places.wal_in(super::RESTORED), stop)? {
        Some(mark) => write_atomic(&log_note(places), &mark),
        None => Ok(()), // moved already, by an earlier try, which noted it
    }
}

/// Fails where a member was started on the restored data since it was put in: that may hold what
/// clients were told is kept.
pub(super) fn must_be_unused_since(places: &Places, stop: &AtomicBool) -> Result<(), Failure> {
    let note = log_note(places);
    if !exists(&note)? || !exists(&places.wal())? {
        return Ok(());
    }
    let noted = std::fs::read_to_string(&note);
    let noted = noted.map_err(|error| failure("reading", &note, &error))?;
    if wal::mark(places, stop)?.as_deref() == Some(noted.trim()) {
        return Ok(());
    }
    let message = format!(
        "the log in {} is not what was restored: a member was started on it and may have answered clients, so it is not moved aside",
        places.wal().display()
    );
    Err(Failure::new(ErrorKind::Conflict, message))
}

/// What stands in the way of taking restored data back is for a person to look at: whoever went on
/// with the rest would start the old members beside a new cluster.
pub(super) fn unlooked(failure: Failure) -> Failure {
    Failure { still_running: true, ..failure }
}
