//! New ids, from the time, a counter and a seed: the same again for the same seed.

use uuid::{Builder, Uuid};

use super::time::Time;

/// Makes ids that ascend, as long as the times do.
#[derive(Clone, Debug)]
pub struct Ids {
    seed: u64,
    count: u64,
}

impl Ids {
    /// A source of ids. Two with the same seed make the same ones.
    pub fn new(seed: u64) -> Self {
        Self { seed, count: 0 }
    }

    /// The next id: a `UUIDv7` of `now` whose counter keeps the order within a millisecond.
    pub fn make(&mut self, now: Time) -> Uuid {
        self.count += 1;
        let counter = u16::try_from(self.count & 0x0fff).unwrap_or(0);
        let random = mix(self.seed.wrapping_add(self.count.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let mut bytes = [0; 10];
        bytes[..2].copy_from_slice(&counter.to_be_bytes());
        bytes[2..].copy_from_slice(&random.to_be_bytes());
        let millis = u64::try_from(now.0).unwrap_or(0);
        Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
    }
}

/// The output function of splitmix64: every seed gives another number.
fn mix(seed: u64) -> u64 {
    let mut z = seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_ascend_within_a_millisecond_and_are_the_same_again_for_the_same_seed() {
        let make = |seed| {
            let mut ids = Ids::new(seed);
            let times = [5, 5, 5, 6, 900].map(|at| Time(1_800_000_000_000 + at));
            times.map(|at| ids.make(at)).to_vec()
        };
        let one = make(7);
        assert!(one.is_sorted(), "{one:?}");
        assert_eq!(one, make(7));
        assert!(one.iter().all(|id| !make(8).contains(id) && id.get_version_num() == 7));
    }
}
