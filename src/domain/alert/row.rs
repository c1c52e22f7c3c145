//! What is kept on disk of an alert: JSON, read for ever.

use serde::{Deserialize, Serialize};

use super::{known::Alert, labels::Labels, places::OwnerId, stamp::Stamp};
use crate::domain::base::time::Time;

/// A field that a version did not write yet has its default: what was true of all rows then.
#[derive(Serialize, Deserialize)]
struct Row<L> {
    labels: L,
    firing: bool,
    starts_at: Stamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ends_at: Option<Stamp>,
    changed_at: Stamp,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    silenced: bool,
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    delivered: bool,
}

fn yes() -> bool {
    true
}

/// Bytes that a row usually has at most; a longer one grows.
const ROW_USUAL: usize = 512;

impl Alert {
    /// The row as JSON. The row's number is its key, and not in it.
    pub fn to_row(&self) -> Vec<u8> {
        let row = Row {
            labels: &self.labels,
            firing: self.firing,
            starts_at: Stamp(self.starts_at),
            ends_at: self.ends_at.map(Stamp),
            changed_at: Stamp(self.changed_at),
            silenced: self.silenced,
            delivered: self.delivered,
        };
        let mut json = Vec::with_capacity(ROW_USUAL);
        serde_json::to_writer(&mut json, &row).expect("plain values with text keys are JSON");
        json
    }

    /// Reads a row. `seen_at` becomes `now`: repeats are not written, so after a restart nothing
    /// says that a firing alert has not been repeated. It is nobody's until it is filed.
    pub fn from_row(id: i64, row: &[u8], now: Time) -> Result<Self, RowError> {
        let row: Row<Labels> =
            serde_json::from_slice(row).map_err(|source| RowError::Unreadable { id, source })?;
        Ok(Self {
            id,
            labels: row.labels,
            firing: row.firing,
            starts_at: row.starts_at.0,
            ends_at: row.ends_at.map(|end| end.0.min(now)),
            seen_at: now,
            changed_at: row.changed_at.0,
            silenced: row.silenced,
            silenced_at: now,
            delivered: row.delivered,
            owner: OwnerId::NONE,
            doubted: false,
        })
    }
}

/// A row that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// It is not what this version writes.
    #[error("alert row {id} cannot be read")]
    Unreadable {
        /// The row's number.
        id: i64,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}
