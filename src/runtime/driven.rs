//! The threads that this replica drives or is about to drive, and the room for more.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::mpsc;

use super::drive::report::Message;
use crate::model::{ThreadId, lock};

/// The threads that are driven here, started here or adopted here.
#[derive(Debug)]
pub(super) struct Driven {
    /// The most threads that are driven at once (`RETHREAD_MAX_RUNNING`).
    most: usize,
    drivers: Mutex<HashMap<ThreadId, mpsc::Sender<Message>>>,
    /// The threads that are being started or adopted here, with a count for each.
    pending: Mutex<BTreeMap<ThreadId, usize>>,
    /// The room of threads that are being adopted and not driven yet, and of a claim under way.
    adopting: AtomicUsize,
    /// The number of drivers, as a metric.
    gauge: Gauge,
}

impl Driven {
    pub(super) fn new(most: usize, gauge: Gauge) -> Self {
        Self {
            most,
            drivers: Mutex::default(),
            pending: Mutex::default(),
            adopting: AtomicUsize::new(0),
            gauge,
        }
    }

    fn drivers(&self) -> MutexGuard<'_, HashMap<ThreadId, mpsc::Sender<Message>>> {
        // A panic under the lock cannot leave a map of senders half changed.
        lock(&self.drivers)
    }

    fn pending(&self) -> MutexGuard<'_, BTreeMap<ThreadId, usize>> {
        // A panic under the lock cannot leave a map of counts half changed.
        lock(&self.pending)
    }

    /// Begins a start; `None` if the thread is driven here or about to be.
    pub(super) fn begin_start(self: &Arc<Self>, thread: &ThreadId) -> Option<Pending> {
        (!self.is_at_work(thread)).then(|| self.begin(thread, false))
    }

    /// Begins the adoption of a thread that this replica owns.
    pub(super) fn begin_adoption(self: &Arc<Self>, thread: &ThreadId) -> Pending {
        self.adopting.fetch_add(1, Ordering::Relaxed);
        self.begin(thread, true)
    }

    fn begin(self: &Arc<Self>, thread: &ThreadId, adopts: bool) -> Pending {
        *self.pending().entry(thread.clone()).or_default() += 1;
        Pending { driven: Arc::clone(self), thread: thread.clone(), adopts }
    }

    /// Returns whether the thread is driven here or about to be.
    pub(super) fn is_at_work(&self, thread: &ThreadId) -> bool {
        self.has(thread) || self.pending().contains_key(thread)
    }

    /// Returns whether this replica drives the thread.
    pub(super) fn has(&self, thread: &ThreadId) -> bool {
        self.drivers().contains_key(thread)
    }

    /// Returns how many threads this replica drives.
    pub(super) fn count(&self) -> usize {
        self.drivers().len()
    }

    /// Takes a place for a new driver; `None` if the thread is driven here already.
    pub(super) fn enter(&self, thread: &ThreadId, sender: mpsc::Sender<Message>) -> Option<()> {
        let mut drivers = self.drivers();
        if drivers.contains_key(thread) {
            return None;
        }
        drivers.insert(thread.clone(), sender);
        set(&self.gauge, drivers.len());
        Some(())
    }

    /// Gives up a driver's place; returns whether there was no room until now.
    pub(super) fn leave(&self, thread: &ThreadId) -> bool {
        let mut drivers = self.drivers();
        let taken = drivers.len() + self.adopting.load(Ordering::Relaxed);
        drivers.remove(thread);
        set(&self.gauge, drivers.len());
        taken >= self.most
    }

    /// Returns how many more threads may be driven.
    pub(super) fn room(&self) -> usize {
        self.most.saturating_sub(self.count() + self.adopting.load(Ordering::Relaxed))
    }

    /// Reserves places for a claim under way, until the reservation is dropped.
    pub(super) fn reserve(self: &Arc<Self>, places: usize) -> Reserved {
        self.adopting.fetch_add(places, Ordering::Relaxed);
        Reserved { driven: Arc::clone(self), places }
    }

    /// Wakes a thread's driver to read its inbox; returns whether the driver is here and was woken.
    pub(super) fn wake(&self, thread: &ThreadId) -> bool {
        let sender = self.drivers().get(thread).cloned();
        // A driver with a full queue reads its inbox anyway: each append reports waiting messages.
        sender.is_some_and(|driver| driver.try_send(Message::Mail).is_ok())
    }
}

/// Room reserved for a claim under way.
#[derive(Debug)]
pub(super) struct Reserved {
    driven: Arc<Driven>,
    pub(super) places: usize,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.driven.adopting.fetch_sub(self.places, Ordering::Relaxed);
    }
}

/// Marks a start or an adoption as under way until this is dropped.
#[derive(Debug)]
pub(super) struct Pending {
    driven: Arc<Driven>,
    thread: ThreadId,
    adopts: bool,
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.adopts {
            self.driven.adopting.fetch_sub(1, Ordering::Relaxed);
        }
        let mut pending = self.driven.pending();
        let Some(count) = pending.get_mut(&self.thread) else { return };
        *count -= 1;
        if *count == 0 {
            pending.remove(&self.thread);
        }
    }
}

/// Sets a gauge to a count.
pub(super) fn set(gauge: &Gauge, count: usize) {
    gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
}
