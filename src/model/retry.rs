//! How often and when a failed attempt is tried again.

use std::time::Duration;

use super::{Failure, codes};

/// The retry policy of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; at least 1.
    pub max_attempts: u32,
    /// Delay before the second attempt.
    pub initial_interval: Duration,
    /// The factor of each further delay; at least 1.
    pub backoff_factor: f64,
    /// Longest delay, also of a `Retry-After`.
    pub max_interval: Duration,
    /// Whether each delay is drawn from 50 % to 150 % of the computed one.
    pub jitter: bool,
    /// Codes or categories that are retried; absent: every recoverable failure.
    pub retry_on: Option<Vec<String>>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            initial_interval: Duration::from_secs(1),
            backoff_factor: 2.0,
            max_interval: Duration::from_secs(30),
            jitter: true,
            retry_on: None,
        }
    }
}

impl RetryPolicy {
    /// How long to wait for the next attempt after so many failures, the last of them with this error
    /// and `Retry-After`; `None` if there is none.
    ///
    /// `unit` is a random number in `[0, 1)`.
    pub fn next_attempt(
        &self,
        (error, retry_after): (&Failure, Option<Duration>),
        failures: u32,
        unit: f64,
    ) -> Option<Duration> {
        if !self.covers(error) || failures >= self.max_attempts {
            return None;
        }
        Some(match retry_after {
            // Until then no attempt is let through: a shorter wait would only waste one.
            Some(until_it_may_pass) if error.code == codes::CIRCUIT_OPEN => until_it_may_pass,
            asked => self.delay(failures, asked, unit),
        })
    }

    /// Whether this policy retries such a failure at all.
    fn covers(&self, failure: &Failure) -> bool {
        let listed = |list: &Vec<String>| {
            list.iter().any(|name| *name == failure.code || name == failure.category.as_str())
        };
        failure.recoverable && self.retry_on.as_ref().is_none_or(listed)
    }

    /// The delay after the `failures`-th failure (1 is the first).
    ///
    /// `unit` is a random number in `[0, 1)`; `retry_after` is what the other side asked for.
    fn delay(&self, failures: u32, retry_after: Option<Duration>, unit: f64) -> Duration {
        if let Some(asked) = retry_after {
            return asked.min(self.max_interval);
        }
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let grown = self.initial_interval.as_secs_f64() * self.backoff_factor.powi(exponent);
        let computed = grown.min(self.max_interval.as_secs_f64());
        let drawn = if self.jitter { computed * (0.5 + unit) } else { computed };
        Duration::from_secs_f64(drawn.clamp(0.0, self.max_interval.as_secs_f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Category;

    #[test]
    fn delays_double_up_to_the_longest() {
        let policy = RetryPolicy { jitter: false, ..RetryPolicy::default() };
        let seconds: Vec<u64> = (1..=7).map(|n| policy.delay(n, None, 0.0).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(policy.delay(u32::MAX, None, 0.0).as_secs(), 30);
    }

    #[test]
    fn jitter_stays_between_half_and_one_and_a_half_and_below_the_longest() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.delay(1, None, 0.0).as_millis(), 500);
        assert_eq!(policy.delay(1, None, 0.5).as_millis(), 1000);
        assert!(policy.delay(1, None, 0.999).as_millis() < 1500);
        assert_eq!(policy.delay(9, None, 0.999).as_secs(), 30);
    }

    #[test]
    fn retry_after_is_waited_for_up_to_the_longest() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.delay(1, Some(Duration::from_secs(7)), 0.3).as_secs(), 7);
        assert_eq!(policy.delay(1, Some(Duration::from_secs(700)), 0.3).as_secs(), 30);
    }

    #[test]
    fn retry_on_lists_codes_or_categories_and_never_covers_the_unrecoverable() {
        let listed = |names: &[&str]| RetryPolicy {
            retry_on: Some(names.iter().map(|&name| name.to_owned()).collect()),
            ..RetryPolicy::default()
        };
        let broken = Failure::recoverable("connection_failed", Category::External, "broken pipe");
        assert!(RetryPolicy::default().covers(&broken));
        assert!(listed(&["connection_failed"]).covers(&broken));
        assert!(listed(&["external"]).covers(&broken));
        assert!(!listed(&["timeout"]).covers(&broken));
        let refused = Failure::recoverable("exit_nonzero", Category::Step, "Validation FAILED: x");
        assert!(!listed(&["exit_nonzero"]).covers(&refused));
    }
}
