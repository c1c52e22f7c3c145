//! Where an alert stands among all: its key, and its owner.

use std::ops::{Bound, RangeInclusive};

/// An alert's place in the order of all: by fingerprint, then number, so that label sets that share a
/// fingerprint stay apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Its fingerprint.
    pub print: u64,
    /// The number of its row.
    pub id: i64,
}

impl Key {
    pub(super) fn all_of(print: u64) -> RangeInclusive<Self> {
        Self { print, id: i64::MIN }..=Self { print, id: i64::MAX }
    }

    pub(super) fn behind(after: Option<Self>) -> (Bound<Self>, Bound<Self>) {
        (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
    }
}

/// Which cluster owns an alert, as the table's keeper numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnerId(pub u32);

impl OwnerId {
    /// No cluster, or several: what is about none of them.
    pub const NONE: Self = Self(u32::MAX);

    /// Where it is counted: what has an owner, and what has none.
    pub(super) fn share(self) -> usize {
        usize::from(self == Self::NONE)
    }
}
