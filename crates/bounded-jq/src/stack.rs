//! Runs foreign recursive code (parsers, filters, validators) where it cannot overflow the stack.
//!
//! A stack overflow ends the process, whatever caught what. Recursion that authored text can
//! drive deep therefore runs on a thread of its own, with a stack that the limits of the caller
//! cannot exhaust. The memory is reserved, not used, until the recursion gets there.
//!
//! The caller's thread only waits meanwhile. Whoever wants to know what a thread does finds the one
//! that works for it by [`helper_of`].

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The error of work that panicked.
const FAILED: &str = "its evaluation failed";

/// The stack of such a thread, in bytes: the deepest recursion that the limits on program text and
/// on steps of evaluation allow, times the largest frame seen, times two.
const STACK: usize = 256 * 1024 * 1024;

thread_local! {
    /// Whether this thread has such a stack.
    static IS_LARGE: Cell<bool> = const { Cell::new(false) };
    /// The number of this thread.
    static OWN: u32 = own();
}

/// The threads with a large stack that work, by the thread that waits for each.
static HELPERS: Mutex<BTreeMap<u32, u32>> = Mutex::new(BTreeMap::new());

fn helpers() -> MutexGuard<'static, BTreeMap<u32, u32>> {
    // Each change leaves it whole.
    HELPERS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(target_os = "linux")]
fn own() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()
}

#[cfg(not(target_os = "linux"))]
const fn own() -> u32 {
    0
}

/// Returns the kernel's number of the calling thread, or 0 where there is none; each thread asks for
/// it once.
pub fn own_number() -> u32 {
    OWN.with(|number| *number)
}

/// Returns the number of the thread that works in [`with_large_stack`] for another one, by the number
/// of that, which waits for it.
pub fn helper_of(waiting: u32) -> Option<u32> {
    helpers().get(&waiting).copied()
}

/// The entry of a thread that works for another, until it is dropped.
struct Helps(u32);

impl Helps {
    fn enter(waiting: u32) -> Self {
        if waiting > 0 {
            helpers().insert(waiting, own_number());
        }
        Self(waiting)
    }
}

impl Drop for Helps {
    fn drop(&mut self) {
        helpers().remove(&self.0);
    }
}

/// The error of work that was not begun: the process can have no thread for it now, with its stack.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no thread to evaluate it on: {0}")]
pub struct NoThread(String);

/// Runs `work` on a thread with a large stack and waits for it. A panic in it, or a thread that
/// can't be started, is an error for the caller to report. On such a thread it is run in place: what
/// is checked on the way to it is not deep.
pub fn with_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    let caught = || catch_unwind(AssertUnwindSafe(work)).map_err(|_| FAILED.to_owned());
    on_large_stack(caught).unwrap_or_else(|none| Err(none.to_string()))
}

/// Runs `work` as [`with_large_stack`] does, for callers that try again later if there is no thread
/// for it: what `work` itself runs on a large stack needs no other one. A panic in it goes on here.
pub fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, NoThread> {
    if IS_LARGE.get() {
        return Ok(work());
    }
    let waiting = own_number();
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("large-stack".to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, || {
                IS_LARGE.set(true);
                let _helps = Helps::enter(waiting);
                work()
            })
            .map_err(|fault| NoThread(fault.to_string()))?;
        Ok(thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn the_thread_that_works_for_another_is_known_for_as_long_as_it_does() {
        let waiting = own_number();
        let seen = || (own_number(), helper_of(waiting));
        assert_eq!(seen(), (waiting, None));
        let (helper, known) = with_large_stack(seen).unwrap();
        assert_ne!(helper, waiting);
        assert_eq!(known, Some(helper));
        assert_eq!(helper_of(waiting), None);
        let deeper = with_large_stack(|| with_large_stack(seen).unwrap()).unwrap();
        assert_eq!(deeper.1, Some(deeper.0), "it works in place");
        let broken: Result<(), String> = with_large_stack(|| panic!("broken"));
        assert_eq!((broken, helper_of(waiting)), (Err(FAILED.to_owned()), None));
    }
}
