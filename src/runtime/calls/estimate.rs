//! Estimates how long a workflow takes: the median of its recent completed threads.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::model::{Namespace, ThreadId, lock};
use crate::runtime::shown::Shown;

/// The number of completed threads that the median is taken of.
const SAMPLES: usize = 101;
/// How long an estimate is used before it is made again.
const FRESH_FOR: Duration = Duration::from_secs(10);
/// How long a workflow is taken to have no completed thread: this bounds the queries of many
/// invokes at once, and how long another replica's first completion goes unnoticed.
const NONE_FOR: Duration = Duration::from_secs(1);
/// How long a caller waits for an estimate: it came to start a thread.
const PATIENCE: Duration = Duration::from_millis(250);
/// The number of workflows whose estimates are kept; beyond it those of the namespace with the most are
/// forgotten and made again.
const CAPACITY: usize = 1_024;

#[derive(Debug, Clone, Copy)]
struct Estimate {
    made_at: Duration,
    median: Option<Duration>,
}

/// The estimates by namespace and the workflow's name.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Estimates {
    known: Mutex<Known>,
}

type Known = HashMap<Namespace, HashMap<String, Estimate>>;

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
        let (mut known, namespace) = (self.known(), thread.namespace());
        let Some(own) = known.get_mut(&namespace) else { return };
        if own.get(workflow).is_some_and(|estimate| estimate.median.is_none()) {
            own.remove(workflow);
        }
        if own.is_empty() {
            known.remove(&namespace);
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
        (shown, now): (&Shown, Duration),
        namespace: &Namespace,
        workflow: &str,
    ) -> Option<Duration> {
        let stale = {
            let mut known = self.known();
            match known.get(namespace).and_then(|own| own.get(workflow)) {
                Some(estimate) if estimate.is_fresh(now) => return estimate.median,
                estimate => {
                    let median = estimate.and_then(|estimate| estimate.median);
                    // Other callers use the old one while this one makes the new one.
                    keep(&mut known, (namespace, workflow), Estimate { made_at: now, median });
                    median
                }
            }
        };
        let look = async {
            let _place = shown.place(namespace).await.ok()?;
            shown.store().durations(namespace, workflow, SAMPLES).await.ok()
        };
        let answer = tokio::time::timeout(PATIENCE, look).await;
        let Ok(Some(mut durations)) = answer else { return stale };
        durations.sort_unstable();
        let median =
            durations.get(durations.len() / 2).map(|&millis| Duration::from_millis(millis));
        keep(&mut self.known(), (namespace, workflow), Estimate { made_at: now, median });
        median
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A panic while it was held cannot leave a map of estimates half changed.
        lock(&self.known)
    }
}

/// Keeps an estimate. Once there are too many, those of the namespace with the most are forgotten.
fn keep(known: &mut Known, (namespace, workflow): (&Namespace, &str), estimate: Estimate) {
    let is_new = known.get(namespace).is_none_or(|own| !own.contains_key(workflow));
    if is_new && known.values().map(HashMap::len).sum::<usize>() >= CAPACITY {
        let most = known.iter().max_by_key(|(_, own)| own.len());
        if let Some(most) = most.map(|(namespace, _)| namespace.clone()) {
            known.remove(&most);
        }
    }
    known.entry(namespace.clone()).or_default().insert(workflow.to_owned(), estimate);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::app::SystemClock;
    use crate::store::{MemoryStore, Store};

    const NOW: Duration = Duration::from_secs(100);

    #[tokio::test]
    async fn a_namespace_with_many_workflows_has_no_estimate_of_another_forgotten() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::new(SystemClock::start())));
        let (shown, estimates) = (Shown::of(&store), Estimates::default());
        let [one, other] = ["one", "other"].map(|name| Namespace::parse(name).unwrap());
        let median = Some(Duration::from_secs(7));
        keep(&mut estimates.known(), (&other, "w"), Estimate { made_at: NOW, median });
        for at in 0..3 * CAPACITY {
            let name = format!("w{at}");
            assert_eq!(estimates.of((&shown, NOW), &one, &name).await, None);
        }
        assert_eq!(estimates.of((&shown, NOW), &other, "w").await, median);
        let kept = estimates.known().values().map(HashMap::len).sum::<usize>();
        assert!(kept <= CAPACITY, "{kept}");
    }
}
