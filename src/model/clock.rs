//! Time and randomness as arguments, so that tests can hold both still.

use std::time::Duration;

use uuid::Uuid;

use super::Timestamp;

/// Where the time comes from.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The time, for what is recorded, shown and waited for.
    fn now(&self) -> Timestamp;
    /// Time since an arbitrary fixed point that never goes backwards, for deadlines and leases.
    fn monotonic(&self) -> Duration;
    /// The same, of a clock that also goes while the machine is suspended.
    fn elapsed(&self) -> Duration {
        self.monotonic()
    }
    /// The time of this machine's wall clock, which may be set: for what strangers say the time of.
    fn wall(&self) -> Timestamp {
        self.now()
    }
}

/// Where ids and random numbers come from.
pub trait Entropy: Send + Sync + std::fmt::Debug {
    /// A time-ordered id (UUIDv7): random ids scatter an index's pages.
    fn uuid(&self, now: Timestamp) -> Uuid;
    /// A number drawn uniformly from `[0, 1)`.
    fn unit(&self) -> f64;
}
