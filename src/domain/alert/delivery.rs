//! What came together, and what it did beside its own alerts.

use std::{collections::BTreeSet, sync::Arc};

use super::known::Alert;
use crate::domain::base::time::Time;

/// One delivery by webhook, or one list.
///
/// What is held back as old news is held back for one delivery only, so an alert that stands twice
/// in the same one must be known as such.
#[derive(Debug)]
pub struct Delivery {
    /// When it came, by our clock.
    pub at: Time,
    /// What was forgotten to make room for it, in order.
    pub forgotten: Vec<Arc<Alert>>,
    /// Rows that it holds back.
    pub(super) held_back: BTreeSet<i64>,
}

impl Delivery {
    /// A delivery that came now.
    pub fn at(now: Time) -> Self {
        Self { at: now, forgotten: Vec::new(), held_back: BTreeSet::new() }
    }
}
