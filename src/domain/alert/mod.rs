//! Alerts: what is one alert, and what a repeat, a resolve or a late delivery changes of it.
//!
//! Does not match, correlate or decide; nothing here writes. The one thing to know: an alert is its
//! label set. Senders repeat, disagree on `startsAt`, deliver late and out of order, and may forget
//! an alert altogether; none of that may make a second alert, or bring back a resolved one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::labels::Labels;
use super::base::time::Time;

mod alerts;
pub mod labels;
#[cfg(test)]
mod tests;

pub use alerts::Alerts;

/// `0001-01-01T00:00:00Z`, which senders write for "no end": so it fires.
const NO_TIME: Time = Time(-62_135_596_800_000);

/// One alert of a delivery or of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Its labels: its identity.
    pub labels: Labels,
    /// Whether it fires.
    pub firing: bool,
    /// When it began, by the sender's clock.
    pub starts_at: Time,
    /// When it ended, by the sender's clock; only of one that is resolved.
    pub ends_at: Option<Time>,
    /// Whether it is silenced; `None` where the sender does not say (a webhook).
    pub silenced: Option<bool>,
}

impl Incoming {
    /// Reads an alert's own status, never its group's. Without a status (`POST /api/v2/alerts`) the
    /// end decides: none or one to come means that it fires. A resolve without an end ends now.
    pub fn new(
        labels: Labels,
        status: Option<bool>,
        starts_at: Time,
        ends_at: Option<Time>,
        now: Time,
    ) -> Self {
        let ends_at = ends_at.filter(|end| *end != NO_TIME);
        let firing = status.unwrap_or_else(|| ends_at.is_none_or(|end| end > now));
        let ends_at = if firing { None } else { Some(ends_at.unwrap_or(now)) };
        Self { labels, firing, starts_at, ends_at, silenced: None }
    }
}

/// An alert as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Number of its row.
    pub id: i64,
    /// Its labels: its identity.
    pub labels: Labels,
    /// Whether it fires.
    pub firing: bool,
    /// When it began: the earliest of what the senders say.
    pub starts_at: Time,
    /// The end of its last resolve, by the sender's clock; a firing that began no later is old news.
    pub ends_at: Option<Time>,
    /// When a sender last repeated it, by our clock. Kept in memory only.
    pub seen_at: Time,
    /// When it last began or ceased to fire, by our clock.
    pub changed_at: Time,
    /// Whether it is silenced: context, never a trigger.
    pub silenced: bool,
    /// The fingerprint that Prometheus and Alertmanager give it.
    pub fingerprint: u64,
}

/// What an incoming alert was, with the row's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Its labels were never seen: to be written.
    New(i64),
    /// It began or ceased to fire, ended later, or its silence changed: to be written.
    Changed(i64),
    /// It says what is known: nothing to write.
    Repeat(i64),
    /// It speaks of what is over: nothing changes.
    OldNews(i64),
}

impl Seen {
    /// The row's number.
    pub fn id(self) -> i64 {
        match self {
            Self::New(id) | Self::Changed(id) | Self::Repeat(id) | Self::OldNews(id) => id,
        }
    }

    /// Whether the row must be written before the sender gets its answer.
    pub fn is_to_write(self) -> bool {
        match self {
            Self::New(_) | Self::Changed(_) => true,
            Self::Repeat(_) | Self::OldNews(_) => false,
        }
    }
}

/// What is kept on disk of an alert.
#[derive(Serialize, Deserialize)]
struct Row {
    labels: Labels,
    firing: bool,
    starts_at: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ends_at: Option<Time>,
    changed_at: Time,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    silenced: bool,
}

impl Alert {
    fn begin(id: i64, incoming: Incoming, now: Time) -> Self {
        Self {
            id,
            fingerprint: fingerprint(&incoming.labels),
            labels: incoming.labels,
            firing: incoming.firing,
            starts_at: incoming.starts_at,
            ends_at: incoming.ends_at,
            seen_at: now,
            changed_at: now,
            silenced: incoming.silenced == Some(true),
        }
    }

    /// The row as JSON. The row's number is its key, and not in it.
    pub fn to_row(&self) -> Vec<u8> {
        let row = Row {
            labels: self.labels.clone(),
            firing: self.firing,
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            changed_at: self.changed_at,
            silenced: self.silenced,
        };
        serde_json::to_vec(&row).expect("plain values with text keys are JSON")
    }

    /// Reads a row. `seen_at` becomes `now`: repeats are not written, so after a restart nothing
    /// says that a firing alert has not been repeated.
    pub fn from_row(id: i64, row: &[u8], now: Time) -> Result<Self, RowError> {
        let row: Row =
            serde_json::from_slice(row).map_err(|source| RowError::Unreadable { id, source })?;
        Ok(Self {
            id,
            fingerprint: fingerprint(&row.labels),
            labels: row.labels,
            firing: row.firing,
            starts_at: row.starts_at,
            ends_at: row.ends_at,
            seen_at: now,
            changed_at: row.changed_at,
            silenced: row.silenced,
        })
    }

    /// Folds what a sender says; whether that is to be written. See `Alerts::observe`.
    fn fold(&mut self, incoming: &Incoming, now: Time) -> Seen {
        if self.is_old_news(incoming) {
            return Seen::OldNews(self.id);
        }
        self.seen_at = self.seen_at.max(now);
        let mut changed = incoming.silenced.is_some_and(|silenced| silenced != self.silenced);
        self.silenced = incoming.silenced.unwrap_or(self.silenced);
        match (self.firing, incoming.firing) {
            (true, true) => self.starts_at = self.starts_at.min(incoming.starts_at),
            (false, true) => {
                self.starts_at = incoming.starts_at;
                self.turn(true, now);
                changed = true;
            }
            (true, false) => {
                self.ends_at = incoming.ends_at.max(self.ends_at);
                self.turn(false, now);
                changed = true;
            }
            (false, false) => {
                // A later end is written: after a restart it still tells old news from new.
                changed |= incoming.ends_at > self.ends_at;
                self.ends_at = incoming.ends_at.max(self.ends_at);
            }
        }
        if changed { Seen::Changed(self.id) } else { Seen::Repeat(self.id) }
    }

    fn turn(&mut self, firing: bool, now: Time) {
        self.firing = firing;
        self.changed_at = now;
    }

    /// A firing that began no later than the last resolve ended, or a resolve that ended before
    /// what fires now began: delivered late, or by a sender that lags behind.
    fn is_old_news(&self, incoming: &Incoming) -> bool {
        if incoming.firing {
            self.ends_at.is_some_and(|end| incoming.starts_at <= end)
        } else {
            self.firing && incoming.ends_at.is_some_and(|end| end < self.starts_at)
        }
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

/// The fingerprint of Prometheus and Alertmanager: 64-bit FNV-1a over the sorted names and values,
/// each followed by the byte 255. Not a safe hash: two label sets may share it.
pub fn fingerprint(labels: &Labels) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let parts = labels.iter().flat_map(|(name, value)| [name, value]);
    let bytes = parts.flat_map(|part| part.bytes().chain([0xff]));
    bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

/// All alerts by fingerprint, then number: label sets that share a fingerprint stay apart.
type ByPrint = BTreeMap<(u64, i64), Alert>;
