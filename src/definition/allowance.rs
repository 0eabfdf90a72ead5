//! The budgets that one piece of work has: for all its evaluations, and for filling in templates.
//!
//! Each evaluation and each template has a bound of its own; a decision about a thread of a thousand
//! steps makes a thousand of them. Like those bounds they count work, not time: the same decision always
//! ends the same way.

use std::cell::Cell;

/// The bytes that the templates of one piece of work may read and write: a second or two. Work that can
/// be cut into pieces ends each of them much earlier (see [`is_enough`]).
const MAX_FILLED: usize = 1 << 30;
/// The bytes after which the rest of a piece of work is better left to the next one: some ten
/// milliseconds, so that none holds up a worker, or fills its memory, however many steps become ready at
/// once.
const ENOUGH: usize = 16 << 20;

thread_local! {
    /// The budget that is left to the piece of work on this thread.
    static LEFT: Cell<Budget> = const { Cell::new(Budget { units: u64::MAX, bytes: usize::MAX }) };
}

#[derive(Debug, Clone, Copy)]
struct Budget {
    /// For evaluations, each about a tenth of a microsecond.
    units: u64,
    /// For templates: bytes that are read and written.
    bytes: usize,
}

/// Does some work whose evaluations may use that many units together: each is about a tenth of a
/// microsecond. Its templates may read and write a gigabyte together.
pub fn within<T>(units: u64, work: impl FnOnce() -> T) -> T {
    struct Restore(Budget);
    impl Drop for Restore {
        fn drop(&mut self) {
            LEFT.set(self.0);
        }
    }
    let _restore = Restore(LEFT.replace(Budget { units, bytes: MAX_FILLED }));
    work()
}

/// Returns whether templates have made enough work in this piece of it, so that the rest is better left
/// to the next one.
pub fn is_enough() -> bool {
    filled() >= ENOUGH
}

/// Returns the bytes that templates have read and written so far in this piece of work.
fn filled() -> usize {
    MAX_FILLED.saturating_sub(LEFT.get().bytes)
}

/// The budget of an evaluation that would use `most`.
pub(super) fn grant(most: u64) -> u64 {
    LEFT.get().units.min(most)
}

/// Takes what an evaluation has used.
pub(super) fn take(used: u64) {
    let left = LEFT.get();
    LEFT.set(Budget { units: left.units.saturating_sub(used), ..left });
}

/// The bytes that one more template may read and write, of the `most` that it would.
pub(super) fn fillable(most: usize) -> usize {
    LEFT.get().bytes.min(most)
}

/// Takes what a template has read and written.
pub(super) fn fill(bytes: usize) {
    let left = LEFT.get();
    LEFT.set(Budget { bytes: left.bytes.saturating_sub(bytes), ..left });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_evaluation_uses_the_next_one_lacks() {
        within(100, || {
            assert_eq!(grant(60), 60);
            take(60);
            assert_eq!(grant(60), 40);
            within(10, || assert_eq!(grant(60), 10));
            take(1_000);
            assert_eq!(grant(60), 0);
        });
        assert_eq!(grant(60), 60);
    }

    #[test]
    fn templates_of_one_piece_of_work_share_a_budget() {
        within(0, || {
            assert_eq!((filled(), fillable(60)), (0, 60));
            fill(MAX_FILLED - 10);
            assert_eq!((filled(), fillable(60)), (MAX_FILLED - 10, 10));
            within(0, || assert_eq!(fillable(60), 60));
        });
        assert_eq!((filled(), fillable(60)), (0, 60), "outside of it nothing is counted");
    }
}
