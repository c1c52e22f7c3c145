//! What a cell's effects hang on: cut, they end and bring back nothing.

use tokio_util::sync::CancellationToken;

/// What ends the effects of one cell.
#[derive(Clone, Debug)]
pub(super) struct Leash {
    pub(super) looks: CancellationToken,
    pub(super) calls: CancellationToken,
}

impl Leash {
    /// Ends them.
    pub(super) fn cancel(&self) {
        self.looks.cancel();
        self.calls.cancel();
    }
}
