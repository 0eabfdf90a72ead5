//! Runs foreign recursive code (parsers, filters, validators) where it cannot overflow the stack.
//!
//! A stack overflow ends the process, whatever caught what. Recursion that authored text can
//! drive deep therefore runs on a thread of its own, with a stack that the limits of the caller
//! cannot exhaust. The memory is reserved, not used, until the recursion gets there.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The error of work that panicked.
const FAILED: &str = "its evaluation failed";

/// The stack of such a thread, in bytes: the deepest recursion that the limits on program text and
/// on steps of evaluation allow, times the largest frame seen, times two.
const STACK: usize = 256 * 1024 * 1024;

thread_local! {
    /// Whether this thread has such a stack.
    static IS_LARGE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` on a thread with a large stack and waits for it. A panic in it, or a thread that
/// can't be started, is an error for the caller to report. On such a thread it is run in place: what
/// is checked on the way to it is not deep.
pub fn with_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    if IS_LARGE.get() {
        return catch_unwind(AssertUnwindSafe(work)).map_err(|_| FAILED.to_owned());
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("large-stack".to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, || {
                IS_LARGE.set(true);
                work()
            })
            .map_err(|fault| format!("no thread to evaluate it on: {fault}"))?;
        thread.join().map_err(|_| FAILED.to_owned())
    })
}
