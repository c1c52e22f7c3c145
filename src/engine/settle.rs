//! What a commit with an unknown answer came to: it is read back.
//!
//! Its own cell waits for that, as for any commit; the loop and all other cells go on. While it lasts
//! the store is not healed, so nothing else becomes durable: that, too, is refused at once.

use std::{sync::Arc, time::Duration};

use super::{chain, journal::CommitError};
use crate::store::{Committed, Store, StoreError, StreamName};

/// Before it is read again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A commit whose answer does not say whether it is there.
#[derive(Debug)]
pub(super) struct Unsettled {
    pub(super) stream: StreamName,
    /// Where its entries would stand.
    pub(super) from: u64,
    /// Their bodies.
    pub(super) bodies: Vec<String>,
    /// What hid the answer.
    pub(super) error: StoreError,
}

impl Unsettled {
    /// Reads it back. A store that is broken says so at once; only what may read later is tried again.
    pub(super) async fn settle(self, store: Arc<dyn Store>) -> Result<Committed, CommitError> {
        loop {
            match store.read(&self.stream, self.from).await.map_err(CommitError::of) {
                Ok(found) => {
                    let bodies = found.iter().map(|entry| entry.body.as_str());
                    let is_there = bodies.eq(self.bodies.iter().map(String::as_str));
                    return match found.last() {
                        Some(last) if is_there => Ok(Committed { last_seq: last.seq }),
                        _ => Err(CommitError::NotDurable(self.error)),
                    };
                }
                Err(error) if !error.retryable() => return Err(error),
                Err(error) => {
                    tracing::error!(stream = %self.stream, error = %chain(&error),
                        "what was committed cannot be read back; it is tried again");
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
            }
        }
    }
}
