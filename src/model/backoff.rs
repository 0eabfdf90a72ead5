//! Delays between repeats, each twice as long as the one before, up to a bound.

use std::time::Duration;

use super::Entropy;

/// Exponential backoff. A copy of a constant one starts from the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    /// Backoff from the first delay to the longest.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { next: first, longest }
    }

    /// The delay to wait now; the next one is twice as long.
    pub fn advance(&mut self) -> Duration {
        let now = self.next;
        self.next = self.after(1);
        now
    }

    /// From 50 % to 150 % of that delay, so that callers that failed together do not return together.
    pub fn jittered(&mut self, entropy: &dyn Entropy) -> Duration {
        self.advance().mul_f64(0.5 + entropy.unit())
    }

    /// The delay that follows the next one after this many others, for callers that count.
    pub fn after(self, others: u32) -> Duration {
        self.next.saturating_mul(2_u32.saturating_pow(others)).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(70));

    #[test]
    fn delays_double_up_to_the_longest() {
        let mut backoff = BACKOFF;
        let delays: Vec<_> = (0..4).map(|_| backoff.advance().as_millis()).collect();
        assert_eq!(delays, [20, 40, 70, 70]);
        let counted: Vec<_> = [0, 1, 2, u32::MAX].map(|n| BACKOFF.after(n).as_millis()).into();
        assert_eq!(counted, [20, 40, 70, 70]);
    }

    #[test]
    fn the_longest_duration_is_not_exceeded() {
        let mut backoff = Backoff::new(Duration::MAX, Duration::MAX);
        assert_eq!((backoff.advance(), backoff.advance()), (Duration::MAX, Duration::MAX));
    }
}
