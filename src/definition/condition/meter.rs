//! The budget of one evaluation: work and memory, counted in units of about a tenth of a
//! microsecond.
//!
//! It counts work, not time, so that the same condition over the same data always ends the same
//! way.

use std::cell::Cell;

/// The units of one evaluation: less than half a second of work, and 64 MiB at the very most.
pub(super) const BUDGET: u64 = 4_000_000;

/// The bytes that are read for one unit.
const READ: usize = 64;
/// The bytes that are copied for one unit.
const COPIED: usize = 16;

/// The reason why an evaluation has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// The budget is used up, which ends the whole evaluation.
    Spent,
    /// The expression makes no sense for this data.
    Failed(String),
}

impl Stop {
    pub(super) fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }
}

/// The units that are left of a budget.
#[derive(Debug)]
pub(super) struct Meter(Cell<u64>);

impl Meter {
    pub(super) const fn new(units: u64) -> Self {
        Self(Cell::new(units))
    }

    pub(super) fn left(&self) -> u64 {
        self.0.get()
    }

    /// Pays for this many steps.
    pub(super) fn spend(&self, units: u64) -> Result<(), Stop> {
        self.0.set(self.0.get().checked_sub(units).ok_or(Stop::Spent)?);
        Ok(())
    }

    /// Pays for reading bytes.
    pub(super) fn read(&self, bytes: usize) -> Result<(), Stop> {
        self.spend(count(bytes / READ))
    }

    /// Pays for keeping a copy of bytes.
    pub(super) fn copy(&self, bytes: usize) -> Result<(), Stop> {
        self.spend(1 + count(bytes / COPIED))
    }

    /// Pays for this many new values.
    pub(super) fn make(&self, values: usize) -> Result<(), Stop> {
        self.spend(count(values.saturating_mul(2)))
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
