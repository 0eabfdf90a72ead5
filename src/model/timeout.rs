//! The bounds of work on this server: how much longer than written they are, and those of attempts
//! for which nobody has written any.

use std::time::Duration;

use super::named::named;

/// The factor of every bound of work: a slow machine, or a debugger, gets more time without
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

named!(
    /// The action on an attempt that has shown no sign of life for `RETHREAD_STALE_AFTER`.
    #[derive(Default)]
    StaleAction {
        /// It is reported, and goes on.
        #[default]
        Report = "report",
        /// It is reported and cancelled; the step's retry policy decides what follows.
        Retry = "retry",
    }
);

/// The bounds of work on this server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timeouts {
    /// The factor of every bound (`RETHREAD_TIMEOUT_MULTIPLIER`).
    pub multiplier: TimeoutMultiplier,
    /// The bound of an attempt whose step has no `timeout` (`RETHREAD_STEP_TIMEOUT`).
    pub attempt: Option<Duration>,
    /// When an attempt whose step has no `warnAfter` is worth a warning
    /// (`RETHREAD_STEP_WARN_AFTER`).
    pub warn_after: Option<Duration>,
}

impl Timeouts {
    /// Bounds as they are written, and no others.
    pub const AS_WRITTEN: Self =
        Self { multiplier: TimeoutMultiplier::ONE, attempt: None, warn_after: None };

    /// A written bound on this server.
    pub fn of(self, bound: Duration) -> Duration {
        self.multiplier.of(bound)
    }

    /// The bound of an attempt, given the `timeout` of its step.
    pub fn attempt(self, written: Option<Duration>) -> Option<Duration> {
        written.or(self.attempt).map(|bound| self.of(bound))
    }

    /// When an attempt is worth a warning, given the `warnAfter` and the `timeout` of its step;
    /// `None` if it ends before that.
    pub fn warning(self, written: Option<Duration>, timeout: Option<Duration>) -> Option<Duration> {
        let warning = written.or(self.warn_after).map(|bound| self.of(bound))?;
        self.attempt(timeout).is_none_or(|end| warning < end).then_some(warning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_without_a_bound_has_that_of_the_server() {
        let (minute, hour) = (Duration::from_mins(1), Duration::from_hours(1));
        let (half, third) = (hour / 2, hour / 3);
        let server =
            Timeouts { attempt: Some(half), warn_after: Some(third), ..Timeouts::AS_WRITTEN };
        assert_eq!(server.attempt(None), Some(half));
        assert_eq!(server.attempt(Some(minute)), Some(minute));
        assert_eq!(server.attempt(Some(hour)), Some(hour));
        assert_eq!(server.warning(None, None), Some(third));
        assert_eq!(server.warning(None, Some(minute)), None, "it has ended by then");
        assert_eq!(server.warning(Some(minute), None), Some(minute));
        assert_eq!(Timeouts::AS_WRITTEN.attempt(None), None);
        let double = TimeoutMultiplier::new(2.0).unwrap();
        assert_eq!(Timeouts { multiplier: double, ..server }.attempt(None), Some(hour));
    }

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
