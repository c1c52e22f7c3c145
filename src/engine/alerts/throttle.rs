//! Says a thing that may happen ten thousand times a second once in a while.

use std::time::Duration;

use crate::domain::base::time::Time;

/// Between two lines that say the same.
const EVERY: Duration = Duration::from_secs(10);

/// One kind of line.
#[derive(Debug, Default)]
pub(in crate::engine) struct Throttle {
    said_at: Option<Time>,
    hidden: u64,
}

impl Throttle {
    /// Whether to say it now: then, how many times it was not said since the last.
    pub(in crate::engine) fn due(&mut self, now: Time) -> Option<u64> {
        if self.said_at.is_some_and(|at| now.since(at) < EVERY) {
            self.hidden += 1;
            return None;
        }
        self.said_at = Some(now);
        Some(std::mem::take(&mut self.hidden))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_said_at_once_and_then_once_in_a_while_with_a_count() {
        let mut line = Throttle::default();
        assert_eq!(line.due(Time(0)), Some(0));
        assert_eq!((line.due(Time(1)), line.due(Time(9_999))), (None, None));
        assert_eq!(line.due(Time(10_000)), Some(2));
    }
}
