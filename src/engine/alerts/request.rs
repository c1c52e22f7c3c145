//! A delivery on its way in, and what its sender hears.

use tokio::sync::oneshot;

use crate::{domain::alert::Incoming, engine::journal::CommitError};

/// The answer to a delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Alerts that are kept.
    pub accepted: usize,
    /// Those among them that no cluster, or several, match.
    pub unmatched: usize,
    /// Alerts that are not kept, for there is no room: if any is, the sender must hear 503.
    pub refused: usize,
}

/// Why a delivery was not taken: the sender tries again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ObserveError {
    /// The queue is full.
    #[error("too many deliveries wait already")]
    Full,
    /// It could not be made durable.
    #[error("the alerts could not be made durable")]
    NotDurable(#[source] CommitError),
    /// The intake has stopped.
    #[error("quorate is stopping")]
    Stopped,
}

/// A delivery that waits for the intake.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) alerts: Vec<Incoming>,
    pub(super) reply: oneshot::Sender<Result<Receipt, ObserveError>>,
}
