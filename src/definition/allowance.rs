//! The budget that all evaluations of one piece of work share.
//!
//! Each has a budget of its own; a decision about a thread of a thousand steps makes a thousand of them.
//! Like those budgets it counts work, not time: the same decision always ends the same way.

use std::cell::Cell;

thread_local! {
    /// The budget that is left to the piece of work on this thread.
    static LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
}

/// Does some work whose evaluations may use that many units together: each is about a tenth of a
/// microsecond.
pub fn within<T>(units: u64, work: impl FnOnce() -> T) -> T {
    struct Restore(u64);
    impl Drop for Restore {
        fn drop(&mut self) {
            LEFT.set(self.0);
        }
    }
    let _restore = Restore(LEFT.replace(units));
    work()
}

/// The budget of an evaluation that would use `most`.
pub(super) fn grant(most: u64) -> u64 {
    LEFT.get().min(most)
}

/// Takes what an evaluation has used.
pub(super) fn take(used: u64) {
    LEFT.set(LEFT.get().saturating_sub(used));
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
}
