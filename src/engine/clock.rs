//! The engine's clock: one look at the wall clock at start, then monotonic time.
//!
//! A step of the wall clock therefore neither shortens nor lengthens a grace; and one `advance` of
//! a paused tokio clock moves wall and monotonic time together in tests.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::domain::base::time::Time;

/// Epoch plus what has passed since.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    epoch: Time,
    started: Instant,
}

impl Clock {
    /// Starts from the wall clock of this moment.
    pub fn start() -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self::at(Time(i64::try_from(epoch.as_millis()).unwrap_or(0)))
    }

    /// Starts from a given time.
    pub fn at(epoch: Time) -> Self {
        Self { epoch, started: Instant::now() }
    }

    /// Now.
    pub fn now(&self) -> Time {
        self.epoch.after(self.started.elapsed())
    }

    /// The tokio instant of a time.
    pub fn instant(&self, time: Time) -> Instant {
        self.started + time.since(self.epoch)
    }
}
