//! How much the intake keeps and lets wait, and why so much.

use crate::domain::alert::Bounds;

/// Deliveries that may wait for the intake. More than all connections for webhooks can have under
/// way; it takes a thousand in some milliseconds, so a full queue means that disk or cells hang.
pub const REQUESTS_MAX: usize = 1024;

/// Entries that may stand in line for the disk: a fraction of what the store lets wait, so that the
/// cells always find room there.
pub const LINE_MAX: usize = 1024;

/// Messages that may wait for the cells before nothing more is taken. They hold what is durable, so
/// this bounds memory, not loss.
pub const BACKLOG_MAX: usize = 256;

/// Alerts in one message to a cell: what a cell takes in at once, in about a millisecond.
pub const HANDED_MAX: usize = 1000;

/// Alerts that are folded, read or handed out before the lock is let go: some tens of microseconds.
pub const PIECE: usize = 64;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Alerts, firing and resolved. Twenty times what a large site has; every label set that a broken
    /// rule makes up is one of them until it is resolved and forgotten.
    pub alerts_max: usize,
    /// Bytes of all of them: 1 GiB. Labels are as long as senders make them.
    pub bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { alerts_max: 2_000_000, bytes_max: 1 << 30 }
    }
}

impl Limits {
    /// As the table of alerts takes them.
    pub(super) fn bounds(self) -> Bounds {
        Bounds { alerts: self.alerts_max, bytes: self.bytes_max }
    }
}
