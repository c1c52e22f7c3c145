//! The intake: alerts merged, made durable, acknowledged, and only then handed to the cells.
//!
//! It opens nothing, decides nothing and knows no response. The one thing to know: memory runs ahead
//! of the disk between a commit's call and its answer, so that one sync serves many deliveries. What
//! stands in [`line`] between the two is answered, handed over or rolled back in that order, never
//! otherwise.
//!
//! # Design
//!
//! One task owns the alerts; whoever wants to read them has an [`table::AlertTable`]. A delivery is merged at
//! once, committed in one batch, answered when that is durable, and handed over behind the answer: a
//! cell never acts on what a crash would take back. After a failed commit exactly what the outstanding
//! deliveries changed is put back, from the versions that were there before; nothing is read.
//!
//! An unchanged repeat writes nothing. It waits for the deliveries before it, because what it repeats
//! may stand among them.
//!
//! Everything else that the task is asked to do (settle a list, hand out, sweep, take other owners)
//! lies in `orders`, where a later order replaces an earlier one of its kind: giving one never waits
//! and never fails, so the cells may give orders to who waits for them. It is done piece by piece
//! between deliveries.

mod handed;
mod handle;
mod jobs;
pub mod limits;
mod line;
mod merge;
mod orders;
mod recover;
mod request;
mod roll;
pub mod table;
#[cfg(test)]
mod tests;
mod throttle;
mod work;

pub(super) use self::throttle::Throttle;
pub use self::{
    handed::Handed,
    handle::IntakeHandle,
    request::{ObserveError, Receipt},
    work::Parts,
};
