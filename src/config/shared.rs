//! What the entries of all clusters share while they are read.

use std::{path::Path, time::Duration};

use super::field::Folder;

/// What all clusters share.
pub(super) struct Shared<'s> {
    pub(super) folder: &'s Folder<'s>,
    /// `None` where only the configuration that is not there could tell.
    pub(super) control_targets: Option<&'s [String]>,
    pub(super) probe_timeout: Duration,
    /// quorate's own store, links followed.
    pub(super) store: &'s Path,
    /// Whether there is one cluster only: then `match` may be left out.
    pub(super) alone: bool,
}
