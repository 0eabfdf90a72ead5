//! The size of a thread's journal since its last snapshot.

use crate::machine::{ThreadState, snapshot};

/// The journal since the last snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::runtime) struct Tail {
    /// The number of events.
    pub(in crate::runtime) events: u64,
    /// The bytes of these events.
    pub(in crate::runtime) bytes: u64,
    /// The bytes of the last snapshot. If there is none, the bytes that a snapshot of the thread's
    /// beginning would have: a plan of a thousand steps is not worth one before much of it was
    /// done.
    pub(in crate::runtime) base: u64,
}

impl Tail {
    /// The empty tail at the beginning of a thread.
    pub(in crate::runtime) fn of(beginning: &ThreadState) -> Self {
        Self::after(snapshot::estimate(beginning))
    }

    /// The empty tail after a snapshot of `base` bytes.
    pub(in crate::runtime) fn after(base: usize) -> Self {
        Self { events: 0, bytes: 0, base: wide(base) }
    }

    /// Adds events.
    pub(in crate::runtime) fn grow(&mut self, events: usize, bytes: usize) {
        self.events = self.events.saturating_add(wide(events));
        self.bytes = self.bytes.saturating_add(wide(bytes));
    }

    /// Returns whether a snapshot now would save reading at least `every` events, and at least as
    /// many bytes as the last one has; never if `every` is 0.
    pub(in crate::runtime) const fn outweighs(&self, every: u64) -> bool {
        every > 0 && self.events >= every && self.bytes >= self.base
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
