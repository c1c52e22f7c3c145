//! Alerts: what is one alert, and what a repeat, a resolve or a late delivery changes of it.
//!
//! Does not match, correlate or decide; nothing here writes. The one thing to know: an alert is its
//! label set. Senders repeat, disagree on `startsAt`, deliver late and out of order, and may forget
//! an alert altogether; none of that may make a second alert, or keep one that fires from firing.

mod alerts;
mod delivery;
mod incoming;
mod known;
pub mod labels;
mod packed;
mod places;
mod room;
mod row;
mod stamp;
#[cfg(test)]
mod tests;

pub use self::{
    alerts::{Alerts, Fold},
    delivery::Delivery,
    incoming::{Incoming, Seen},
    known::Alert,
    places::{Key, OwnerId},
    room::{ALERT_BYTES, Bounds, Counts, Full},
    row::RowError,
};
