//! The use of memory: one budget of bytes, in pools, each with a gauge.
//!
//! Code that is about to hold bytes whose number a client chose reserves them first, and gives them
//! back by dropping the reservation. A client's request is refused when there is no room
//! ([`Memory::reserve`]); work that must go on is counted all the same ([`Memory::note`]). The
//! count is never complete, so the real size of the process is looked at as well
//! ([`Memory::look`]), and bytes that were reserved since then are added to it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::register::Label;
use crate::model::{Namespace, lock};

/// The size of a small call, in bytes. A small call may go a little beyond the limit: a call that
/// ends the work which takes the memory must get through.
const SMALL: usize = 16 << 10;
/// The part of the limit by which small calls may go beyond it, as a divisor.
const SMALL_PART: usize = 16;
/// The part of a pool that one namespace may take, in eighths: the rest is left to others.
const EIGHTHS_OF_ONE: usize = 7;

/// The use that memory is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    /// Requests: their bodies, and the values parsed from them.
    Requests,
    /// Answers that their clients have not taken yet.
    Answers,
    /// Event streams: the events that their readers have not taken yet.
    Streams,
    /// Threads that are rebuilt, to be shown or driven.
    Loads,
    /// Threads that are driven: their inputs, outputs and signals.
    Threads,
    /// Attempts under way: what they send, and programs.
    Attempts,
    /// Data that attempts receive, and their outputs until the thread holds them.
    Received,
    /// Notifications under way: the events that receivers have not taken yet.
    Notices,
    /// Plans that are kept for the next thread.
    Plans,
}

impl Pool {
    const ALL: [Self; 9] = [
        Self::Requests,
        Self::Answers,
        Self::Streams,
        Self::Loads,
        Self::Threads,
        Self::Attempts,
        Self::Received,
        Self::Notices,
        Self::Plans,
    ];

    const fn label(self) -> Label {
        let name = match self {
            Self::Requests => "requests",
            Self::Answers => "answers",
            Self::Streams => "streams",
            Self::Loads => "loads",
            Self::Threads => "threads",
            Self::Attempts => "attempts",
            Self::Received => "received",
            Self::Notices => "notices",
            Self::Plans => "plans",
        };
        [("pool", name)]
    }

    /// Returns the part of the limit that the pool may take, as a divisor: no pool may starve the
    /// others. Running threads are the purpose of the server, and the largest of them has to be
    /// shown as well.
    const fn part(self) -> usize {
        match self {
            Self::Threads | Self::Loads => 2,
            Self::Requests | Self::Answers | Self::Streams | Self::Attempts => 4,
            Self::Received | Self::Notices | Self::Plans => 8,
        }
    }
}

/// Metrics about memory; handles that are cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct MemoryMetrics {
    used: Family<Label, Gauge>,
    refused: Family<Label, Counter>,
    limit: Gauge,
    resident: Gauge,
}

impl MemoryMetrics {
    /// Registers gauges at zero.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let new = Self::default();
        let bytes = || Unit::Bytes;
        let used = "Bytes reserved, by what for";
        registry.register_with_unit("memory", used, bytes(), new.used.clone());
        let refused = "Reservations that were refused, by what for";
        registry.register("memory_refused", refused, new.refused.clone());
        let limit = "Bytes beyond which calls are refused";
        registry.register_with_unit("memory_limit", limit, bytes(), new.limit.clone());
        let resident = "Bytes that the process takes, as last looked at";
        registry.register_with_unit("memory_resident", resident, bytes(), new.resident.clone());
        for pool in Pool::ALL {
            drop(new.used.get_or_create_owned(&pool.label()));
            drop(new.refused.get_or_create_owned(&pool.label()));
        }
        new
    }
}

/// The error of a reservation that finds no room now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no memory left for this now")]
pub struct Overloaded;

/// A function that returns how many bytes the process takes now; `None` where that is unknown.
type Probe = Box<dyn Fn() -> Option<usize> + Send + Sync>;

/// The budget of a process.
pub struct Memory {
    limit: usize,
    probe: Probe,
    pools: [(Gauge, Counter); Pool::ALL.len()],
    metrics: MemoryMetrics,
    /// The bytes that the process took at the last look, and those that were reserved then.
    seen: [AtomicUsize; 2],
    /// Whether the process took more than the limit at the last look.
    short: AtomicBool,
    /// The bytes of each namespace that has some, by pool.
    by_namespace: Mutex<HashMap<(usize, Namespace), usize>>,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl Memory {
    /// Makes a budget of `limit` bytes; `probe` returns how many the process takes.
    pub fn new(limit: usize, metrics: &MemoryMetrics, probe: Probe) -> Self {
        let pool = |pool: Pool| {
            let label = pool.label();
            let refused = metrics.refused.get_or_create_owned(&label);
            (metrics.used.get_or_create_owned(&label), refused)
        };
        metrics.limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
        Self {
            limit,
            probe,
            pools: Pool::ALL.map(pool),
            metrics: metrics.clone(),
            seen: [AtomicUsize::new(0), AtomicUsize::new(0)],
            short: AtomicBool::new(false),
            by_namespace: Mutex::default(),
        }
    }

    /// Makes a budget that nothing exceeds: for tests, and for tools that serve nobody.
    pub fn boundless() -> Self {
        Self::new(usize::MAX, &MemoryMetrics::default(), Box::new(|| None))
    }

    /// Returns the bytes beyond which calls are refused.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Returns whether nothing exceeds the budget.
    pub const fn is_boundless(&self) -> bool {
        self.limit == usize::MAX
    }

    /// Returns the bytes that a pool may take.
    pub const fn share(&self, pool: Pool) -> usize {
        self.limit / pool.part()
    }

    /// Returns the bytes that are reserved in a pool.
    pub fn used(&self, pool: Pool) -> usize {
        self.pools.get(place(pool)).map_or(0, |(used, _)| count(used))
    }

    /// Returns whether the process took more than the limit at the last look.
    pub fn is_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }

    /// Returns the bytes that the process took at the last look.
    pub fn resident(&self) -> usize {
        let [seen, _] = &self.seen;
        seen.load(Ordering::Relaxed)
    }

    /// Looks at the size of the process; returns `true` if it is more than the limit.
    pub fn look(&self) -> bool {
        let Some(resident) = (self.probe)() else { return false };
        let [seen, reserved] = &self.seen;
        seen.store(resident, Ordering::Relaxed);
        reserved.store(self.total(), Ordering::Relaxed);
        self.metrics.resident.set(i64::try_from(resident).unwrap_or(i64::MAX));
        let short = resident > self.limit;
        self.short.store(short, Ordering::Relaxed);
        short
    }

    /// Reserves bytes for a namespace, if there is room for them, and it has not got its part.
    pub fn reserve(
        self: &Arc<Self>,
        pool: Pool,
        namespace: &Namespace,
        bytes: usize,
    ) -> Result<Reservation, Overloaded> {
        let mut reservation = self.note_for(pool, namespace, 0);
        reservation.grow(bytes)?;
        Ok(reservation)
    }

    /// Reserves bytes for all, if there is room for them.
    pub fn reserve_for_all(
        self: &Arc<Self>,
        pool: Pool,
        bytes: usize,
    ) -> Result<Reservation, Overloaded> {
        let mut reservation = self.note(pool, 0);
        reservation.grow(bytes)?;
        Ok(reservation)
    }

    /// Counts bytes that are held whatever the limit.
    pub fn note(self: &Arc<Self>, pool: Pool, bytes: usize) -> Reservation {
        let mut new = Reservation { memory: Arc::clone(self), pool, namespace: None, bytes: 0 };
        new.set(bytes);
        new
    }

    /// Counts bytes that a namespace holds whatever the limit.
    pub fn note_for(
        self: &Arc<Self>,
        pool: Pool,
        namespace: &Namespace,
        bytes: usize,
    ) -> Reservation {
        let namespace = Some(namespace.clone());
        let mut new = Reservation { memory: Arc::clone(self), pool, namespace, bytes: 0 };
        new.set(bytes);
        new
    }

    /// Returns the bytes of a pool that a namespace has reserved.
    fn used_by(&self, pool: Pool, namespace: &Namespace) -> usize {
        let used = lock(&self.by_namespace);
        used.get(&(place(pool), namespace.clone())).copied().unwrap_or(0)
    }

    fn total(&self) -> usize {
        self.pools.iter().map(|(used, _)| count(used)).fold(0, usize::saturating_add)
    }

    /// Returns whether `more` bytes of a namespace find room in a pool, and in the process.
    fn has_room(&self, pool: Pool, namespace: Option<&Namespace>, more: usize) -> bool {
        let spare = if more <= SMALL { self.limit / SMALL_PART } else { 0 };
        let limit = self.limit.saturating_add(spare);
        let total = self.total();
        let [_, reserved] = &self.seen;
        let since = total.saturating_sub(reserved.load(Ordering::Relaxed));
        let resident = self.resident().saturating_add(since);
        let share_of_one = self.share(pool) / 8 * EIGHTHS_OF_ONE;
        let leaves_some = |namespace| {
            let used = self.used_by(pool, namespace);
            used.saturating_add(more) <= share_of_one.saturating_add(spare)
        };
        self.used(pool).saturating_add(more) <= self.share(pool).saturating_add(spare)
            && namespace.is_none_or(leaves_some)
            && total.saturating_add(more) <= limit
            && resident.saturating_add(more) <= limit
    }

    fn change(&self, pool: Pool, namespace: Option<&Namespace>, [from, to]: [usize; 2]) {
        if let Some((used, _)) = self.pools.get(place(pool)) {
            used.inc_by(signed(to).saturating_sub(signed(from)));
        }
        let Some(namespace) = namespace else { return };
        let key = (place(pool), namespace.clone());
        // A panic while it was held cannot leave a number half changed.
        let mut all = lock(&self.by_namespace);
        let used = all.get(&key).copied().unwrap_or(0).saturating_sub(from).saturating_add(to);
        if used == 0 {
            all.remove(&key);
        } else {
            all.insert(key, used);
        }
    }
}

fn place(pool: Pool) -> usize {
    Pool::ALL.iter().position(|one| *one == pool).unwrap_or(usize::MAX)
}

fn count(gauge: &Gauge) -> usize {
    usize::try_from(gauge.get()).unwrap_or(0)
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Bytes that are reserved until this is dropped.
#[derive(Debug)]
pub struct Reservation {
    memory: Arc<Memory>,
    pool: Pool,
    /// Whose bytes they are; `None`: of all.
    namespace: Option<Namespace>,
    bytes: usize,
}

impl Reservation {
    /// Returns the number of bytes that it holds.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Reserves more bytes, if there is room for them.
    pub fn grow(&mut self, more: usize) -> Result<(), Overloaded> {
        if !self.memory.has_room(self.pool, self.namespace.as_ref(), more) {
            if let Some((_, refused)) = self.memory.pools.get(place(self.pool)) {
                refused.inc();
            }
            return Err(Overloaded);
        }
        self.set(self.bytes.saturating_add(more));
        Ok(())
    }

    /// Changes the reservation to that many bytes, whatever the limit.
    pub fn set(&mut self, bytes: usize) {
        self.memory.change(self.pool, self.namespace.as_ref(), [self.bytes, bytes]);
        self.bytes = bytes;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(limit: usize, resident: usize) -> Arc<Memory> {
        let probe = Box::new(move || Some(resident));
        Arc::new(Memory::new(limit, &MemoryMetrics::default(), probe))
    }

    #[test]
    fn a_pool_takes_its_share_and_gives_it_back() {
        let memory = memory(4 << 20, 0);
        let held = memory.reserve_for_all(Pool::Requests, 900 << 10).unwrap();
        assert!(memory.reserve_for_all(Pool::Requests, 200 << 10).is_err());
        assert!(memory.reserve_for_all(Pool::Answers, 200 << 10).is_ok(), "another pool has room");
        assert_eq!(memory.used(Pool::Requests), 900 << 10);
        drop(held);
        assert_eq!(memory.used(Pool::Requests), 0);
        assert!(memory.reserve_for_all(Pool::Requests, 1 << 20).is_ok());
    }

    #[test]
    fn what_must_go_on_is_counted_and_leaves_less_to_others() {
        let memory = memory(4 << 20, 0);
        let mut driven = memory.note(Pool::Threads, 5 << 20);
        assert!(memory.reserve_for_all(Pool::Answers, 100 << 10).is_err());
        driven.set(1 << 20);
        assert!(memory.reserve_for_all(Pool::Answers, 100 << 10).is_ok());
    }

    #[test]
    fn a_process_that_has_grown_refuses_whatever_was_counted() {
        let memory = memory(4 << 20, 5 << 20);
        assert!(memory.reserve_for_all(Pool::Requests, 100 << 10).is_ok(), "nobody has looked yet");
        assert!(memory.look() && memory.is_short());
        assert!(memory.reserve_for_all(Pool::Requests, 100 << 10).is_err());
    }

    #[test]
    fn what_was_reserved_since_the_last_look_counts_beside_what_was_seen() {
        let memory = memory(8 << 20, 7 << 20);
        assert!(!memory.look());
        let held = memory.reserve_for_all(Pool::Answers, 700 << 10).unwrap();
        assert!(memory.reserve_for_all(Pool::Requests, 700 << 10).is_err());
        drop(held);
        assert!(memory.reserve_for_all(Pool::Requests, 700 << 10).is_ok());
    }

    #[test]
    fn small_calls_get_a_little_beyond_the_limit() {
        let memory = memory(16 << 20, (16 << 20) + 1);
        memory.look();
        assert!(memory.reserve_for_all(Pool::Requests, SMALL).is_ok());
        assert!(memory.reserve_for_all(Pool::Requests, SMALL + 1).is_err());
    }

    #[test]
    fn a_boundless_budget_refuses_nothing() {
        let memory = Arc::new(Memory::boundless());
        assert!(memory.reserve_for_all(Pool::Requests, 1 << 40).is_ok() && !memory.look());
    }

    #[test]
    fn one_namespace_leaves_a_part_of_each_pool_to_others() {
        let memory = memory(32 << 20, 0);
        let [one, other] = ["one", "other"].map(|name| Namespace::parse(name).unwrap());
        let mut held = memory.reserve(Pool::Requests, &one, 7 << 20).unwrap();
        assert!(held.grow(100 << 10).is_err() && held.grow(SMALL).is_ok());
        assert!(memory.reserve(Pool::Answers, &one, 100 << 10).is_ok(), "of another pool");
        assert!(memory.reserve(Pool::Requests, &other, 900 << 10).is_ok());
        drop(held);
        assert!(memory.reserve(Pool::Requests, &one, 7 << 20).is_ok());
        assert!(lock(&memory.by_namespace).is_empty());
    }
}
