//! Who is held out because a response has too many subjects of one cluster.
//!
//! Labels come from outside, memory and work must not. A bound counts per cluster and response, so
//! that a runaway label of one response costs no other. It never holds a whole cluster out: there is
//! one such subject per response.

use std::collections::BTreeSet;

use super::ledger::Subject;
use crate::domain::base::id::ResponseName;

/// Subjects with labels that one response may have in one cluster at once.
pub const SUBJECTS_MAX: usize = 5_000;
/// Open incidents about them.
pub const INCIDENTS_MAX: usize = 1_000;

/// Whether a bound is about a subject: without labels it is a whole cluster.
pub fn is_bounded(subject: &Subject) -> bool {
    !subject.labels.is_empty()
}

/// Where one bound refuses, in one cluster.
#[derive(Clone, Debug, Default)]
pub struct CardinalityLimit {
    full: BTreeSet<ResponseName>,
}

impl CardinalityLimit {
    /// Notes a refusal; `true` where it is the first since there was room.
    pub fn refuse(&mut self, response: &ResponseName) -> bool {
        self.full.insert(response.clone())
    }

    /// Takes how many there are; `true` where there is room again. Nine tenths of the bound, so that
    /// coming and going at the bound is one crowd and not hundreds.
    pub fn has_room(&mut self, response: &ResponseName, held: usize, max: usize) -> bool {
        held <= max - max / 10 && self.full.remove(response)
    }

    /// Where it refuses.
    pub fn full(&self) -> impl Iterator<Item = &ResponseName> {
        self.full.iter()
    }

    /// Whether it refuses anywhere.
    pub fn is_any(&self) -> bool {
        !self.full.is_empty()
    }
}
