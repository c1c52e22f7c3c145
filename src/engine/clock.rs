//! The engine's clock: one look at the wall clock at start, then monotonic time.
//!
//! A step of the wall clock therefore neither shortens nor lengthens a grace, a pause or a question;
//! and one `advance` of a paused tokio clock moves wall and monotonic time together in tests. It is
//! never earlier than the last time in the journal, so that a clock that was set back holds nothing
//! still. Time that the machine spent suspended has passed, and is added as soon as it is noticed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use crate::domain::base::time::Time;

/// A difference that is told: below it lies what a synchronised clock corrects by itself.
const TOLERATED: Duration = Duration::from_secs(5);
/// What reading two clocks one after the other may differ by.
const JITTER: Duration = Duration::from_secs(1);

/// What a person should know of a clock that is ahead.
const AHEAD: &str = "quorate's own goes on from there, so that no span that is journalled is cut short. \
    If the wall clock is right, a restart does not help: the journal was written ahead of it. Spans that \
    quorate measures are right; the times it shows, the age of an alert since its start, and the outage \
    that Prometheus is asked about are too late by as much. It ends by itself once the wall clock has \
    come there. Sooner: when no incident is open, stop quorate, move its store away and start with an \
    empty one (what the old one knows of past repairs, losses and pauses is not known then)";

/// Epoch plus what has passed since. Clones are the same clock.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Milliseconds; only ever grows.
    epoch: AtomicI64,
    started: Instant,
    /// The boot clock at the start, which counts suspended time too; `None` of a clock in tests.
    booted: Option<Duration>,
    /// Suspended time that was added, in milliseconds.
    suspended: AtomicU64,
    /// The difference to the wall clock that was told last, in seconds.
    told: AtomicI64,
}

impl Clock {
    /// Starts from the wall clock of this moment.
    pub fn start() -> Self {
        Self::new(wall(), Some(boot()))
    }

    /// Starts from a given time, whatever the clocks of the machine say.
    pub fn at(epoch: Time) -> Self {
        Self::new(epoch, None)
    }

    fn new(epoch: Time, booted: Option<Duration>) -> Self {
        Self(Arc::new(Inner {
            epoch: AtomicI64::new(epoch.0),
            started: Instant::now(),
            booted,
            suspended: AtomicU64::new(0),
            told: AtomicI64::new(0),
        }))
    }

    /// Now.
    pub fn now(&self) -> Time {
        Time(self.0.epoch.load(Ordering::Relaxed)).after(self.0.started.elapsed())
    }

    /// Is at this time at least from now on: the last one in the journal. Says what is worth a line in
    /// the log.
    pub fn never_before(&self, time: Time) -> Option<String> {
        let behind = time.since(self.now());
        self.add(behind);
        if behind <= TOLERATED {
            return None;
        }
        let seconds = i64::try_from(behind.as_secs()).unwrap_or(i64::MAX);
        self.0.told.store(-seconds, Ordering::Relaxed);
        Some(format!("the wall clock is {seconds} s behind the last time in the journal; {AHEAD}"))
    }

    /// Sleeps until a time has come, by this clock.
    pub async fn sleep_until(&self, time: Time) {
        tokio::time::sleep(time.since(self.now())).await;
    }

    fn add(&self, span: Duration) {
        let millis = i64::try_from(span.as_millis()).unwrap_or(0);
        self.0.epoch.fetch_add(millis, Ordering::Relaxed);
    }

    /// Compares the clocks of the machine; says what is worth a line in the log.
    pub fn compare(&self) -> Option<String> {
        let booted = self.0.booted?;
        self.compare_with(boot().saturating_sub(booted), wall())
    }

    fn compare_with(&self, since_boot: Duration, wall: Time) -> Option<String> {
        let suspended = since_boot.saturating_sub(self.0.started.elapsed());
        let known = Duration::from_millis(self.0.suspended.load(Ordering::Relaxed));
        let more = suspended.saturating_sub(known);
        if more > JITTER {
            let millis = u64::try_from(suspended.as_millis()).unwrap_or(u64::MAX);
            self.0.suspended.store(millis, Ordering::Relaxed);
            self.add(more);
            return Some(format!(
                "the machine was suspended for {} s; that time has passed",
                more.as_secs()
            ));
        }
        let seconds = wall.0.saturating_sub(self.now().0) / 1000;
        let told = self.0.told.load(Ordering::Relaxed);
        let tolerated = i64::try_from(TOLERATED.as_secs()).unwrap_or(0);
        if (seconds - told).abs() <= tolerated {
            return None;
        }
        self.0.told.store(seconds, Ordering::Relaxed);
        Some(if seconds < 0 {
            let behind = seconds.unsigned_abs();
            format!("the wall clock was set: it is {behind} s behind quorate's; {AHEAD}")
        } else {
            format!(
                "the wall clock was set: it is {seconds} s ahead of quorate's, which goes on as it \
                 was; if the wall clock is right now, restart quorate when nothing is under way"
            )
        })
    }
}

fn wall() -> Time {
    let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Time(i64::try_from(epoch.as_millis()).unwrap_or(0))
}

fn boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Time = Time(1_800_000_000_000);

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_was_set_back_before_the_start_is_at_the_last_journalled_time() {
        let clock = Clock::at(EPOCH);
        let told = clock.never_before(EPOCH.after(Duration::from_hours(1))).unwrap();
        assert!(told.contains("3600 s behind") && told.contains("restart does not help"), "{told}");
        assert_eq!(clock.now(), EPOCH.after(Duration::from_hours(1)));
        assert_eq!(clock.compare_with(Duration::ZERO, EPOCH), None, "told already");
        assert_eq!(clock.never_before(EPOCH), None);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(clock.now(), EPOCH.after(Duration::from_secs(3603)));
    }

    #[tokio::test(start_paused = true)]
    async fn suspended_time_has_passed_and_a_step_of_the_wall_clock_has_not() {
        let clock = Clock::at(EPOCH);
        tokio::time::advance(Duration::from_secs(10)).await;
        let hour = Duration::from_hours(1);
        let told = clock.compare_with(hour + Duration::from_secs(10), EPOCH.after(hour));
        assert!(told.is_some_and(|told| told.contains("suspended")));
        assert_eq!(clock.now(), EPOCH.after(hour + Duration::from_secs(10)));
        let since_boot = hour + Duration::from_secs(10);
        let day = clock.now().after(Duration::from_hours(24));
        assert!(clock.compare_with(since_boot, day).is_some_and(|told| told.contains("was set")));
        assert_eq!(clock.compare_with(since_boot, day), None, "told once");
        let back = clock.compare_with(since_boot, EPOCH).unwrap();
        assert!(back.contains("3610 s behind") && back.contains("restart does not help"), "{back}");
        assert_eq!(clock.now(), EPOCH.after(since_boot));
    }
}
