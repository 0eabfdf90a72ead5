//! Rates of many callers, each by itself: a bucket for each caller (GCRA, by `governor`), and a
//! bound on the number of buckets. Nothing here waits, or knows of requests.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{Quota, RateLimiter};

use crate::model::{Clock, lock};

/// The most buckets: some hundred bytes each, a megabyte in all. All callers without a bucket of
/// their own share one.
pub(super) const MOST_BUCKETS: usize = 10_000;

/// The reason why nothing was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Short {
    /// There will be enough after this time, if nobody else takes it.
    For(Duration),
    /// The amount is more than a full bucket holds: there will never be enough.
    Always,
}

/// An amount that was taken, and can be returned before the next one is taken.
#[derive(Debug)]
pub(super) struct Taken<K> {
    from: K,
    before: Option<Nanos>,
}

/// A bucket for each `K`.
#[derive(Debug)]
pub(super) struct Buckets<K: Hash + Eq + Clone + Debug> {
    limiter: RateLimiter<K, Levels<K>, Time, NoOpMiddleware<Duration>>,
    levels: Levels<K>,
    rest: K,
}

impl<K: Hash + Eq + Clone + Debug> Buckets<K> {
    /// Makes full buckets. All callers without a bucket of their own count as `rest`.
    pub(super) fn new(quota: Quota, clock: Arc<dyn Clock>, rest: K) -> Self {
        let levels = Levels(Arc::default());
        let limiter = RateLimiter::new(quota, levels.clone(), Time(clock));
        Self { limiter, levels, rest }
    }

    /// Takes `amount` from the bucket of `who`, or nothing.
    pub(super) fn take(&self, who: &K, amount: NonZeroU32) -> Result<Taken<K>, Short> {
        let from = self.seat(who);
        let before = self.levels.map().get(&from).copied();
        match self.limiter.check_key_n(&from, amount) {
            Ok(Ok(())) => Ok(Taken { from, before }),
            Ok(Err(until)) => Err(Short::For(until.wait_time_from(self.limiter.clock().now()))),
            Err(_) => Err(Short::Always),
        }
    }

    /// Undoes the last taking.
    pub(super) fn give_back(&self, taken: Taken<K>) {
        let mut levels = self.levels.map();
        match taken.before {
            Some(level) => levels.insert(taken.from, level),
            None => levels.remove(&taken.from),
        };
    }

    /// Returns the key of the bucket to take from.
    fn seat(&self, who: &K) -> K {
        let is_there =
            |levels: &HashMap<K, Nanos>| levels.contains_key(who) || levels.len() < MOST_BUCKETS;
        if !is_there(&self.levels.map()) {
            // Full buckets need not be remembered.
            self.limiter.retain_recent();
            if !is_there(&self.levels.map()) {
                return self.rest.clone();
            }
        }
        who.clone()
    }

    /// Returns the number of buckets.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.limiter.len()
    }
}

/// A clock with the interface that `governor` needs.
#[derive(Debug)]
struct Time(Arc<dyn Clock>);

impl governor::clock::Clock for Time {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.monotonic()
    }
}

/// The level of each bucket, as the time at which it will be full again.
#[derive(Debug, Clone)]
struct Levels<K>(Arc<Mutex<HashMap<K, Nanos>>>);

impl<K> Levels<K> {
    fn map(&self) -> MutexGuard<'_, HashMap<K, Nanos>> {
        // Every change is complete before anything in it could panic.
        lock(&self.0)
    }
}

impl<K: Hash + Eq + Clone> StateStore for Levels<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut levels = self.map();
        let (result, level) = decide(levels.get(key).copied())?;
        levels.insert(key.clone(), level);
        Ok(result)
    }
}

impl<K: Hash + Eq + Clone> ShrinkableKeyedStateStore<K> for Levels<K> {
    fn retain_recent(&self, drop_below: Nanos) {
        self.map().retain(|_, level| *level > drop_below);
    }

    fn len(&self) -> usize {
        self.map().len()
    }

    fn is_empty(&self) -> bool {
        self.map().is_empty()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::model::Timestamp;

    /// A clock that a test sets, in milliseconds.
    #[derive(Debug, Default)]
    pub(in crate::api) struct HandClock(AtomicU64);

    impl HandClock {
        pub(in crate::api) fn advance(&self, by: Duration) {
            self.0.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::Relaxed);
        }
    }

    impl Clock for HandClock {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(0).plus(self.monotonic())
        }

        fn monotonic(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::Relaxed))
        }
    }

    fn number(value: u32) -> NonZeroU32 {
        NonZeroU32::new(value).unwrap()
    }

    fn buckets() -> (Buckets<u32>, Arc<HandClock>) {
        let clock = Arc::new(HandClock::default());
        let quota = Quota::per_second(number(2)).allow_burst(number(4));
        (Buckets::new(quota, Arc::<HandClock>::clone(&clock), 0), clock)
    }

    #[test]
    fn who_is_short_has_enough_after_the_time_that_is_told_and_not_before() {
        let (buckets, clock) = buckets();
        for _ in 0..4 {
            buckets.take(&1, number(1)).unwrap();
        }
        assert_eq!(
            buckets.take(&1, number(3)).unwrap_err(),
            Short::For(Duration::from_millis(1500))
        );
        buckets.take(&2, number(4)).unwrap();
        clock.advance(Duration::from_millis(1499));
        assert_eq!(buckets.take(&1, number(3)).unwrap_err(), Short::For(Duration::from_millis(1)));
        clock.advance(Duration::from_millis(1));
        buckets.take(&1, number(3)).unwrap();
    }

    #[test]
    fn more_than_a_bucket_holds_is_never_there() {
        let (buckets, _) = buckets();
        assert_eq!(buckets.take(&1, number(5)).unwrap_err(), Short::Always);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let (buckets, _) = buckets();
        for _ in 0..10 {
            let taken = buckets.take(&1, number(4)).unwrap();
            buckets.give_back(taken);
        }
        let first = buckets.take(&1, number(2)).unwrap();
        let second = buckets.take(&1, number(2)).unwrap();
        assert!(buckets.take(&1, number(1)).is_err());
        buckets.give_back(second);
        buckets.give_back(first);
        buckets.take(&1, number(4)).unwrap();
    }

    #[test]
    fn there_are_so_many_buckets_at_most_and_full_ones_make_room() {
        let (buckets, clock) = buckets();
        let most = u32::try_from(MOST_BUCKETS).unwrap();
        for who in 1..=2 * most {
            // Those that share a bucket have emptied it after a while.
            let taken = buckets.take(&who, number(1));
            assert!(taken.is_ok() || who > most, "{who}");
        }
        assert_eq!(buckets.count(), MOST_BUCKETS + 1);
        assert!(buckets.take(&u32::MAX, number(1)).is_err(), "they share one");
        clock.advance(Duration::from_secs(10));
        buckets.take(&u32::MAX, number(4)).unwrap();
        assert_eq!(buckets.count(), 1);
    }
}
