//! When a circuit breaker opens, and for how long.

use std::time::Duration;

/// The limits of a circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BreakerPolicy {
    /// Failures in a row that open it; at least 1.
    pub failure_threshold: u32,
    /// How long it stays open before it lets one call through.
    pub reset_timeout: Duration,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        // The contract promises these values; they are the usual ones of circuit breakers.
        Self { failure_threshold: 5, reset_timeout: Duration::from_mins(1) }
    }
}
