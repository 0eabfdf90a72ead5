//! What all parts of a run share.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::client::Call;
use crate::database::Database;
use crate::dice::Dice;
use crate::faults::Faults;
use crate::recorder::Recorder;
use crate::replicas::Replicas;

/// How long a replica is given to say who drives a thread: a fault waits for it.
const GLANCE: Duration = Duration::from_millis(800);
/// After the faults: how long threads are given to end. Far more than any needs.
pub(crate) const CALM: Duration = Duration::from_mins(2);

/// A run.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) began: Instant,
    /// The same, in milliseconds of the Unix epoch.
    pub(crate) began_ms: i64,
    /// When the last thread is begun.
    pub(crate) end: Instant,
    /// When all threads have to have ended.
    pub(crate) limit: Instant,
    pub(crate) replicas: std::sync::Arc<Replicas>,
    pub(crate) database: Database,
    pub(crate) faults: Faults,
    pub(crate) recorder: Recorder,
    /// The URL that steps call.
    pub(crate) effects: String,
    /// Threads that were accepted and have not ended, and who was last seen to drive each.
    pub(crate) in_flight: Mutex<BTreeMap<String, Option<String>>>,
}

impl World {
    /// Seconds since the beginning.
    pub(crate) fn age(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// The threads in flight.
    pub(crate) fn in_flight(&self) -> MutexGuard<'_, BTreeMap<String, Option<String>>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes who was seen to drive a thread in flight.
    pub(crate) fn seen(&self, thread: &str, owner: Option<&str>) {
        if let Some(known) = self.in_flight().get_mut(thread) {
            *known = owner.map(str::to_owned);
        }
    }

    /// How many threads a replica was last seen to drive.
    pub(crate) fn threads_of(&self, replica: usize) -> usize {
        let Some(pid) = self.replicas.pid(replica) else { return 0 };
        self.in_flight().values().flatten().filter(|owner| drives(pid, owner)).count()
    }

    /// Who drives which thread: as any replica says now, else as it was last seen.
    pub(crate) async fn owners(&self, dice: &mut Dice) -> Vec<(String, String)> {
        let threads: Vec<String> = self.in_flight().keys().cloned().collect();
        let asked = threads.into_iter().filter_map(|thread| {
            let addr = self.replicas.any(dice)?;
            Some(async move {
                let call = Call::get(format!("/status/{thread}?outputs=false"));
                let status = call.once(addr, GLANCE).await.ok()?;
                let owner = status.json()["owner"].as_str().map(str::to_owned);
                (status.status == 200).then_some((thread, owner))
            })
        });
        let seen: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
        for (thread, owner) in seen {
            self.seen(&thread, owner.as_deref());
        }
        let in_flight = self.in_flight();
        in_flight
            .iter()
            .filter_map(|(thread, owner)| Some((thread.clone(), owner.clone()?)))
            .collect()
    }
}

/// Whether that process is the owner: the name of a replica ends with the number of its process.
pub(crate) fn drives(pid: i32, owner: &str) -> bool {
    owner.rsplit('-').next().and_then(|text| text.parse().ok()) == Some(pid)
}
