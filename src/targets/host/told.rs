//! Which process of a member was told to end, noted right before its stop command: one that is still
//! ending is taken neither for one that was never stopped nor for one that was started.
//!
//! A pid is given again; with the ticks since boot of its start it names one process.

use std::{fs, io::ErrorKind::NotFound};

use super::{
    files::{self, blocking, failure},
    places::Places,
    process,
};
use crate::domain::rules::action::Failure;

/// Notes it. One that has ended meanwhile is no matter.
pub(super) async fn note(places: &Places, pid: u32) -> Result<(), Failure> {
    let path = places.told();
    blocking(move |_| {
        let Some(ticks) = process::ticks(pid) else { return Ok(()) };
        files::write_atomic(&path, &format!("{pid} {ticks}\n"))
    })
    .await
}

/// Takes the note back: nothing was told.
pub(super) async fn forget(places: &Places) -> Result<(), Failure> {
    let path = places.told();
    blocking(move |_| files::remove_own(&path).map(drop)).await
}

/// Whether the process of this pid was told to end.
pub(super) async fn is_told(places: &Places, pid: u32) -> Result<bool, Failure> {
    let path = places.told();
    blocking(move |_| match fs::read_to_string(&path) {
        Ok(noted) => {
            Ok(process::ticks(pid).is_some_and(|ticks| noted.trim() == format!("{pid} {ticks}")))
        }
        Err(error) if error.kind() == NotFound => Ok(false),
        Err(error) => Err(failure("reading", &path, &error)),
    })
    .await
}
