//! What the writer thread makes durable.

use crate::store::{Batch, StreamName};

/// What can share a sync.
pub(super) enum Write {
    /// A batch.
    Batch(Batch),
    /// A claim.
    Claim(StreamName),
}
