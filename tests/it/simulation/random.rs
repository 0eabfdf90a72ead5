//! The source of a simulation's random choices: one seed, many independent streams.

use std::sync::Mutex;

use rethread::model::{Entropy, Timestamp};
use uuid::Uuid;

/// `SplitMix64`: small, fast, and good enough to choose faults.
#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

impl Rng {
    /// Makes a stream of its own for `purpose`: more draws in one do not shift another.
    pub(super) fn new(seed: u64, purpose: u64) -> Self {
        let mut rng = Self(seed ^ purpose.wrapping_mul(0xA076_1D64_78BD_642F));
        rng.next();
        rng
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Draws a number from `low` to `high`, both included.
    pub(super) fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// Returns true once in `one_in` draws; never for 0.
    pub(super) fn chance(&mut self, one_in: u64) -> bool {
        one_in > 0 && self.next().is_multiple_of(one_in)
    }

    pub(super) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        let last = u64::try_from(items.len()).unwrap() - 1;
        &items[usize::try_from(self.range(0, last)).unwrap()]
    }

    fn unit(&mut self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).unwrap()) / (f64::from(u32::MAX) + 1.0)
    }
}

/// The runtime's randomness, from the seed.
#[derive(Debug)]
pub(super) struct SeededEntropy(Mutex<Rng>);

impl SeededEntropy {
    pub(super) fn new(rng: Rng) -> Self {
        Self(Mutex::new(rng))
    }
}

impl Entropy for SeededEntropy {
    fn uuid(&self, now: Timestamp) -> Uuid {
        let mut rng = self.0.lock().unwrap();
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&rng.next().to_be_bytes());
        bytes[8..].copy_from_slice(&rng.next().to_be_bytes()[..2]);
        uuid::Builder::from_unix_timestamp_millis(now.millis().try_into().unwrap(), &bytes)
            .into_uuid()
    }

    fn unit(&self) -> f64 {
        self.0.lock().unwrap().unit()
    }
}
