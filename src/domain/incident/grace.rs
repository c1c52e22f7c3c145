//! The grace: a verdict must hold in every sample of a window before anything is done.
//!
//! Made of samples, not of wall time: two observations 61 s apart are not a 60 s outage. It lives
//! in memory only, so a restart of the responder is a gap like any other.

use crate::domain::{base::time::Time, rules::response::Grace};

/// The running streak of samples that hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streak {
    first: Option<Time>,
    last: Option<Time>,
    count: u32,
}

impl Streak {
    /// Takes a sample. `None` (unknown) neither counts nor contradicts, but a gap above `max_gap`
    /// restarts the streak.
    pub fn sample(&mut self, holds: Option<bool>, now: Time, rule: &Grace) {
        if self.last.is_some_and(|last| now.since(last) > rule.max_gap) {
            *self = Self::default();
        }
        match holds {
            None => {}
            Some(false) => *self = Self::default(),
            Some(true) => {
                self.first.get_or_insert(now);
                self.last = Some(now);
                self.count += 1;
            }
        }
    }

    /// Whether it held long enough, often enough, and the last sample is not too old.
    pub fn is_complete(&self, now: Time, rule: &Grace) -> bool {
        let (Some(first), Some(last)) = (self.first, self.last) else { return false };
        now.since(last) <= rule.max_gap
            && last.since(first) >= rule.hold
            && self.count >= rule.samples
    }

    /// When the running streak would have held for the window; `None` without a streak.
    pub fn due(&self, rule: &Grace) -> Option<Time> {
        self.first.map(|first| first.after(rule.hold))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const RULE: Grace =
        Grace { hold: Duration::from_mins(1), samples: 6, max_gap: Duration::from_secs(15) };

    /// Samples as `(second, holds)`; answers at which second it was first complete.
    fn complete_at(samples: &[(i64, Option<bool>)]) -> Option<i64> {
        let mut streak = Streak::default();
        samples.iter().find_map(|(second, holds)| {
            let now = Time(second * 1000);
            streak.sample(*holds, now, &RULE);
            streak.is_complete(now, &RULE).then_some(*second)
        })
    }

    fn every(step: i64, from: i64, to: i64, holds: Option<bool>) -> Vec<(i64, Option<bool>)> {
        (from..=to).step_by(usize::try_from(step).unwrap()).map(|at| (at, holds)).collect()
    }

    /// Rows: B(j).
    #[test]
    fn two_observations_61_s_apart_are_no_outage() {
        assert_eq!(complete_at(&[(0, Some(true)), (61, Some(true))]), None);
        assert_eq!(complete_at(&every(7, 0, 100, Some(true))), Some(63));
    }

    #[test]
    fn a_contradiction_restarts_it_and_unknown_only_makes_a_gap() {
        let mut samples = every(7, 0, 35, Some(true));
        samples.push((42, Some(false)));
        samples.extend(every(7, 49, 200, Some(true)));
        assert_eq!(complete_at(&samples), Some(112));
        let mut samples = every(7, 0, 35, Some(true));
        samples.push((42, None));
        samples.extend(every(7, 49, 200, Some(true)));
        assert_eq!(complete_at(&samples), Some(63));
        let mut samples = every(7, 0, 35, Some(true));
        samples.extend(every(7, 42, 56, None));
        samples.extend(every(7, 63, 200, Some(true)));
        assert_eq!(complete_at(&samples), Some(126));
    }

    #[test]
    fn too_few_samples_do_not_count_whatever_the_time() {
        assert_eq!(complete_at(&every(15, 0, 60, Some(true))), None);
        assert_eq!(complete_at(&every(15, 0, 90, Some(true))), Some(75));
    }
}
