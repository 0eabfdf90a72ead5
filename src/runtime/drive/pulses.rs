//! Signs of life of the attempts under way here that are ended when they fall silent.
//!
//! Only those with a `heartbeatTimeout` are kept: of the others nobody asks, and they shall cost
//! nothing. Written by `attempts`, read by `explain`; nothing is decided from it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::executor::Pulse;
use crate::machine::AttemptId;
use crate::model::{ThreadId, lock};

/// An attempt of a thread.
pub(in crate::runtime) type AttemptKey = (ThreadId, AttemptId);

/// The pulses of attempts.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Pulses {
    watched: Mutex<HashMap<AttemptKey, Pulse>>,
    stale: AtomicUsize,
}

impl Pulses {
    fn watched(&self) -> MutexGuard<'_, HashMap<AttemptKey, Pulse>> {
        // A panic while it was held cannot leave a map of pulses half changed.
        lock(&self.watched)
    }

    /// Keeps an attempt's pulse until what is returned is dropped.
    pub(in crate::runtime) fn watch(self: &Arc<Self>, attempt: AttemptKey, pulse: Pulse) -> Watch {
        self.watched().insert(attempt.clone(), pulse);
        Watch { pulses: Arc::clone(self), attempt }
    }

    /// Counts an attempt that was found to be silent until what is returned is dropped.
    pub(in crate::runtime) fn count_stale(self: &Arc<Self>) -> Stale {
        self.stale.fetch_add(1, Ordering::Relaxed);
        Stale { pulses: Arc::clone(self) }
    }

    /// How many attempts under way here were found to be silent.
    pub(in crate::runtime) fn stale(&self) -> usize {
        self.stale.load(Ordering::Relaxed)
    }

    /// How long ago an attempt has shown its last sign of life, if it is kept.
    pub(in crate::runtime) fn silence(&self, attempt: &AttemptKey) -> Option<Duration> {
        self.watched().get(attempt).map(Pulse::silence)
    }
}

/// An attempt is watched until this is dropped.
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

/// An attempt counts as silent until this is dropped.
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
