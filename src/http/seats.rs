//! Seats: what every open connection is doing, and which of them must go.
//!
//! Reads no bytes and knows no HTTP. The one thing to know: only a connection without a request
//! under way can be cut for another one; a request that was taken is answered.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// From the first byte of a request, or from the connect, to the end of its header.
pub(super) const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// How long a connection without a request is kept: longer than the five minutes after which
/// Alertmanager's client drops one, so that it is not closed under a delivery.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(330);

/// How long a client may take none of the bytes that are ready for it.
pub(super) const TAKE_WITHIN: Duration = Duration::from_secs(15);

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its last request is answered.
    Idle,
    /// It has connected, or a request began to come.
    Head,
    /// A request is under way: its body, its work, its answer.
    Busy,
}

#[derive(Debug)]
struct Doing {
    phase: Phase,
    since: Instant,
    /// Since when bytes wait that the client does not take.
    stuck: Option<Instant>,
    gone: bool,
}

/// One connection's place.
pub(super) struct Seat {
    doing: Mutex<Doing>,
    cut: CancellationToken,
}

impl Seat {
    pub(super) fn taken(now: Instant) -> Arc<Self> {
        let doing = Doing { phase: Phase::Head, since: now, stuck: None, gone: false };
        Arc::new(Self { doing: Mutex::new(doing), cut: CancellationToken::new() })
    }

    fn doing(&self) -> MutexGuard<'_, Doing> {
        self.doing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes came: of an idle connection they begin a request.
    pub(super) fn heard(&self) {
        let mut doing = self.doing();
        if doing.phase == Phase::Idle {
            (doing.phase, doing.since) = (Phase::Head, Instant::now());
        }
    }

    /// Whether the client took bytes, or does not at the moment.
    pub(super) fn wrote(&self, taken: bool) {
        let mut doing = self.doing();
        if taken {
            doing.stuck = None;
        } else {
            doing.stuck.get_or_insert_with(Instant::now);
        }
    }

    /// A request's header is complete; its work lasts until the guard is dropped.
    pub(super) fn work(self: &Arc<Self>) -> Working {
        let mut doing = self.doing();
        (doing.phase, doing.since) = (Phase::Busy, Instant::now());
        Working(Arc::clone(self))
    }

    /// Ends the connection.
    pub(super) fn cut(&self) {
        self.doing().gone = true;
        self.cut.cancel();
    }

    /// Resolves when the connection is to end.
    pub(super) async fn is_cut(&self) {
        self.cut.cancelled().await;
    }

    fn is_gone(&self) -> bool {
        self.doing().gone
    }

    /// Since when there is no request under way.
    fn resting(&self) -> Option<Instant> {
        let doing = self.doing();
        (!doing.gone && doing.phase != Phase::Busy).then_some(doing.since)
    }

    /// Why it must go now, if it must.
    fn overdue(&self, now: Instant) -> Option<&'static str> {
        let doing = self.doing();
        let late = |since: Instant, most: Duration| now.duration_since(since) > most;
        if doing.stuck.is_some_and(|since| late(since, TAKE_WITHIN)) {
            return Some("it does not take its answer");
        }
        match doing.phase {
            Phase::Idle if late(doing.since, IDLE_MAX) => Some("it was idle for too long"),
            Phase::Head if late(doing.since, HEAD_WITHIN) => Some("its header does not end"),
            Phase::Idle | Phase::Head | Phase::Busy => None,
        }
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.doing(), f)
    }
}

/// A request under way.
pub(super) struct Working(Arc<Seat>);

impl Drop for Working {
    fn drop(&mut self) {
        let mut doing = self.0.doing();
        (doing.phase, doing.since) = (Phase::Idle, Instant::now());
    }
}

/// A connection's hold on its seat: however it ends, the seat is free.
pub(super) struct Sitting(pub(super) Arc<Seat>);

impl Drop for Sitting {
    fn drop(&mut self) {
        self.0.doing().gone = true;
    }
}

/// All seats that are taken.
#[derive(Debug, Default)]
pub(super) struct Seats {
    all: Vec<Arc<Seat>>,
}

impl Seats {
    /// Takes a seat, of at most `most`; where there is none left, that of the connection that has
    /// been without a request for longest. `None`: all of them work.
    pub(super) fn take(&mut self, most: usize) -> Option<Arc<Seat>> {
        if self.all.len() >= most {
            self.all.retain(|seat| !seat.is_gone());
        }
        if self.all.len() >= most {
            let resting = self.all.iter().enumerate();
            let resting = resting.filter_map(|(at, seat)| Some((seat.resting()?, at)));
            let (_, longest) = resting.min()?;
            self.all.swap_remove(longest).cut();
            tracing::debug!(connections = most, "the longest idle connection gave its place");
        }
        let seat = Seat::taken(Instant::now());
        self.all.push(Arc::clone(&seat));
        Some(seat)
    }

    /// Cuts what is overdue.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.all.retain(|seat| !seat.is_gone());
        for seat in &self.all {
            if let Some(why) = seat.overdue(now) {
                tracing::debug!("a connection was cut: {why}");
                seat.cut();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pass(span: Duration) {
        tokio::time::advance(span).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_gives_its_place_and_who_works_never_does() {
        let mut seats = Seats::default();
        let mut taken = Vec::new();
        for _ in 0..3 {
            taken.push(seats.take(3).unwrap());
            pass(Duration::from_secs(1)).await;
        }
        let first = taken[0].work();
        let fourth = seats.take(3).unwrap();
        let gone: Vec<bool> = taken.iter().map(|seat| seat.is_gone()).collect();
        assert_eq!(gone, [false, true, false]);
        drop(first); // it was answered just now: the third has waited for longer
        let fifth = seats.take(3).unwrap();
        assert!(taken[2].is_gone() && !taken[0].is_gone());
        let _working = [taken[0].work(), fourth.work(), fifth.work()];
        assert!(seats.take(3).is_none(), "a request that was taken is answered");
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_and_an_answer_have_their_time_and_work_has_none_here() {
        let mut seats = Seats::default();
        let (head, idle, stuck, busy) = (
            seats.take(9).unwrap(),
            seats.take(9).unwrap(),
            seats.take(9).unwrap(),
            seats.take(9).unwrap(),
        );
        drop(idle.work());
        let _busy = busy.work();
        drop(stuck.work());
        stuck.wrote(false);
        pass(HEAD_WITHIN + Duration::from_millis(1)).await;
        stuck.wrote(false);
        seats.sweep(Instant::now());
        assert!(head.is_gone() && !idle.is_gone() && !stuck.is_gone());
        pass(TAKE_WITHIN.saturating_sub(HEAD_WITHIN)).await;
        seats.sweep(Instant::now());
        assert!(stuck.is_gone(), "a first byte that is not taken counts, not the last try");
        pass(IDLE_MAX).await;
        seats.sweep(Instant::now());
        assert!(idle.is_gone() && !busy.is_gone());
    }

    #[tokio::test(start_paused = true)]
    async fn a_seat_is_free_once_its_connection_has_ended() {
        let mut seats = Seats::default();
        let first = seats.take(1).unwrap();
        let working = first.work();
        assert!(seats.take(1).is_none());
        drop(Sitting(first));
        assert!(seats.take(1).is_some());
        drop(working);
    }
}
