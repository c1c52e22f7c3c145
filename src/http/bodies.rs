//! The memory that webhook bodies in flight may take, all of them together.
//!
//! It counts what was set aside, not what clients announce: a body costs when its bytes come. The
//! bodies of the API need no such count, they are small and their number is bounded.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{body::Body, http::HeaderMap, http::header};
use futures::StreamExt;

use super::{error::Refusal, payload::ALERTS_MAX};

/// How much of a body that is too large is still taken and thrown away, in bytes: a client that is
/// cut off while it sends sees a broken connection, which Alertmanager tries again, not the 413.
const DRAINED_MAX: u64 = 64 << 20;

/// Bodies are given this much room at first; the size that a client announces is its own claim.
const ROOM_FIRST: u64 = 16 << 10;

/// The bound and what is taken of it. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Bodies(Arc<Room>);

#[derive(Debug)]
struct Room {
    max: AtomicU64,
    taken: AtomicU64,
}

/// A body in memory, for as long as this is kept.
#[derive(Debug)]
pub(super) struct Held {
    bodies: Bodies,
    set_aside: u64,
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
}

impl Bodies {
    pub(super) fn new(max: u64) -> Self {
        Self(Arc::new(Room { max: AtomicU64::new(max), taken: AtomicU64::new(0) }))
    }

    /// Another bound from now on; what is in flight stays.
    pub(super) fn resize(&self, max: u64) {
        self.0.max.store(max, Ordering::Release);
    }

    /// Reads a body of at most `most` bytes. `size` becomes its size as far as that is known.
    pub(super) async fn read(
        &self,
        headers: &HeaderMap,
        body: Body,
        most: u64,
        size: &mut u64,
    ) -> Result<Held, Refusal> {
        let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let announced: Option<u64> = announced.and_then(|value| value.parse().ok());
        *size = announced.unwrap_or_default();
        if announced.is_some_and(|bytes| bytes > DRAINED_MAX) {
            return Err(too_large(most));
        }
        let mut held = self.nothing();
        let (mut came, mut chunks) = (0, body.into_data_stream());
        while let Some(chunk) = chunks.next().await {
            let chunk =
                chunk.map_err(|error| Refusal::Usage(format!("the body broke off: {error}")))?;
            came += chunk.len() as u64;
            if came.max(*size) <= most {
                held.make_room(came, announced.unwrap_or(most))?;
                held.bytes.extend_from_slice(&chunk);
            } else if came > DRAINED_MAX {
                break;
            } else {
                held = self.nothing();
            }
        }
        let announced = std::mem::replace(size, came);
        if came.max(announced) > most { Err(too_large(most)) } else { Ok(held) }
    }

    fn nothing(&self) -> Held {
        Held { bodies: self.clone(), set_aside: 0, bytes: Vec::new() }
    }

    fn set_aside(&self, more: u64) -> Result<(), Refusal> {
        let max = self.0.max.load(Ordering::Acquire);
        let fits = |taken: u64| taken.checked_add(more).filter(|sum| *sum <= max);
        let done = self.0.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits);
        done.map(drop).map_err(|_| {
            Refusal::Unavailable(format!(
                "the bodies under way fill webhook.bodies_max ({max} bytes); try again"
            ))
        })
    }
}

impl Held {
    /// Lets the bytes go: what was read from them is about as large, and counts on.
    pub(super) fn read_out(&mut self) {
        self.bytes = Vec::new();
    }

    /// Room for `wanted` bytes; it grows by doubling up to `end`, which it never exceeds.
    fn make_room(&mut self, wanted: u64, end: u64) -> Result<(), Refusal> {
        if wanted <= self.set_aside {
            return Ok(());
        }
        let room = (self.set_aside * 2).max(ROOM_FIRST).min(end).max(wanted);
        self.bodies.set_aside(room - self.set_aside)?;
        self.set_aside = room;
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        self.bytes.reserve_exact(room.saturating_sub(self.bytes.len()));
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.bodies.0.taken.fetch_sub(self.set_aside, Ordering::AcqRel);
    }
}

fn too_large(most: u64) -> Refusal {
    Refusal::TooLarge(format!(
        "the body is larger than webhook.max_body ({most} bytes); set `max_alerts` in \
         Alertmanager's webhook_config (quorate takes up to {ALERTS_MAX} alerts in one body)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bodies: &Bodies, size: usize, most: u64) -> Result<Held, Refusal> {
        let body = Body::from(vec![b'x'; size]);
        bodies.read(&HeaderMap::new(), body, most, &mut 0).await
    }

    #[tokio::test]
    async fn bodies_together_stay_within_their_bound_and_give_it_back() {
        let bodies = Bodies::new(100 << 10);
        let first = read(&bodies, 60 << 10, 64 << 10).await.unwrap();
        assert_eq!(first.bytes.len(), 60 << 10);
        assert!(matches!(read(&bodies, 60 << 10, 64 << 10).await, Err(Refusal::Unavailable(_))));
        drop(first);
        assert_eq!(bodies.0.taken.load(Ordering::Acquire), 0, "what was refused holds nothing");
        assert!(read(&bodies, 100 << 10, 100 << 10).await.is_ok(), "all of it for one");
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_holds_nothing() {
        let bodies = Bodies::new(100 << 10);
        assert!(matches!(read(&bodies, 65 << 10, 64 << 10).await, Err(Refusal::TooLarge(_))));
        assert_eq!(bodies.0.taken.load(Ordering::Acquire), 0);
    }
}
