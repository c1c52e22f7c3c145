//! Who is held out because a response has too many subjects of one cluster.
//!
//! Labels come from outside, memory and work must not. A bound counts per cluster and response, so
//! that a runaway label of one response costs no other. It never holds a whole cluster out: there is
//! one such subject per response.

use std::collections::BTreeSet;

use super::ledger::Subject;
use crate::domain::base::id::{ClusterName, ResponseName};

/// Subjects with labels that one response may have in one cluster at once.
pub const SUBJECTS_MAX: usize = 5_000;
/// Open incidents about them.
pub const INCIDENTS_MAX: usize = 1_000;

/// Which cluster and response a bound counts for.
pub type Pair = (ClusterName, ResponseName);

/// Whether a bound is about a subject: without labels it is a whole cluster.
pub fn is_bounded(subject: &Subject) -> bool {
    !subject.labels.is_empty()
}

/// What a bound counts a subject for.
pub fn pair(subject: &Subject) -> Pair {
    (subject.cluster.clone(), subject.response.clone())
}

/// Where one bound refuses.
#[derive(Debug, Default)]
pub struct CardinalityLimit {
    full: BTreeSet<Pair>,
}

impl CardinalityLimit {
    /// Notes a refusal; `true` where it is the first since there was room.
    pub fn refuse(&mut self, subject: &Subject) -> bool {
        self.full.insert(pair(subject))
    }

    /// Takes how many there are; `true` where there is room again. Nine tenths of the bound, so that
    /// coming and going at the bound is one crowd and not hundreds.
    pub fn has_room(&mut self, pair: &Pair, held: usize, max: usize) -> bool {
        held <= max - max / 10 && self.full.remove(pair)
    }

    /// Where it refuses.
    pub fn full(&self) -> impl Iterator<Item = &Pair> {
        self.full.iter()
    }

    /// Whether it refuses anywhere.
    pub fn is_any(&self) -> bool {
        !self.full.is_empty()
    }
}
