//! The budget of one run of a filter, and how a run that outgrows it ends.
//!
//! The interpreter has no way to be interrupted, but it comes by here all the time: for every
//! term that it evaluates and for every value that is made or compared. When the budget is used
//! up the run is ended by unwinding to [`metered`]. Nothing else may catch that, and nothing that
//! runs on drop may spend.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// What one run may use.
#[derive(Debug, Clone, Copy)]
pub(in crate::definition) struct Budget {
    /// Units of work: one for each term evaluated or value compared, and one for every
    /// [`BYTES_PER_UNIT`] bytes copied. It bounds time and memory alike.
    pub(in crate::definition) fuel: u64,
    /// Bytes of stack that recursion may take.
    pub(in crate::definition) stack: usize,
}

/// Bytes that are copied for one unit of fuel.
const BYTES_PER_UNIT: u64 = 64;

/// Why a run was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::definition) enum Stop {
    /// The fuel is used up.
    Fuel,
    /// Recursion went too deep.
    Stack,
    /// A value grew too large or too deep.
    Value,
    /// The interpreter itself failed.
    Failed,
}

thread_local! {
    /// What is left of the fuel of the run on this thread.
    static FUEL: Cell<u64> = const { Cell::new(u64::MAX) };
    /// The lowest address that its stack may reach (stacks grow down).
    static FLOOR: Cell<usize> = const { Cell::new(0) };
}

/// Runs `work` within a budget.
pub(in crate::definition) fn metered<T>(
    budget: Budget,
    work: impl FnOnce() -> T,
) -> Result<T, Stop> {
    struct Restore(u64, usize);
    impl Drop for Restore {
        fn drop(&mut self) {
            FUEL.set(self.0);
            FLOOR.set(self.1);
        }
    }
    let _restore = Restore(
        FUEL.replace(budget.fuel),
        FLOOR.replace(stack_address().saturating_sub(budget.stack)),
    );
    catch_unwind(AssertUnwindSafe(work))
        .map_err(|payload| payload.downcast_ref().copied().unwrap_or(Stop::Failed))
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
        None => stop(Stop::Fuel),
    }
}

/// Takes the fuel for handling that many bytes.
pub(in crate::definition) fn spend_bytes(bytes: usize) {
    spend(1 + u64::try_from(bytes).unwrap_or(u64::MAX) / BYTES_PER_UNIT);
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
