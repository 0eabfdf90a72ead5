//! How much of a thread's journal is younger than its last snapshot.

use crate::machine::{ThreadState, snapshot};

/// The journal since the last snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::runtime) struct Tail {
    /// Its events.
    pub(in crate::runtime) events: u64,
    /// Their bytes.
    pub(in crate::runtime) bytes: u64,
    /// The bytes of the last snapshot; if there is none, what one of the thread's beginning would
    /// have: a plan of a thousand steps is not worth one before much of it was done.
    pub(in crate::runtime) base: u64,
}

impl Tail {
    /// Nothing since the beginning of a thread.
    pub(in crate::runtime) fn of(beginning: &ThreadState) -> Self {
        Self::after(snapshot::estimate(beginning))
    }

    /// Nothing since a snapshot of so many bytes.
    pub(in crate::runtime) fn after(base: usize) -> Self {
        Self { events: 0, bytes: 0, base: wide(base) }
    }

    /// More events.
    pub(in crate::runtime) fn grow(&mut self, events: usize, bytes: usize) {
        self.events = self.events.saturating_add(wide(events));
        self.bytes = self.bytes.saturating_add(wide(bytes));
    }

    /// Whether a snapshot now would spare at least so many events, and no fewer bytes than the
    /// last one has; `every` 0 is never.
    pub(in crate::runtime) const fn outweighs(&self, every: u64) -> bool {
        every > 0 && self.events >= every && self.bytes >= self.base
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
