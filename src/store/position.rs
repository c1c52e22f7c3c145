//! What every backend judges alike: whether an append, or a compaction, fits what is stored.

use super::{Fence, StoreError, StreamName};

/// Whether an append at `(position, fence)` may follow what is stored. A former owner hears that it
/// is one, whatever its position: that is the reason for its wrong position.
pub(super) fn judge(
    stream: &StreamName,
    (expected, fence): (u64, Fence),
    (next, owner): (u64, Fence),
) -> Result<(), StoreError> {
    owns(stream, fence, owner)?;
    if expected != next {
        return Err(StoreError::Conflict { stream: stream.clone(), expected, found: next });
    }
    Ok(())
}

/// Whether nobody with a higher fence has taken the stream over.
pub(super) fn owns(stream: &StreamName, fence: Fence, owner: Fence) -> Result<(), StoreError> {
    if fence < owner {
        return Err(StoreError::Fenced { stream: stream.clone(), fence, found: owner });
    }
    Ok(())
}

/// Whether a stream may be compacted up to a position.
pub(super) fn within(
    stream: &StreamName,
    upto: u64,
    (compacted, next): (u64, u64),
) -> Result<(), StoreError> {
    let found = upto.clamp(compacted, next);
    if found == upto {
        return Ok(());
    }
    Err(StoreError::Conflict { stream: stream.clone(), expected: upto, found })
}
