//! The memory of the threads that are driven here, by namespace.
//!
//! A thread starts small and grows with its outputs. Once all threads, or those of one namespace,
//! fill their share, only one thread at a time may begin attempts. The next one goes on when its
//! turn is over, or when it ends and frees its memory. Threads that wait keep what they have. More
//! threads of a namespace that is full are not taken up; one of each may always be driven.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::model::{Namespace, lock};
use crate::observe::{Memory, Pool, Reservation};

/// The part of the threads' share that one namespace may take, in eighths.
const EIGHTHS_OF_ONE: usize = 7;
/// The length of a turn: a thread with short steps can end within it, and one that hangs does not
/// hold up the others for long.
pub(in crate::runtime) const TURN: Duration = Duration::from_secs(10);

/// The memory that driven threads take.
#[derive(Debug)]
pub(in crate::runtime) struct Weights {
    memory: Arc<Memory>,
    by_namespace: Mutex<HashMap<Namespace, usize>>,
    turn: Arc<Semaphore>,
}

/// The memory that one thread takes, until this is dropped.
#[derive(Debug)]
pub(in crate::runtime) struct Weight {
    weights: Arc<Weights>,
    namespace: Namespace,
    reservation: Reservation,
}

/// A thread's turn to grow.
pub(in crate::runtime) type Turn = OwnedSemaphorePermit;

impl Weights {
    pub(in crate::runtime) fn new(memory: &Arc<Memory>) -> Arc<Self> {
        let (memory, turn) = (Arc::clone(memory), Arc::new(Semaphore::new(1)));
        Arc::new(Self { memory, by_namespace: Mutex::default(), turn })
    }

    /// Counts a thread of `bytes` bytes.
    pub(in crate::runtime) fn weigh(
        self: &Arc<Self>,
        namespace: Namespace,
        bytes: usize,
    ) -> Weight {
        let reservation = self.memory.note(Pool::Threads, 0);
        let mut weight = Weight { weights: Arc::clone(self), namespace, reservation };
        weight.set(bytes);
        weight
    }

    /// Returns whether the threads of all namespaces fill their share.
    pub(in crate::runtime) fn are_full(&self) -> bool {
        self.memory.used(Pool::Threads) >= self.memory.share(Pool::Threads)
    }

    /// Returns whether threads of this namespace need a turn to begin an attempt.
    pub(in crate::runtime) fn are_full_for(&self, namespace: &Namespace) -> bool {
        let taken = lock(&self.by_namespace).get(namespace).copied().unwrap_or(0);
        self.are_full() || taken >= self.of_one()
    }

    /// Returns whether no more threads of this namespace are to be taken up.
    pub(in crate::runtime) fn are_enough_of(&self, namespace: &Namespace) -> bool {
        lock(&self.by_namespace).contains_key(namespace) && self.are_full_for(namespace)
    }

    /// Returns the namespaces whose threads fill what one may take.
    pub(in crate::runtime) fn full_namespaces(&self) -> Vec<Namespace> {
        let of_one = self.of_one();
        let all = lock(&self.by_namespace);
        all.iter().filter(|(_, taken)| **taken >= of_one).map(|(name, _)| name.clone()).collect()
    }

    /// Returns the bytes that the threads of one namespace may take: less while the process takes
    /// nearly as much as it may, as a count is never complete. Beyond the limit everybody is refused.
    fn of_one(&self) -> usize {
        let (limit, part) = (self.memory.limit(), self.memory.share(Pool::Threads) / 8);
        let nearly = self.memory.resident() >= limit - limit / 8;
        if nearly { part } else { part * EIGHTHS_OF_ONE }
    }

    /// Takes the turn, if no other thread has it.
    pub(in crate::runtime) fn try_turn(&self) -> Option<Turn> {
        Arc::clone(&self.turn).try_acquire_owned().ok()
    }

    /// Waits for the turn; waiting threads get it in their order of arrival.
    pub(in crate::runtime) async fn turn(&self) -> Option<Turn> {
        Arc::clone(&self.turn).acquire_owned().await.ok()
    }
}

impl Weight {
    /// Returns the number of bytes.
    pub(in crate::runtime) const fn bytes(&self) -> usize {
        self.reservation.bytes()
    }

    /// Changes the number of bytes.
    pub(in crate::runtime) fn set(&mut self, bytes: usize) {
        let mut all = lock(&self.weights.by_namespace);
        let taken = all.remove(&self.namespace).unwrap_or(0).saturating_sub(self.bytes());
        let taken = taken.saturating_add(bytes);
        if taken > 0 {
            all.insert(self.namespace.clone(), taken);
        }
        drop(all);
        self.reservation.set(bytes);
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::MemoryMetrics;

    const MEGABYTE: usize = 1 << 20;

    fn named(name: &str) -> Namespace {
        Namespace::parse(name).unwrap()
    }

    #[test]
    fn one_namespace_fills_its_part_and_leaves_the_rest_to_others() {
        let memory = Memory::new(32 * MEGABYTE, &MemoryMetrics::default(), Box::new(|| None));
        let weights = Weights::new(&Arc::new(memory));
        let full = |name: &str| weights.are_full_for(&named(name));
        let mut first = weights.weigh(named("one"), 10 * MEGABYTE);
        let second = weights.weigh(named("one"), 3 * MEGABYTE);
        assert!(!full("one"));
        first.set(11 * MEGABYTE);
        assert!(full("one") && !full("two") && !weights.are_full());
        assert_eq!(weights.full_namespaces(), [named("one")]);
        let third = weights.weigh(named("two"), 2 * MEGABYTE);
        assert!(full("two") && weights.are_full());
        let enough = |name: &str| weights.are_enough_of(&named(name));
        assert!(enough("one") && enough("two") && !enough("three"), "one of each may be driven");
        drop((first, second, third));
        assert!(!full("one") && weights.by_namespace.lock().unwrap().is_empty());
    }

    #[test]
    fn large_namespaces_stop_before_the_process_takes_all_that_it_may() {
        let resident = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let seen = Arc::clone(&resident);
        let probe = move || Some(seen.load(std::sync::atomic::Ordering::Relaxed));
        let limit = 32 * MEGABYTE;
        let memory = Arc::new(Memory::new(limit, &MemoryMetrics::default(), Box::new(probe)));
        let weights = Weights::new(&memory);
        let _large = weights.weigh(named("large"), 3 * MEGABYTE);
        let _small = weights.weigh(named("small"), MEGABYTE);
        let full = |name: &str| weights.are_full_for(&named(name));
        assert!(!full("large"));
        resident.store(limit - limit / 8, std::sync::atomic::Ordering::Relaxed);
        assert!(!memory.look());
        assert!(full("large") && !full("small"));
    }

    #[test]
    fn one_thread_at_a_time_has_the_turn() {
        let weights = Weights::new(&Arc::new(Memory::boundless()));
        let turn = weights.try_turn();
        assert!(turn.is_some() && weights.try_turn().is_none());
        drop(turn);
        assert!(weights.try_turn().is_some());
    }
}
