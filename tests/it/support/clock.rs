//! A clock that moves when told to.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rethread::model::{Clock, Timestamp};

/// Where it starts: 2026-01-01T00:00:00Z.
const START_MILLIS: i64 = 1_767_225_600_000;

/// A clock that moves when told to.
#[derive(Debug, Default)]
pub(crate) struct ManualClock {
    passed: AtomicI64,
}

impl ManualClock {
    /// Lets time pass.
    pub(crate) fn advance(&self, by: Duration) {
        self.passed.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(START_MILLIS + self.passed.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.passed.load(Ordering::SeqCst)).unwrap())
    }
}
