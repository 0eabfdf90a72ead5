//! Connections that are kept for the next request, few enough to leave files and memory to everybody.
//!
//! A bound holds for all of them, whatever hosts they lead to: a workflow may call as many hosts as
//! there are names. Beyond it, the namespace that has most of them loses its oldest one, so that none
//! loses a connection to one that has more. A request never waits for any of this.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use hyper::rt::Executor as _;
use hyper_util::rt::TokioExecutor;
use tokio::time::{Instant, sleep};

use crate::model::{Namespace, lock};
use crate::observe::{Memory, Pool, Reservation};

/// The largest number of connections kept: more save little, as each is to a host that was not called
/// for a while.
pub const MAX_IDLE_CONNECTIONS: usize = 256;
/// The largest number of them to one host, for one namespace.
const OF_ONE_HOST: usize = 32;
/// The time for which a connection is kept: below the 60 s after which common servers close theirs.
const KEPT_FOR: Duration = Duration::from_secs(50);
/// The time between two looks for connections that were kept long enough, or that the other side has
/// closed.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The memory of a connection, in bytes: a buffer of the size of the largest head, and the state of TLS
/// or of HTTP/2.
pub(super) const BYTES_OF_ONE: usize = 96 << 10;
/// The part of the memory for attempts that all of them may take, as a divisor: the attempts need it more.
const MEMORY_PART: usize = 8;

/// The end of a connection: a namespace's own, at a scheme, a host and a port.
pub(super) type Key = (Namespace, String);

/// A connection that can be kept.
pub(super) trait Keep: Sized + Send + 'static {
    /// Returns whether no request can be sent any more.
    fn is_closed(&self) -> bool;

    /// Returns whether a request can be sent now.
    fn is_ready(&self) -> bool;

    /// Returns a second handle, if requests can share the connection.
    fn share(&self) -> Option<Self>;
}

/// The connections that are kept.
pub(super) struct Idle<C> {
    most: usize,
    memory: Arc<Memory>,
    kept: Mutex<Kept<C>>,
}

struct Kept<C> {
    /// The connections by their end, those of one end in the order in which they came to be idle.
    by_end: BTreeMap<Key, Vec<Entry<C>>>,
    count: usize,
    /// Whether a task looks for those that were kept long enough.
    watched: bool,
}

struct Entry<C> {
    connection: C,
    since: Instant,
    _memory: Reservation,
}

impl<C> std::fmt::Debug for Idle<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Idle").field("most", &self.most).finish_non_exhaustive()
    }
}

impl<C: Keep> Idle<C> {
    /// Makes an empty set that keeps at most `most` connections, and no more than the memory has room
    /// for.
    pub(super) fn new(most: usize, memory: Arc<Memory>) -> Arc<Self> {
        let room = memory.share(Pool::Attempts) / MEMORY_PART / BYTES_OF_ONE;
        let kept = Kept { by_end: BTreeMap::new(), count: 0, watched: false };
        Arc::new(Self { most: most.min(room), memory, kept: Mutex::new(kept) })
    }

    /// Takes a connection to that end, or a share of one.
    pub(super) fn take(&self, key: &Key) -> Option<C> {
        // No panic leaves it half changed. Those that are closed are dropped after the lock.
        let mut closed = Vec::new();
        let mut kept = lock(&self.kept);
        let taken = kept.take(key, &mut closed);
        drop(kept);
        taken
    }

    /// Keeps a connection, and drops another one for it if there are too many.
    pub(super) fn keep(self: &Arc<Self>, key: &Key, connection: C) {
        if self.most == 0 || connection.is_closed() {
            return;
        }
        let held = self.memory.note(Pool::Attempts, BYTES_OF_ONE);
        let entry = Entry { connection, since: Instant::now(), _memory: held };
        let mut kept = lock(&self.kept);
        let dropped = kept.put(key, entry, self.most);
        let watch = !std::mem::replace(&mut kept.watched, true);
        drop(kept);
        drop(dropped);
        if watch {
            TokioExecutor::new().execute(watch_over(Arc::downgrade(self)));
        }
    }

    /// Drops what was kept long enough. Returns whether anything is left to look at.
    fn look(&self) -> bool {
        let mut kept = lock(&self.kept);
        let dropped =
            kept.remove(|entry| entry.connection.is_closed() || entry.since.elapsed() >= KEPT_FOR);
        kept.watched = kept.count > 0;
        let left = kept.watched;
        drop(kept);
        drop(dropped);
        left
    }

    /// Returns the number of connections kept.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        lock(&self.kept).count
    }
}

/// Looks after the connections until none is left.
async fn watch_over<C: Keep>(idle: Weak<Idle<C>>) {
    loop {
        sleep(LOOK_EVERY).await;
        if !idle.upgrade().is_some_and(|idle| idle.look()) {
            return;
        }
    }
}

impl<C: Keep> Kept<C> {
    fn take(&mut self, key: &Key, closed: &mut Vec<Entry<C>>) -> Option<C> {
        let entries = self.by_end.get_mut(key)?;
        let before = entries.len();
        closed.extend(entries.extract_if(.., |entry| entry.connection.is_closed()));
        let ready = entries.iter().rposition(|entry| entry.connection.is_ready());
        let taken = ready.and_then(|place| {
            let shared = entries.get_mut(place).and_then(|entry| {
                entry.since = Instant::now();
                entry.connection.share()
            });
            shared.or_else(|| Some(entries.remove(place).connection))
        });
        self.count -= before - entries.len();
        if entries.is_empty() {
            self.by_end.remove(key);
        }
        taken
    }

    /// Adds an entry; returns those that are dropped for it.
    fn put(&mut self, key: &Key, entry: Entry<C>, most: usize) -> Vec<Entry<C>> {
        let entries = self.by_end.entry(key.clone()).or_default();
        let closed = entries.extract_if(.., |entry| entry.connection.is_closed());
        let mut dropped: Vec<_> = closed.collect();
        self.count -= dropped.len();
        // Requests share the one that is there.
        if !entries.is_empty() && entry.connection.share().is_some() {
            dropped.push(entry);
            return dropped;
        }
        entries.push(entry);
        self.count += 1;
        if entries.len() > OF_ONE_HOST {
            dropped.push(entries.remove(0));
            self.count -= 1;
        }
        if self.count > most {
            dropped.extend(self.remove(|entry| entry.connection.is_closed()));
        }
        while self.count > most {
            let Some(oldest) = self.remove_oldest_of_most() else { break };
            dropped.push(oldest);
        }
        dropped
    }

    /// Removes the oldest connection of the namespace that has most of them.
    fn remove_oldest_of_most(&mut self) -> Option<Entry<C>> {
        let mut counts: BTreeMap<&Namespace, usize> = BTreeMap::new();
        for ((namespace, _), entries) in &self.by_end {
            *counts.entry(namespace).or_default() += entries.len();
        }
        let (most, _) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        let of_it = self.by_end.iter().filter(|((namespace, _), _)| namespace == most);
        let (key, _) = of_it.min_by_key(|(_, entries)| entries.first().map(|entry| entry.since))?;
        let key = key.clone();
        let entries = self.by_end.get_mut(&key)?;
        let oldest = entries.remove(0);
        self.count -= 1;
        if entries.is_empty() {
            self.by_end.remove(&key);
        }
        Some(oldest)
    }

    /// Removes and returns those entries.
    fn remove(&mut self, mut which: impl FnMut(&mut Entry<C>) -> bool) -> Vec<Entry<C>> {
        let mut removed = Vec::new();
        self.by_end.retain(|_, entries| {
            removed.extend(entries.extract_if(.., &mut which));
            !entries.is_empty()
        });
        self.count -= removed.len();
        removed
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::observe::MemoryMetrics;

    /// A connection that only has a name.
    #[derive(Debug, Clone)]
    struct Fake(&'static str, Arc<AtomicBool>);

    impl Keep for Fake {
        fn is_closed(&self) -> bool {
            self.1.load(Ordering::Relaxed)
        }

        fn is_ready(&self) -> bool {
            !self.0.contains("busy")
        }

        fn share(&self) -> Option<Self> {
            self.0.contains("shared").then(|| self.clone())
        }
    }

    fn fake(name: &'static str) -> Fake {
        Fake(name, Arc::default())
    }

    fn key(namespace: &str, host: &str) -> Key {
        (Namespace::parse(namespace).unwrap(), format!("http://{host}"))
    }

    fn idle(most: usize) -> Arc<Idle<Fake>> {
        Idle::new(most, Arc::new(Memory::boundless()))
    }

    fn name(taken: Option<Fake>) -> Option<&'static str> {
        taken.map(|fake| fake.0)
    }

    #[tokio::test]
    async fn whoever_has_most_loses_the_oldest_and_nobody_else_any() {
        let idle = idle(4);
        idle.keep(&key("good", "h"), fake("good"));
        for (number, host) in ["a", "b", "c", "d", "e", "f"].into_iter().enumerate() {
            idle.keep(&key("crowd", host), fake(host));
            assert_eq!(idle.count(), (number + 2).min(4));
        }
        for gone in ["a", "b", "c"] {
            assert!(idle.take(&key("crowd", gone)).is_none(), "{gone}");
        }
        assert_eq!(name(idle.take(&key("good", "h"))), Some("good"));
        assert_eq!(name(idle.take(&key("crowd", "f"))), Some("f"));
        assert!(idle.take(&key("good", "f")).is_none(), "it is another's");
        assert_eq!(idle.count(), 2);
    }

    #[tokio::test]
    async fn one_host_keeps_few_and_gives_the_newest_that_is_ready() {
        let (idle, host) = (idle(MAX_IDLE_CONNECTIONS), key("one", "h"));
        for _ in 0..OF_ONE_HOST {
            idle.keep(&host, fake("old"));
        }
        idle.keep(&host, fake("new"));
        idle.keep(&host, fake("busy"));
        assert_eq!(idle.count(), OF_ONE_HOST);
        assert_eq!(name(idle.take(&host)), Some("new"));
        let closed = fake("closed");
        idle.keep(&host, closed.clone());
        closed.1.store(true, Ordering::Relaxed);
        assert_eq!(name(idle.take(&host)), Some("old"));
        idle.keep(&host, closed);
        assert_eq!(idle.count(), OF_ONE_HOST - 2, "what is closed is not kept");
    }

    #[tokio::test(start_paused = true)]
    async fn each_counts_as_memory_until_it_was_kept_long_enough() {
        let memory = Memory::new(64 << 20, &MemoryMetrics::default(), Box::new(|| None));
        let memory = Arc::new(memory);
        let idle = Idle::new(MAX_IDLE_CONNECTIONS, Arc::clone(&memory));
        let room = (64 << 20) / 4 / MEMORY_PART / BYTES_OF_ONE;
        for _ in 0..100 {
            idle.keep(&key("one", "h"), fake("plain"));
            idle.keep(&key("one", "i"), fake("shared"));
        }
        assert_eq!((idle.count(), memory.used(Pool::Attempts)), (room, room * BYTES_OF_ONE));
        sleep(KEPT_FOR.saturating_sub(LOOK_EVERY)).await;
        assert_eq!(name(idle.take(&key("one", "i"))), Some("shared"));
        sleep(2 * LOOK_EVERY).await;
        assert_eq!(idle.count(), 1, "this one was used since");
        sleep(KEPT_FOR).await;
        assert_eq!((idle.count(), memory.used(Pool::Attempts)), (0, 0));
        idle.keep(&key("one", "h"), fake("plain"));
        sleep(KEPT_FOR + 2 * LOOK_EVERY).await;
        assert_eq!(idle.count(), 0, "they are looked at again");
    }
}
