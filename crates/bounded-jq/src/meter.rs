//! The budget of one run, and the end of a run that outgrows it.
//!
//! The interpreter cannot be interrupted, but it calls the meter all the time: for every term that
//! it evaluates, and for every value that is made or compared. When the budget is used up, the run
//! ends by unwinding to [`metered`]. Nothing else may catch that, and nothing that runs on drop may
//! spend. Other foreign code that calls back often enough can be bounded in the same way.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The budget of one run.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Units of work: one for each term evaluated or value compared, and one for every
    /// [`BYTES_PER_UNIT`] bytes read.
    pub fuel: u64,
    /// The bytes that may be allocated for values, and held by unfinished terms, over the whole
    /// run. Memory that is freed on the way still counts, unless it was only [`lend`]ed.
    pub memory: usize,
    /// The bytes of stack that recursion may take.
    pub stack: usize,
}

/// The bytes that are read for one unit of fuel.
const BYTES_PER_UNIT: u64 = 64;
/// The units that are spent between two checks whether the run was cancelled: some milliseconds.
const SLICE: u64 = 50_000;

/// The reason why a run was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The fuel is used up.
    Fuel,
    /// Recursion went too deep.
    Stack,
    /// A value grew too large or too deep.
    Value,
    /// The memory is used up.
    Memory,
    /// The result is not wanted any more.
    Cancelled,
    /// The interpreter itself failed.
    Failed,
}

thread_local! {
    /// The rest of the current slice of fuel of the run on this thread.
    static FUEL: Cell<u64> = const { Cell::new(u64::MAX) };
    /// The fuel behind that slice.
    static RESERVE: Cell<u64> = const { Cell::new(0) };
    /// The flag that cancels the run on this thread, if there is one.
    static CANCELLED: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
    /// The memory that is left of the run's budget.
    static MEMORY: Cell<usize> = const { Cell::new(usize::MAX) };
    /// The lowest address that the run's stack may reach (stacks grow down).
    static FLOOR: Cell<usize> = const { Cell::new(0) };
}

/// Runs `work` within a budget.
pub fn metered<T>(budget: Budget, work: impl FnOnce() -> T) -> Result<T, Stop> {
    struct Restore(u64, u64, usize, usize);
    impl Drop for Restore {
        fn drop(&mut self) {
            FUEL.set(self.0);
            RESERVE.set(self.1);
            MEMORY.set(self.2);
            FLOOR.set(self.3);
        }
    }
    let _restore = Restore(
        FUEL.replace(0),
        RESERVE.replace(budget.fuel),
        MEMORY.replace(budget.memory),
        FLOOR.replace(stack_address().saturating_sub(budget.stack)),
    );
    catch_unwind(AssertUnwindSafe(work))
        .map_err(|payload| payload.downcast_ref().copied().unwrap_or(Stop::Failed))
}

/// Does `work` on this thread. A run in it ends soon after the flag is set.
pub(crate) fn cancellable<T>(flag: &Arc<AtomicBool>, work: impl FnOnce() -> T) -> T {
    struct Restore(Option<Arc<AtomicBool>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CANCELLED.set(self.0.take());
        }
    }
    let _restore = Restore(CANCELLED.replace(Some(Arc::clone(flag))));
    work()
}

/// Returns the fuel and the memory that are left to the run on this thread.
#[cfg(test)]
pub(super) fn left() -> (u64, usize) {
    (FUEL.get().saturating_add(RESERVE.get()), MEMORY.get())
}

/// Ends the run on this thread.
#[cold]
pub(crate) fn stop(why: Stop) -> ! {
    // This is not a panic: no hook runs and nothing is printed.
    resume_unwind(Box::new(why))
}

/// Takes units of fuel.
pub fn spend(units: u64) {
    match FUEL.get().checked_sub(units) {
        Some(left) => FUEL.set(left),
        None => spend_reserve(units),
    }
}

/// Takes units of fuel beyond the slice, and starts the next slice.
#[cold]
fn spend_reserve(units: u64) {
    if CANCELLED.with_borrow(|flag| flag.as_ref().is_some_and(|set| set.load(Ordering::Relaxed))) {
        stop(Stop::Cancelled);
    }
    let all = FUEL.get().saturating_add(RESERVE.get());
    let Some(left) = all.checked_sub(units) else { stop(Stop::Fuel) };
    let slice = left.min(SLICE);
    FUEL.set(slice);
    RESERVE.set(left - slice);
}

/// Takes the fuel for reading this many bytes.
pub(crate) fn spend_bytes(bytes: usize) {
    spend(1 + u64::try_from(bytes).unwrap_or(u64::MAX) / BYTES_PER_UNIT);
}

/// Takes memory that is about to be allocated. Every allocation for values has to be preceded by
/// this: nothing else bounds the memory of a run.
pub fn hold(bytes: usize) {
    match MEMORY.get().checked_sub(bytes) {
        Some(left) => MEMORY.set(left),
        None => stop(Stop::Memory),
    }
}

/// Takes memory for one of the values that a collection is about to hold, and for the growth of the
/// collection.
pub(crate) fn hold_slot() {
    hold(SLOT);
}

/// The memory of the head of a string or an array, in bytes: its counters, its lengths, and the
/// rounding of the allocator.
pub const HEAD: usize = 64;
/// The memory of a slot of a collection, in bytes, while the collection doubles as it grows.
pub(crate) const SLOT: usize = 32;

/// Memory that is returned to the budget when this is dropped.
#[derive(Debug)]
pub(crate) struct Lent(usize);

impl Drop for Lent {
    fn drop(&mut self) {
        MEMORY.set(MEMORY.get().saturating_add(self.0));
    }
}

/// Takes memory that is freed again soon.
pub(crate) fn lend(bytes: usize) -> Lent {
    hold(bytes);
    Lent(bytes)
}

/// Pays for the evaluation of a term and checks the depth of the stack.
pub fn step() {
    spend(1);
    if stack_address() < FLOOR.get() {
        stop(Stop::Stack);
    }
}

/// Returns approximately where the stack of this thread ends now.
#[inline(never)]
fn stack_address() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&here)).addr()
}
