//! How much longer than written the bounds of work are on this server.

use std::time::Duration;

/// What every bound of work is multiplied by: a slow machine, or a debugger, gets more time without
/// a change to any workflow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeoutMultiplier(f64);

impl TimeoutMultiplier {
    /// Bounds as they are written.
    pub const ONE: Self = Self(1.0);
    /// The smallest and the largest: beyond them a bound means nothing any more.
    pub const ALLOWED: (f64, f64) = (0.1, 100.0);

    /// A multiplier within [`Self::ALLOWED`]; `None` for any other number.
    pub fn new(factor: f64) -> Option<Self> {
        let (least, most) = Self::ALLOWED;
        (least..=most).contains(&factor).then_some(Self(factor))
    }

    /// The bound on this server. One that was longer than zero stays so.
    pub fn of(self, bound: Duration) -> Duration {
        if self == Self::ONE {
            return bound;
        }
        let longest = Duration::MAX.as_secs_f64() / 2.0;
        let scaled = Duration::from_secs_f64((bound.as_secs_f64() * self.0).min(longest));
        scaled.max(bound.min(Duration::from_millis(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_multiplied_and_never_reaches_zero_or_overflows() {
        let half = TimeoutMultiplier::new(0.5).unwrap();
        let hundred = TimeoutMultiplier::new(100.0).unwrap();
        assert_eq!(half.of(Duration::from_secs(3)), Duration::from_millis(1_500));
        assert_eq!(half.of(Duration::from_millis(1)), Duration::from_millis(1));
        assert_eq!(half.of(Duration::ZERO), Duration::ZERO);
        assert!(hundred.of(Duration::MAX) > Duration::from_secs(u64::MAX / 4));
        assert_eq!(TimeoutMultiplier::ONE.of(Duration::MAX), Duration::MAX);
    }

    #[test]
    fn what_is_no_sensible_factor_is_refused() {
        for factor in [0.0, -1.0, 0.09, 100.1, f64::NAN, f64::INFINITY] {
            assert_eq!(TimeoutMultiplier::new(factor), None, "{factor}");
        }
    }
}
