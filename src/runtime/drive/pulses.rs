//! Heartbeats of the attempts running here that are ended if they fall silent.
//!
//! Only attempts with a `heartbeatTimeout` are kept; the others cost nothing, as nothing asks for
//! them. `attempts` writes; `explain` and `health` read; no decision depends on it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::executor::Pulse;
use crate::machine::AttemptId;
use crate::model::{ThreadId, lock};

/// The key of an attempt: its thread and its id.
pub(in crate::runtime) type AttemptKey = (ThreadId, AttemptId);

/// The pulses of the watched attempts, and the number of stale attempts.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Pulses {
    watched: Mutex<HashMap<AttemptKey, Pulse>>,
    stale: AtomicUsize,
}

impl Pulses {
    fn watched(&self) -> MutexGuard<'_, HashMap<AttemptKey, Pulse>> {
        // A panic under the lock cannot leave the map half changed.
        lock(&self.watched)
    }

    /// Keeps an attempt's pulse until the returned guard is dropped.
    pub(in crate::runtime) fn watch(self: &Arc<Self>, attempt: AttemptKey, pulse: Pulse) -> Watch {
        self.watched().insert(attempt.clone(), pulse);
        Watch { pulses: Arc::clone(self), attempt }
    }

    /// Counts an attempt as stale until the returned guard is dropped.
    pub(in crate::runtime) fn count_stale(self: &Arc<Self>) -> Stale {
        self.stale.fetch_add(1, Ordering::Relaxed);
        Stale { pulses: Arc::clone(self) }
    }

    /// Returns the number of attempts under way here that were found to be silent.
    pub(in crate::runtime) fn stale(&self) -> usize {
        self.stale.load(Ordering::Relaxed)
    }

    /// Returns the time since an attempt's last sign of life, if the attempt is kept.
    pub(in crate::runtime) fn silence(&self, attempt: &AttemptKey) -> Option<Duration> {
        self.watched().get(attempt).map(Pulse::silence)
    }
}

/// Keeps an attempt watched until this is dropped.
#[derive(Debug)]
pub(in crate::runtime) struct Watch {
    pulses: Arc<Pulses>,
    attempt: AttemptKey,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.pulses.watched().remove(&self.attempt);
    }
}

/// Counts an attempt as stale until this is dropped.
#[derive(Debug)]
pub(in crate::runtime) struct Stale {
    pulses: Arc<Pulses>,
}

impl Drop for Stale {
    fn drop(&mut self) {
        self.pulses.stale.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::Work;

    #[tokio::test(start_paused = true)]
    async fn silence_is_told_of_attempts_that_are_under_way() {
        let (pulses, pulse) = (Arc::<Pulses>::default(), Pulse::default());
        let attempt = AttemptId { step: 0.into(), work: Work::Own, number: 1 };
        let attempt = (ThreadId::parse("t").unwrap(), attempt);
        let watch = pulses.watch(attempt.clone(), pulse.clone());
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(pulses.silence(&attempt).map(|time| time.as_secs()), Some(9));
        pulse.beat();
        assert_eq!(pulses.silence(&attempt).map(|time| time.as_secs()), Some(0));
        drop(watch);
        assert_eq!(pulses.silence(&attempt), None);
    }
}
