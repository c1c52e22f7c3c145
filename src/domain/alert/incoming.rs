//! What senders say: one alert of a delivery or of a list, and what that turned out to be.

use super::labels::Labels;
use crate::domain::base::time::Time;

/// `0001-01-01T00:00:00Z`, which senders write for "no end": so it fires.
pub(super) const NO_TIME: Time = Time(-62_135_596_800_000);

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
    /// Whether it is suppressed; `None` where the sender does not say (a webhook).
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

/// What an incoming alert was, with the row's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Its labels were never seen: to be written.
    New(i64),
    /// It began or ceased to fire, ended later, was delivered for the first time, or its silence
    /// changed: to be written.
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
