//! Failures in a row of one part that everything else goes on without, told once.
//!
//! A part that fails in an outage is not told apart from it, nor is one that comes back a little later.

use std::time::Duration;

use tokio::time::Instant;

use super::availability::Availability;
use crate::store::StoreError;

/// The time that a part has to fail, with the store well all the while, before that is told: longer
/// than any pause between its tries.
const LONG: Duration = Duration::from_secs(10);

/// The failures of one part.
#[derive(Debug)]
pub(in crate::runtime) struct Streak {
    part: &'static str,
    /// When it first failed with the store well.
    since: Option<Instant>,
    told: bool,
}

impl Streak {
    /// Makes the record of a part that works.
    pub(in crate::runtime) const fn new(part: &'static str) -> Self {
        Self { part, since: None, told: false }
    }

    /// Records a failure, and tells it if the part alone has failed for long.
    pub(in crate::runtime) fn failed(&mut self, store: &Availability, error: &StoreError) {
        tracing::debug!(part = self.part, %error, "a part fails");
        if store.is_out() {
            self.since = None;
        } else if self.since.get_or_insert_with(Instant::now).elapsed() >= LONG && !self.told {
            self.told = true;
            tracing::warn!(part = self.part, %error, "a part has failed for long; the rest goes on");
        }
    }

    /// Records a success.
    pub(in crate::runtime) fn passed(&mut self) {
        self.since = None;
        if std::mem::take(&mut self.told) {
            tracing::info!(part = self.part, "the part works again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_part_is_told_once_it_alone_has_failed_for_long() {
        let (store, mut streak) = (Availability::new(Arc::default()), Streak::new("a test"));
        let error = StoreError::Unavailable("gone".to_owned());
        store.failed("a test", &error);
        streak.failed(&store, &error);
        tokio::time::advance(LONG * 2).await;
        streak.failed(&store, &error);
        assert!(!streak.told, "the outage is told instead");
        store.tried(Instant::now(), None);
        for told in [false, true] {
            streak.failed(&store, &error);
            assert_eq!(streak.told, told);
            tokio::time::advance(LONG).await;
        }
        streak.passed();
        assert!(!streak.told && streak.since.is_none());
    }
}
