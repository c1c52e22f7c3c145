//! The log of refusals, throttled: whoever can reach the port can be refused as often as it likes.
//!
//! The metrics count every one; the log shows that there are some, and why.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::error::Refusal;

/// One line of each kind in this time: enough to see that it goes on, and some thousand lines a day
/// at most.
const LOGGED_EVERY: Duration = Duration::from_secs(10);

/// What was refused, by kind and status.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<BTreeMap<(&'static str, u16), Kind>>);

#[derive(Debug)]
struct Kind {
    logged: Instant,
    suppressed: u64,
}

impl Refusals {
    /// Logs a refusal, or counts it for the next one that is logged.
    pub(super) fn log(&self, what: &'static str, refusal: &Refusal) {
        let status = refusal.status().0.as_u16();
        if let Some(suppressed) = self.pass((what, status), Instant::now()) {
            let message = refusal.message();
            tracing::warn!(http.status = status, suppressed, "{what} refused: {message}");
        }
    }

    /// How many were suppressed since the last one that was logged; `None`: this one is, too.
    fn pass(&self, key: (&'static str, u16), now: Instant) -> Option<u64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(kind) = kinds.get_mut(&key) else {
            kinds.insert(key, Kind { logged: now, suppressed: 0 });
            return Some(0);
        };
        if now.duration_since(kind.logged) < LOGGED_EVERY {
            kind.suppressed += 1;
            return None;
        }
        kind.logged = now;
        Some(std::mem::take(&mut kind.suppressed))
    }

    /// Tells at the end what was suppressed and not told yet.
    pub(super) fn tell_rest(&self) {
        let kinds = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for ((what, status), kind) in kinds.into_iter().filter(|(_, kind)| kind.suppressed > 0) {
            let suppressed = kind.suppressed;
            tracing::warn!(http.status = status, suppressed, "{what} refused: more of the same");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_kind_is_logged_and_the_others_are_counted() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        let key = ("webhook", 401);
        assert_eq!(refusals.pass(key, now), Some(0));
        for _ in 0..1000 {
            assert_eq!(refusals.pass(key, now), None);
        }
        assert_eq!(refusals.pass(("webhook", 422), now), Some(0), "of its own kind the first");
        assert_eq!(refusals.pass(key, now + LOGGED_EVERY), Some(1000));
        assert_eq!(refusals.pass(key, now + LOGGED_EVERY * 2), Some(0));
    }
}
