//! Retries of store calls: how long to wait in between, and what is counted.
//!
//! Exponential backoff with jitter. Used by the journal's writer, by heartbeats, by loads of threads and by
//! reads that a client waits for. Its users decide what may be repeated.

use std::time::Duration;

use crate::model::{Backoff, Entropy};
use crate::observe::Metrics;
use crate::runtime::settings::StoreRetry;

/// One call of the store and its repeats. A repeated call that is dropped before it
/// [succeeded](Self::succeeded) counts as given up, whatever the reason.
#[derive(Debug)]
pub(in crate::runtime) struct Retry<'a> {
    metrics: &'a Metrics,
    entropy: &'a dyn Entropy,
    backoff: Backoff,
    repeated: bool,
}

impl<'a> Retry<'a> {
    /// Creates the state of a call that was not repeated yet.
    pub(in crate::runtime) fn new(
        metrics: &'a Metrics,
        entropy: &'a dyn Entropy,
        set: StoreRetry,
    ) -> Self {
        let backoff = Backoff::new(set.initial, set.max);
        Self { metrics, entropy, backoff, repeated: false }
    }

    /// Counts a repeat after a failure and returns the time to wait before it: 50 % to 150 % of a
    /// delay that doubles, so that callers who failed together do not come back together.
    pub(in crate::runtime) fn again(&mut self) -> Duration {
        self.count();
        self.backoff.jittered(self.entropy)
    }

    /// Counts a repeat of a call that is made at intervals of its own.
    pub(in crate::runtime) fn count(&mut self) {
        self.repeated = true;
        self.metrics.storage_retries.inc();
    }

    /// Counts the call as succeeded.
    pub(in crate::runtime) fn succeeded(mut self) {
        if std::mem::take(&mut self.repeated) {
            self.metrics.storage_recovered.inc();
        }
    }
}

impl Drop for Retry<'_> {
    fn drop(&mut self) {
        if self.repeated {
            self.metrics.storage_abandoned.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use crate::observe::StorageRetries;

    #[derive(Debug)]
    struct Least;

    impl Entropy for Least {
        fn uuid(&self, _now: Timestamp) -> uuid::Uuid {
            uuid::Uuid::nil()
        }

        fn unit(&self) -> f64 {
            0.0
        }
    }

    const SET: StoreRetry =
        StoreRetry { initial: Duration::from_millis(20), max: Duration::from_millis(70) };

    #[test]
    fn delays_double_up_to_the_longest_and_are_jittered() {
        let metrics = Metrics::new();
        let mut retry = Retry::new(&metrics, &Least, SET);
        let delays = [retry.again(), retry.again(), retry.again(), retry.again()];
        assert_eq!(delays, [10, 20, 35, 35].map(Duration::from_millis));
    }

    #[test]
    fn only_repeated_calls_are_counted_and_each_ends_one_way() {
        let metrics = Metrics::new();
        let make = || Retry::new(&metrics, &Least, SET);
        make().succeeded();
        drop(make());
        let mut recovered = make();
        recovered.again();
        recovered.again();
        recovered.succeeded();
        let mut abandoned = make();
        abandoned.again();
        drop(abandoned);
        let counted = StorageRetries { retries: 3, recovered: 1, abandoned: 1 };
        assert_eq!(metrics.storage_retry_stats(), counted);
    }
}
