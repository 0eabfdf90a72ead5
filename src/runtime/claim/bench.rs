//! The suspects of this replica: those that wait for their turn, and those that it drives.
//!
//! Rows in the store outlive the replica, this does not: `trials` writes what changes here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use super::suspicion::Suspicion;
use super::turns::Turns;
use crate::model::{Incarnation, Json, ThreadId, lock};
use crate::store::SuspectRow;

/// The time after its start for which a suspect's process is seen to live more often than others: a
/// thread's age at a death is known exactly then.
const WATCHED: u64 = 60_000;

/// The suspects of one replica.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Bench {
    state: Mutex<State>,
    /// Notified when there is something to be looked at.
    busy: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The registration that all this is about.
    incarnation: Incarnation,
    turns: Turns,
    /// How many threads there were like those with these points that were lost with this one.
    peers: BTreeMap<(Incarnation, u32), usize>,
    waiting: BTreeMap<ThreadId, Waiting>,
    seated: BTreeMap<ThreadId, Seated>,
    /// Changes to be written: what is known now, or nothing any more.
    changed: BTreeMap<ThreadId, Option<Suspicion>>,
}

#[derive(Debug)]
struct Waiting {
    losses: u32,
    /// The trial that it waits for, by its points.
    trial: Option<u32>,
    wake: Arc<Notify>,
}

#[derive(Debug)]
struct Seated {
    suspicion: Suspicion,
    since: u64,
    acquitted: bool,
}

/// The changes to be written at a moment.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) kept: Vec<SuspectRow>,
    pub(super) forgotten: Vec<ThreadId>,
    /// Whether a suspect was started not long ago.
    pub(super) watched: bool,
}

impl Bench {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic under the lock cannot leave the maps half changed.
        lock(&self.state)
    }

    /// Forgets another registration: its threads are no longer driven here.
    pub(super) fn belong_to(&self, incarnation: Incarnation) {
        let mut state = self.state();
        if state.incarnation != incarnation {
            let waiting = std::mem::take(&mut state.waiting);
            *state = State { incarnation, waiting, ..State::default() };
        }
    }

    /// Lets a turn or a trial be arranged.
    pub(super) fn arrange<T>(&self, arrange: impl FnOnce(&mut Turns) -> T) -> T {
        arrange(&mut self.state().turns)
    }

    /// Returns how many threads there were like these, if that is known.
    pub(super) fn peers(&self, set: (Incarnation, u32)) -> Option<usize> {
        self.state().peers.get(&set).copied()
    }

    /// Notes how many threads there were like these.
    pub(super) fn count_peers(&self, set: (Incarnation, u32), count: usize) {
        self.state().peers.entry(set).or_insert(count);
    }

    /// Notes that a thread waits for its turn, or for its trial if it has these points.
    pub(super) fn wait(
        self: &Arc<Self>,
        thread: &ThreadId,
        (losses, trial): (u32, Option<u32>),
    ) -> Place {
        let wake = Arc::new(Notify::new());
        let mut state = self.state();
        if let Some(points) = trial {
            state.turns.waits(points);
        }
        let waiting = Waiting { losses, trial, wake: Arc::clone(&wake) };
        state.waiting.insert(thread.clone(), waiting);
        Place { bench: Arc::clone(self), thread: thread.clone(), wake }
    }

    /// Wakes a thread that waits here to read its inbox.
    pub(in crate::runtime) fn wake(&self, thread: &ThreadId) {
        if let Some(waiting) = self.state().waiting.get(thread) {
            waiting.wake.notify_one();
        }
    }

    /// Returns how many threads wait here.
    pub(in crate::runtime) fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    /// Returns the losses of a thread that waits here.
    pub(in crate::runtime) fn waits(&self, thread: &ThreadId) -> Option<u32> {
        self.state().waiting.get(thread).map(|waiting| waiting.losses)
    }

    /// Notes that a suspect is about to be loaded here.
    pub(super) fn seat(
        self: &Arc<Self>,
        thread: &ThreadId,
        (suspicion, now): (Suspicion, u64),
    ) -> Seat {
        let mut state = self.state();
        state.changed.remove(thread);
        let incarnation = state.incarnation;
        let seated = Seated { suspicion, since: now, acquitted: false };
        state.seated.insert(thread.clone(), seated);
        self.busy.notify_one();
        Seat { bench: Arc::clone(self), thread: thread.clone(), incarnation, got_on: false }
    }

    /// Resolves once there are suspects to be looked at, or changes to be written.
    pub(super) async fn busy(&self) {
        loop {
            let busy = {
                let state = self.state();
                !state.changed.is_empty() || state.seated.values().any(|seated| !seated.acquitted)
            };
            if busy {
                return;
            }
            self.busy.notified().await;
        }
    }

    /// Acquits those that have lived for longer than before, and takes what has changed.
    pub(super) fn changes(&self, now: u64) -> Changes {
        let mut state = self.state();
        let State { seated, changed, .. } = &mut *state;
        let mut changes = Changes::default();
        for (thread, seated) in seated.iter_mut().filter(|(_, seated)| !seated.acquitted) {
            let lived = now.saturating_sub(seated.since);
            if lived >= seated.suspicion.acquitted_after() {
                seated.acquitted = true;
                seated.suspicion.acquit();
                changed.insert(thread.clone(), Some(seated.suspicion.clone()));
            } else if lived < WATCHED {
                changes.watched = true;
            }
        }
        for (thread, known) in std::mem::take(changed) {
            match known {
                Some(suspicion) => changes.kept.extend(row(&thread, &suspicion)),
                None => changes.forgotten.push(thread),
            }
        }
        changes
    }
}

/// Returns the row of a suspect.
pub(super) fn row(thread: &ThreadId, suspicion: &Suspicion) -> Option<SuspectRow> {
    Some(SuspectRow {
        thread_id: thread.clone(),
        lost_with: suspicion.lost_with,
        exposed_to: suspicion.exposed.map_or(0, |exposed| exposed.to),
        body: Json::of(suspicion).ok()?,
    })
}

/// A place among those that wait, until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    bench: Arc<Bench>,
    thread: ThreadId,
    wake: Arc<Notify>,
}

impl Place {
    /// Resolves when a message may have come.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.bench.state();
        let mine = |waiting: &Waiting| Arc::ptr_eq(&waiting.wake, &self.wake);
        if !state.waiting.get(&self.thread).is_some_and(mine) {
            return;
        }
        if let Some(points) = state.waiting.remove(&self.thread).and_then(|waiting| waiting.trial) {
            state.turns.waits_no_more(points);
        }
    }
}

/// A suspect that is loaded or driven here, until this is dropped.
#[derive(Debug)]
pub(in crate::runtime) struct Seat {
    bench: Arc<Bench>,
    thread: ThreadId,
    incarnation: Incarnation,
    got_on: bool,
}

impl Seat {
    /// Ends the suspicion: the thread has got on.
    pub(in crate::runtime) fn get_on(mut self) {
        self.got_on = true;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.bench.state();
        if state.incarnation != self.incarnation {
            return;
        }
        let Some(mut seated) = state.seated.remove(&self.thread) else { return };
        let known = if self.got_on {
            None
        } else {
            // Whatever happens now, it has no part in it.
            seated.suspicion.exposed = None;
            Some(seated.suspicion)
        };
        state.changed.insert(self.thread.clone(), known);
        self.bench.busy.notify_one();
    }
}
