//! Durations as whole milliseconds, the unit of events, rows and answers.

use std::time::Duration;

/// The whole milliseconds of a duration.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The same for arithmetic with moments, and for columns of databases, which are signed.
pub fn signed_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_that_is_too_long_counts_as_the_longest() {
        assert_eq!(millis(Duration::from_micros(1_999)), 1);
        assert_eq!(millis(Duration::MAX), u64::MAX);
        assert_eq!(signed_millis(Duration::from_secs(2)), 2_000);
        assert_eq!(signed_millis(Duration::MAX), i64::MAX);
    }
}
