//! Numbers that look random and come again with the same seed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A small generator.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The same seed gives the same numbers; it is shown where the test fails.
    pub(crate) fn of(seed: u64) -> Self {
        eprintln!("seed {seed}");
        Self(seed)
    }

    /// A seed that nobody chose.
    pub(crate) fn fresh() -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        u64::from(now.subsec_nanos()) ^ now.as_secs()
    }

    /// Below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    /// A span shorter than `most`.
    pub(crate) fn span(&mut self, most: Duration) -> Duration {
        Duration::from_millis(self.below(most.as_millis().try_into().unwrap()))
    }
}
