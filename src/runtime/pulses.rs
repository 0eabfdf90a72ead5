//! Signs of life of the attempts under way here that are ended when they fall silent.
//!
//! Only those with a `heartbeatTimeout` are kept: of the others nobody asks, and they shall cost
//! nothing. Written by `attempts`, read by `explain`; nothing is decided from it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::executor::Pulse;
use crate::model::ThreadId;

/// A thread, the position of a step of it, and the number of one of its attempts.
pub(super) type AttemptKey = (ThreadId, usize, u32);

/// The pulses of attempts.
#[derive(Debug, Default)]
pub(super) struct Pulses {
    watched: Mutex<HashMap<AttemptKey, Pulse>>,
}

impl Pulses {
    fn watched(&self) -> MutexGuard<'_, HashMap<AttemptKey, Pulse>> {
        // A panic while it was held cannot leave a map of pulses half changed.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an attempt's pulse until what is returned is dropped.
    pub(super) fn watch(self: &Arc<Self>, attempt: AttemptKey, pulse: Pulse) -> Watch {
        self.watched().insert(attempt.clone(), pulse);
        Watch { pulses: Arc::clone(self), attempt }
    }

    /// How long ago an attempt has shown its last sign of life, if it is kept.
    pub(super) fn silence(&self, attempt: &AttemptKey) -> Option<Duration> {
        self.watched().get(attempt).map(Pulse::silence)
    }
}

/// An attempt is watched until this is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    pulses: Arc<Pulses>,
    attempt: AttemptKey,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.pulses.watched().remove(&self.attempt);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_is_told_of_attempts_that_are_under_way() {
        let (pulses, pulse) = (Arc::<Pulses>::default(), Pulse::default());
        let attempt = (ThreadId::parse("t").unwrap(), 0, 1);
        let watch = pulses.watch(attempt.clone(), pulse.clone());
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(pulses.silence(&attempt).map(|time| time.as_secs()), Some(9));
        pulse.beat();
        assert_eq!(pulses.silence(&attempt).map(|time| time.as_secs()), Some(0));
        drop(watch);
        assert_eq!(pulses.silence(&attempt), None);
    }
}
