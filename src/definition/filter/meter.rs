//! The budget of one run of a filter, and how a run that outgrows it ends.
//!
//! The interpreter has no way to be interrupted, but it comes by here all the time: for every
//! term that it evaluates and for every value that is made or compared. When the budget is used
//! up the run is ended by unwinding to [`metered`]. Nothing else may catch that, and nothing that
//! runs on drop may spend.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What one run may use.
#[derive(Debug, Clone, Copy)]
pub(in crate::definition) struct Budget {
    /// Units of work: one for each term evaluated or value compared, and one for every
    /// [`BYTES_PER_UNIT`] bytes gone through.
    pub(in crate::definition) fuel: u64,
    /// Bytes that may be allocated for values, from the beginning to the end, and held by terms that are
    /// not done: what is freed on the way counts as well, unless it was only [`lend`]ed.
    pub(in crate::definition) memory: usize,
    /// Bytes of stack that recursion may take.
    pub(in crate::definition) stack: usize,
}

/// Bytes that are gone through for one unit of fuel.
const BYTES_PER_UNIT: u64 = 64;
/// Units that are spent between two looks at whether the run was cancelled: some milliseconds.
const SLICE: u64 = 50_000;

/// Why a run was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::definition) enum Stop {
    /// The fuel is used up.
    Fuel,
    /// Recursion went too deep.
    Stack,
    /// A value grew too large or too deep.
    Value,
    /// The memory is used up.
    Memory,
    /// Nobody wants the result any more.
    Cancelled,
    /// The interpreter itself failed.
    Failed,
}

thread_local! {
    /// What is left of the slice of fuel that the run on this thread has.
    static FUEL: Cell<u64> = const { Cell::new(u64::MAX) };
    /// The fuel behind that slice.
    static RESERVE: Cell<u64> = const { Cell::new(0) };
    /// Whether the result is wanted no longer.
    static CANCELLED: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
    /// What is left of its memory.
    static MEMORY: Cell<usize> = const { Cell::new(usize::MAX) };
    /// The lowest address that its stack may reach (stacks grow down).
    static FLOOR: Cell<usize> = const { Cell::new(0) };
}

/// Runs `work` within a budget.
pub(in crate::definition) fn metered<T>(
    budget: Budget,
    work: impl FnOnce() -> T,
) -> Result<T, Stop> {
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

/// Does `work` on this thread, in which a run ends soon after the flag is set.
pub(in crate::definition) fn cancellable<T>(flag: &Arc<AtomicBool>, work: impl FnOnce() -> T) -> T {
    struct Restore(Option<Arc<AtomicBool>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CANCELLED.set(self.0.take());
        }
    }
    let _restore = Restore(CANCELLED.replace(Some(Arc::clone(flag))));
    work()
}

/// What is left of the fuel and of the memory of the run on this thread.
#[cfg(test)]
pub(super) fn left() -> (u64, usize) {
    (FUEL.get().saturating_add(RESERVE.get()), MEMORY.get())
}

/// Ends the run on this thread.
#[cold]
pub(in crate::definition) fn stop(why: Stop) -> ! {
    // Not a panic: no hook runs and nothing is printed.
    resume_unwind(Box::new(why))
}

/// Takes units of fuel.
pub(in crate::definition) fn spend(units: u64) {
    match FUEL.get().checked_sub(units) {
        Some(left) => FUEL.set(left),
        None => spend_reserve(units),
    }
}

/// Takes units of fuel beyond the slice, and makes the next one.
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

/// Takes the fuel for going through that many bytes.
pub(in crate::definition) fn spend_bytes(bytes: usize) {
    spend(1 + u64::try_from(bytes).unwrap_or(u64::MAX) / BYTES_PER_UNIT);
}

/// Takes memory that is about to be allocated. Whatever allocates asks here first: nothing else
/// bounds what a run may hold.
pub(in crate::definition) fn hold(bytes: usize) {
    match MEMORY.get().checked_sub(bytes) {
        Some(left) => MEMORY.set(left),
        None => stop(Stop::Memory),
    }
}

/// Takes memory for one of the values that a collection is about to hold, and for the collection
/// that grows by it.
pub(in crate::definition) fn hold_slot() {
    hold(SLOT);
}

/// What the head of a string or an array takes in memory, in bytes: its counters, lengths, and what the
/// allocator rounds up.
pub(in crate::definition) const HEAD: usize = 64;
/// What a slot of a collection takes, in bytes, while the collection doubles as it grows.
pub(in crate::definition) const SLOT: usize = 32;

/// Memory that is given back when this is dropped.
#[derive(Debug)]
pub(in crate::definition) struct Lent(usize);

impl Drop for Lent {
    fn drop(&mut self) {
        MEMORY.set(MEMORY.get().saturating_add(self.0));
    }
}

/// Takes memory for what is freed again soon.
pub(in crate::definition) fn lend(bytes: usize) -> Lent {
    hold(bytes);
    Lent(bytes)
}

/// Notes that a term is evaluated.
pub(in crate::definition) fn step() {
    spend(1);
    if stack_address() < FLOOR.get() {
        stop(Stop::Stack);
    }
}

/// About where the stack of this thread ends now.
#[inline(never)]
fn stack_address() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&here)).addr()
}
