//! The room that alerts take, and how much there is.

use std::{collections::BTreeSet, ops::Add};

use super::{known::Alert, labels::Labels};
use crate::domain::base::time::Time;

/// How much may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Alerts, firing and resolved.
    pub alerts: usize,
    /// Bytes of all of them, by [`Labels::bytes`] and [`ALERT_BYTES`].
    pub bytes: usize,
}

impl Default for Bounds {
    /// None.
    fn default() -> Self {
        Self { alerts: usize::MAX, bytes: usize::MAX }
    }
}

/// What an alert takes beside its labels: its own block, and its entries in the maps.
pub const ALERT_BYTES: usize = 192;

impl Bounds {
    /// What alerts without an owner may fill: three quarters.
    #[must_use]
    pub fn unmatched(self) -> Self {
        Self { alerts: self.alerts / 4 * 3, bytes: self.bytes / 4 * 3 }
    }

    pub(super) fn have_room(self, held: Held, labels: &Labels) -> bool {
        held.count < self.alerts && held.bytes.saturating_add(bytes(labels)) <= self.bytes
    }
}

fn bytes(labels: &Labels) -> usize {
    labels.bytes() + ALERT_BYTES
}

/// There is no room for another alert, and none that is resolved to forget for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// Whether it matches no cluster: then it had less room.
    pub unmatched: bool,
}

/// How many alerts there are, by what they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that fire.
    pub firing: usize,
    /// Those that are resolved.
    pub resolved: usize,
    /// Those that no cluster owns, firing or not.
    pub unmatched: usize,
    /// What all of them take.
    pub bytes: usize,
}

/// What is held.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Held {
    pub(super) count: usize,
    pub(super) bytes: usize,
}

impl Add for Held {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { count: self.count + other.count, bytes: self.bytes + other.bytes }
    }
}

/// The alerts that have an owner, or those that have none.
#[derive(Clone, Debug, Default)]
pub(super) struct Share {
    pub(super) held: Held,
    /// Those that are resolved, by when they were.
    resolved: BTreeSet<(Time, i64)>,
}

impl Share {
    pub(super) fn add(&mut self, alert: &Alert) {
        self.held.count += 1;
        self.held.bytes += bytes(&alert.labels);
        if !alert.firing {
            self.resolved.insert((alert.changed_at, alert.id));
        }
    }

    pub(super) fn remove(&mut self, alert: &Alert) {
        self.held.count -= 1;
        self.held.bytes -= bytes(&alert.labels);
        if !alert.firing {
            self.resolved.remove(&(alert.changed_at, alert.id));
        }
    }

    /// The one that has been resolved for longest.
    pub(super) fn oldest(&self) -> Option<(Time, i64)> {
        self.resolved.first().copied()
    }

    pub(super) fn resolved(&self) -> usize {
        self.resolved.len()
    }
}
