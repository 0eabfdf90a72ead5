//! Signs of life of an attempt: its executor beats, and the code that waits for it notices silence.
//!
//! A beat is cheap enough for every piece of output. Time here is tokio's, like that of every other
//! timer of an attempt, and is never recorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The delay of a timer that means that the whole process stood still. Output that arrived
/// meanwhile then gets as long to be read, perhaps by another task, before it counts as silence.
const STALL: Duration = Duration::from_millis(100);

/// The record of an attempt's signs of life. Clones belong to the same attempt.
#[derive(Debug, Clone)]
pub struct Pulse {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    born: Instant,
    /// Microseconds from `born` to the last sign of life.
    last: AtomicU64,
}

impl Default for Pulse {
    /// Makes a pulse whose first beat is now.
    fn default() -> Self {
        Self { shared: Arc::new(Shared { born: Instant::now(), last: AtomicU64::new(0) }) }
    }
}

impl Pulse {
    /// Records a sign of life.
    pub fn beat(&self) {
        let since = u64::try_from(self.shared.born.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.shared.last.fetch_max(since, Ordering::Relaxed);
    }

    /// Resolves once no sign of life has come for `limit`.
    pub async fn silent(&self, limit: Duration) {
        loop {
            // A limit beyond what the clock can count is never reached.
            let last = self.last();
            let Some(deadline) = last.checked_add(limit) else {
                return std::future::pending().await;
            };
            tokio::time::sleep_until(deadline).await;
            if deadline.elapsed() > STALL {
                tokio::time::sleep(STALL).await;
            }
            if self.last() == last {
                return;
            }
        }
    }

    /// Returns the time since the last sign of life.
    pub fn silence(&self) -> Duration {
        self.last().elapsed()
    }

    /// Returns when the last sign of life came.
    pub(super) fn last(&self) -> Instant {
        self.shared.born + Duration::from_micros(self.shared.last.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn silence_is_counted_from_the_last_beat() {
        let (pulse, start) = (Pulse::default(), Instant::now());
        let beats = async {
            for _ in 0..1_000 {
                tokio::time::sleep(Duration::from_secs(29)).await;
                pulse.beat();
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = beats => {}
            () = pulse.silent(LIMIT) => {}
        }
        assert_eq!(start.elapsed().as_secs(), 29 * 1_000 + 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_beat_seen_only_after_the_deadline_counts_still() {
        let pulse = Pulse::default();
        let mut silent = std::pin::pin!(pulse.silent(LIMIT));
        assert!(futures_util::poll!(&mut silent).is_pending());
        // This is as after a stall of the whole process: the timer is due, and so is the output.
        tokio::time::advance(LIMIT * 2).await;
        pulse.beat();
        assert!(futures_util::poll!(&mut silent).is_pending());
        tokio::time::advance(LIMIT * 2).await;
        assert!(futures_util::poll!(&mut silent).is_pending());
        tokio::time::advance(STALL).await;
        assert!(futures_util::poll!(&mut silent).is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_without_an_end_is_never_reached() {
        let pulse = Pulse::default();
        let silent = tokio::time::timeout(Duration::from_hours(1), pulse.silent(Duration::MAX));
        assert!(silent.await.is_err());
    }
}
