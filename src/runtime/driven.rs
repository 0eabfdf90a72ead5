//! The threads that this replica drives or is about to drive, and the room for more.
//!
//! One namespace may fill the room alone. Beyond it there are a few places more, for those that the
//! crowd has left none: a namespace may take one while it drives fewer threads than there are places
//! left. So the crowd gets none of them, and who comes first leaves some to the next.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::mpsc;

use super::drive::report::Message;
use crate::model::{Namespace, ThreadId, lock};

/// The part of the room that there is beyond it, as a divisor: as much as other bounds keep from
/// one namespace (`executor/places.rs`), and little enough that the memory of a replica that was
/// sized for its room has it.
const PART_BEYOND: usize = 8;

/// The threads that are driven here, started here or adopted here.
#[derive(Debug)]
pub(super) struct Driven {
    /// The most threads that are driven at once (`RETHREAD_MAX_RUNNING`), but for those beyond.
    most: usize,
    threads: Mutex<Threads>,
    /// The number of drivers, as a metric.
    gauge: Gauge,
}

/// The threads by their state here, with the places that they take.
#[derive(Debug, Default)]
struct Threads {
    drivers: HashMap<ThreadId, mpsc::Sender<Message>>,
    /// The threads that are being started or adopted here, with a count of each.
    pending: BTreeMap<ThreadId, Begun>,
    /// The places of threads that are driven or being adopted.
    by_namespace: BTreeMap<Namespace, usize>,
    /// The sum of `by_namespace`.
    placed: usize,
    /// The places of a claim under way.
    reserved: usize,
}

#[derive(Debug, Default)]
struct Begun {
    starts: usize,
    adoptions: usize,
}

impl Threads {
    const fn taken(&self) -> usize {
        self.placed + self.reserved
    }

    fn held(&self, namespace: &Namespace) -> usize {
        self.by_namespace.get(namespace).copied().unwrap_or(0)
    }

    /// Returns whether the thread takes a place.
    fn is_placed(&self, thread: &ThreadId) -> bool {
        self.drivers.contains_key(thread)
            || self.pending.get(thread).is_some_and(|begun| begun.adoptions > 0)
    }

    /// Makes a change to what is known of a thread, and counts its place anew.
    fn change<T>(&mut self, thread: &ThreadId, change: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.is_placed(thread);
        let made = change(self);
        match (before, self.is_placed(thread)) {
            (false, true) => {
                self.placed += 1;
                *self.by_namespace.entry(thread.namespace()).or_default() += 1;
            }
            (true, false) => {
                self.placed -= 1;
                let namespace = thread.namespace();
                let held = self.held(&namespace).saturating_sub(1);
                if held == 0 {
                    self.by_namespace.remove(&namespace);
                } else {
                    self.by_namespace.insert(namespace, held);
                }
            }
            (true, true) | (false, false) => {}
        }
        made
    }
}

impl Driven {
    pub(super) fn new(most: usize, gauge: Gauge) -> Self {
        Self { most, threads: Mutex::default(), gauge }
    }

    fn threads(&self) -> MutexGuard<'_, Threads> {
        // Nothing under the lock panics: what it guards is whole.
        lock(&self.threads)
    }

    /// Begins a start; `None` if the thread is driven here or about to be.
    pub(super) fn begin_start(self: &Arc<Self>, thread: &ThreadId) -> Option<Pending> {
        let mut threads = self.threads();
        if threads.drivers.contains_key(thread) || threads.pending.contains_key(thread) {
            return None;
        }
        threads.pending.entry(thread.clone()).or_default().starts += 1;
        Some(Pending { driven: Arc::clone(self), thread: thread.clone(), adopts: false })
    }

    /// Begins the adoption of a thread that this replica owns, in one of the places reserved for
    /// it, if any are.
    pub(super) fn begin_adoption(
        self: &Arc<Self>,
        thread: &ThreadId,
        reserved: Option<&mut Reserved>,
    ) -> Pending {
        let mut threads = self.threads();
        if let Some(reserved) = reserved
            && reserved.places > 0
        {
            reserved.places -= 1;
            threads.reserved -= 1;
        }
        threads.change(thread, |threads| {
            threads.pending.entry(thread.clone()).or_default().adoptions += 1;
        });
        Pending { driven: Arc::clone(self), thread: thread.clone(), adopts: true }
    }

    /// Returns whether the thread is driven here or about to be.
    pub(super) fn is_at_work(&self, thread: &ThreadId) -> bool {
        let threads = self.threads();
        threads.drivers.contains_key(thread) || threads.pending.contains_key(thread)
    }

    /// Returns whether this replica drives the thread.
    pub(super) fn has(&self, thread: &ThreadId) -> bool {
        self.threads().drivers.contains_key(thread)
    }

    /// Returns how many threads this replica drives.
    pub(super) fn count(&self) -> usize {
        self.threads().drivers.len()
    }

    /// Takes a place for a new driver; `None` if the thread is driven here already.
    pub(super) fn enter(&self, thread: &ThreadId, sender: mpsc::Sender<Message>) -> Option<()> {
        let mut threads = self.threads();
        if threads.drivers.contains_key(thread) {
            return None;
        }
        threads.change(thread, |threads| threads.drivers.insert(thread.clone(), sender));
        set(&self.gauge, threads.drivers.len());
        Some(())
    }

    /// Gives up a driver's place; returns whether there was no room until now.
    pub(super) fn leave(&self, thread: &ThreadId) -> bool {
        let mut threads = self.threads();
        let taken = threads.taken();
        threads.change(thread, |threads| threads.drivers.remove(thread));
        set(&self.gauge, threads.drivers.len());
        taken >= self.most
    }

    /// Returns how many more threads of any namespace may be driven.
    pub(super) fn room(&self) -> usize {
        self.most.saturating_sub(self.threads().taken())
    }

    /// Returns how many more threads of one namespace may be driven.
    pub(super) fn room_for(&self, namespace: &Namespace) -> usize {
        let threads = self.threads();
        match self.most.saturating_sub(threads.taken()) {
            0 => beyond(threads.held(namespace), self.left(&threads)),
            room => room,
        }
    }

    /// Returns whether threads of the namespace are driven or being adopted.
    pub(super) fn holds(&self, namespace: &Namespace) -> bool {
        self.threads().by_namespace.contains_key(namespace)
    }

    /// Returns the namespaces whose threads are driven or being adopted.
    pub(super) fn holders(&self) -> Vec<Namespace> {
        self.threads().by_namespace.keys().cloned().collect()
    }

    /// Reserves at most `most` places for a claim under way, until the reservation is dropped: as
    /// many as each namespace may fill that is not left out. Those in `except` are left out, and
    /// once there is no room, so are those that may have none of the places beyond.
    pub(super) fn reserve(self: &Arc<Self>, most: usize, mut except: Vec<Namespace>) -> Reserved {
        let mut threads = self.threads();
        let places = match self.most.saturating_sub(threads.taken()) {
            0 => {
                let left = self.left(&threads);
                let mut places = beyond(0, left);
                for (namespace, held) in &threads.by_namespace {
                    match beyond(*held, left) {
                        0 if !except.contains(namespace) => except.push(namespace.clone()),
                        0 => {}
                        more => places = places.min(more),
                    }
                }
                places
            }
            room => room,
        };
        let places = places.min(most);
        threads.reserved += places;
        Reserved { driven: Arc::clone(self), places, except }
    }

    /// Returns how many places are left in all.
    fn left(&self, threads: &Threads) -> usize {
        (self.most + (self.most / PART_BEYOND).max(1)).saturating_sub(threads.taken())
    }

    /// Wakes a thread's driver to read its inbox; returns whether the driver is here and was woken.
    pub(super) fn wake(&self, thread: &ThreadId) -> bool {
        let sender = self.threads().drivers.get(thread).cloned();
        // A driver with a full queue reads its inbox anyway: each append reports waiting messages.
        sender.is_some_and(|driver| driver.try_send(Message::Mail).is_ok())
    }
}

/// Returns how many of the places left beyond the room go to a namespace that holds so many: it
/// takes one after the other, while it holds fewer than are left.
const fn beyond(held: usize, left: usize) -> usize {
    left.saturating_sub(held).div_ceil(2)
}

/// Room reserved for a claim under way.
#[derive(Debug)]
pub(super) struct Reserved {
    driven: Arc<Driven>,
    /// The places that no adoption has taken yet.
    pub(super) places: usize,
    /// The namespaces that the places are not for.
    pub(super) except: Vec<Namespace>,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.driven.threads().reserved -= self.places;
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
        self.driven.threads().change(&self.thread, |threads| {
            let Some(begun) = threads.pending.get_mut(&self.thread) else { return };
            let count = if self.adopts { &mut begun.adoptions } else { &mut begun.starts };
            *count = count.saturating_sub(1);
            if begun.starts + begun.adoptions == 0 {
                threads.pending.remove(&self.thread);
            }
        });
    }
}

/// Sets a gauge to a count.
pub(super) fn set(gauge: &Gauge, count: usize) {
    gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Namespace {
        Namespace::parse(name).unwrap()
    }

    fn thread(namespace: &str, number: usize) -> ThreadId {
        ThreadId::within(&named(namespace), &format!("t{number}")).unwrap()
    }

    fn driven(most: usize) -> Arc<Driven> {
        Arc::new(Driven::new(most, Gauge::default()))
    }

    /// Takes up threads of a namespace until it has no more room; returns how many.
    fn fill(driven: &Driven, namespace: &str) -> usize {
        let (sender, _inbox) = mpsc::channel(1);
        let mut entered = 0;
        while driven.room_for(&named(namespace)) > 0 {
            driven.enter(&thread(namespace, entered), sender.clone()).unwrap();
            entered += 1;
        }
        entered
    }

    #[test]
    fn one_namespace_drives_its_most_and_others_get_places_beyond() {
        let driven = driven(1024);
        assert_eq!(fill(&driven, "one"), 1024);
        assert_eq!((driven.room(), driven.room_for(&named("two"))), (0, 64));
        assert_eq!(fill(&driven, "two"), 64);
        assert_eq!([fill(&driven, "three"), fill(&driven, "four")], [32, 16]);
        assert_eq!(driven.room_for(&named("one")), 0);
        assert!(driven.leave(&thread("one", 0)), "somebody waits for this place");
        assert_eq!(driven.room_for(&named("one")), 0, "others are beyond the room");
        assert_eq!(driven.room_for(&named("five")), 9);
        assert_eq!(driven.count(), 1023 + 64 + 32 + 16);
    }

    #[test]
    fn the_smallest_server_has_a_place_for_another_namespace() {
        for most in 1..16 {
            let driven = driven(most);
            assert_eq!((fill(&driven, "one"), fill(&driven, "two")), (most, 1), "{most}");
            assert_eq!(fill(&driven, "three"), 0);
            driven.leave(&thread("two", 0));
            assert_eq!((driven.room_for(&named("one")), fill(&driven, "three")), (0, 1));
        }
    }

    #[test]
    fn a_claim_leaves_out_whoever_may_have_no_more() {
        let driven = driven(80);
        let reserved = driven.reserve(100, Vec::new());
        assert_eq!((reserved.places, reserved.except.len()), (80, 0));
        assert_eq!(driven.room_for(&named("one")), 5, "a place reserved is taken");
        drop(reserved);
        assert_eq!((fill(&driven, "one"), fill(&driven, "two")), (80, 5));
        let mut reserved = driven.reserve(100, vec![named("three")]);
        assert_eq!((reserved.places, reserved.except.len()), (3, 3));
        let pending = driven.begin_adoption(&thread("four", 1), Some(&mut reserved));
        assert_eq!((reserved.places, driven.threads().taken()), (2, 88), "it moved to the thread");
        assert!(driven.holds(&named("four")));
        drop(reserved);
        assert_eq!(driven.reserve(100, Vec::new()).places, 2, "as many as each of them may have");
        drop(pending);
        assert_eq!((driven.holders().len(), driven.threads().taken()), (2, 85));
    }

    #[test]
    fn a_thread_takes_one_place_however_often_it_is_begun() {
        let driven = driven(2);
        let (one, (sender, _inbox)) = (thread("one", 1), mpsc::channel(1));
        let start = driven.begin_start(&one);
        assert!(start.is_some() && driven.begin_start(&one).is_none() && driven.room() == 2);
        let adoption = driven.begin_adoption(&one, None);
        drop(start);
        assert!(driven.is_at_work(&one) && !driven.has(&one) && driven.room() == 1);
        driven.enter(&one, sender.clone()).unwrap();
        assert!(driven.enter(&one, sender).is_none() && driven.room() == 1);
        drop(adoption);
        assert!(driven.has(&one) && driven.room() == 1 && !driven.leave(&one));
        assert!(!driven.is_at_work(&one) && driven.room() == 2 && driven.holders().is_empty());
    }
}
