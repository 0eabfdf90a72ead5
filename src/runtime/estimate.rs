//! How long a workflow usually takes: the median of its recent completed threads.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::core::Core;

/// Completed threads that the median is taken of.
const SAMPLES: usize = 101;
/// How long an estimate is used before it is made again.
const FRESH_FOR: Duration = Duration::from_secs(10);
/// Workflows whose estimates are kept; beyond it all are forgotten and made again.
const CAPACITY: usize = 1_024;

#[derive(Debug, Clone, Copy)]
struct Estimate {
    made_at: Duration,
    median: Option<Duration>,
}

/// Estimates by workflow name.
#[derive(Debug, Default)]
pub(super) struct Estimates {
    known: Mutex<HashMap<String, Estimate>>,
}

impl Estimates {
    fn known(&self) -> MutexGuard<'_, HashMap<String, Estimate>> {
        // A panic while it was held cannot leave a map of estimates half changed.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The estimate for a workflow; `None` if none of its threads has completed. Never fails a call:
/// without an answer from the store there is no estimate.
pub(super) async fn estimate(core: &Core, workflow: &str) -> Option<Duration> {
    let now = core.parts.clock.monotonic();
    let stale = {
        let mut known = core.estimates.known();
        match known.get_mut(workflow) {
            Some(estimate) if now.saturating_sub(estimate.made_at) < FRESH_FOR => {
                return estimate.median;
            }
            // Others keep the old one while this caller makes the new one.
            Some(estimate) => {
                estimate.made_at = now;
                estimate.median
            }
            None => {
                if known.len() >= CAPACITY {
                    known.clear();
                }
                known.insert(workflow.to_owned(), Estimate { made_at: now, median: None });
                None
            }
        }
    };
    let Ok(mut durations) = core.store().durations(workflow, SAMPLES).await else { return stale };
    durations.sort_unstable();
    let median = durations.get(durations.len() / 2).map(|&millis| Duration::from_millis(millis));
    core.estimates.known().insert(workflow.to_owned(), Estimate { made_at: now, median });
    median
}
