//! Estimates how long a workflow takes: the median of its recent completed threads.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::model::{Namespace, ThreadId, lock};
use crate::store::Store;

/// The number of completed threads that the median is taken of.
const SAMPLES: usize = 101;
/// How long an estimate is used before it is made again.
const FRESH_FOR: Duration = Duration::from_secs(10);
/// How long a workflow is taken to have no completed thread: this bounds the queries of many
/// invokes at once, and how long another replica's first completion goes unnoticed.
const NONE_FOR: Duration = Duration::from_secs(1);
/// How long a caller waits for an estimate: it came to start a thread.
const PATIENCE: Duration = Duration::from_millis(250);
/// The number of workflows whose estimates are kept; beyond it all are forgotten and made again.
const CAPACITY: usize = 1_024;

#[derive(Debug, Clone, Copy)]
struct Estimate {
    made_at: Duration,
    median: Option<Duration>,
}

/// The estimates by the key of the workflow's name in its namespace.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Estimates {
    known: Mutex<HashMap<String, Estimate>>,
}

impl Estimate {
    fn is_fresh(&self, now: Duration) -> bool {
        let keep = if self.median.is_some() { FRESH_FOR } else { NONE_FOR };
        now.saturating_sub(self.made_at) < keep
    }
}

impl Estimates {
    /// Drops the estimate of a workflow without completed threads, now that this thread has
    /// completed.
    pub(in crate::runtime) fn completed(&self, thread: &ThreadId, workflow: &str) {
        let namespace = thread.namespace();
        let key = namespace.key(workflow);
        let mut known = self.known();
        if known.get(&*key).is_some_and(|estimate| estimate.median.is_none()) {
            known.remove(&*key);
        }
    }

    /// Forgets all estimates: they are made again.
    pub(in crate::runtime) fn clear(&self) {
        self.known().clear();
    }

    /// Returns the estimate for a workflow at a monotonic time; `None` if none of its threads has
    /// completed, or no estimate is known yet. Never fails a call: if the store fails or takes long,
    /// this is the previous estimate.
    pub(in crate::runtime) async fn of(
        &self,
        (store, now): (&dyn Store, Duration),
        namespace: &Namespace,
        workflow: &str,
    ) -> Option<Duration> {
        let key = namespace.key(workflow);
        let stale = {
            let mut known = self.known();
            match known.get_mut(&*key) {
                Some(estimate) if estimate.is_fresh(now) => return estimate.median,
                // Other callers use the old one while this one makes the new one.
                Some(estimate) => {
                    estimate.made_at = now;
                    estimate.median
                }
                None => {
                    if known.len() >= CAPACITY {
                        known.clear();
                    }
                    known.insert(key.clone().into_owned(), Estimate { made_at: now, median: None });
                    None
                }
            }
        };
        let look = store.durations(namespace, workflow, SAMPLES);
        let answer = tokio::time::timeout(PATIENCE, look).await;
        let Ok(Ok(mut durations)) = answer else { return stale };
        durations.sort_unstable();
        let median =
            durations.get(durations.len() / 2).map(|&millis| Duration::from_millis(millis));
        self.known().insert(key.into_owned(), Estimate { made_at: now, median });
        median
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Estimate>> {
        // A panic while it was held cannot leave a map of estimates half changed.
        lock(&self.known)
    }
}
