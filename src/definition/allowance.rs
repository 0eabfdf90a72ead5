//! The budgets that one piece of work has: for all its evaluations, and for filling in templates.
//!
//! Each evaluation and each template has a bound of its own; a decision about a thread of a thousand
//! steps makes a thousand of them. Like those bounds they count work, not time: the same decision always
//! ends the same way.

use std::cell::Cell;

/// The bytes that the templates of one decision may read and write: a second or two. Work that can be
/// cut into pieces ends each of them much earlier (see [`is_enough`]).
const MAX_FILLED: usize = 1 << 30;
/// The bytes after which the rest of a piece of work is better left to the next one: some ten
/// milliseconds, so that none holds up a worker, or fills its memory, however many steps become ready at
/// once.
const ENOUGH: usize = 16 << 20;
/// The work that all conditions and checks of one decision may do, in units of about a tenth of a
/// microsecond. It is a few seconds, enough for a thousand of them over a megabyte; nobody waits
/// for it, since large decisions are made apart.
const DECISION_UNITS: u64 = 20_000_000;

/// The work that one piece of it may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// For evaluations, in units of about a tenth of a microsecond.
    units: u64,
    /// For templates: bytes that are read and written.
    bytes: usize,
}

impl Allowance {
    /// The allowance of one decision of the machine.
    pub const DECISION: Self = Self { units: DECISION_UNITS, bytes: MAX_FILLED };
    /// The allowance of filling in what attempts are given.
    pub const ATTEMPTS: Self = Self { units: 0, bytes: MAX_FILLED };
    /// The allowance of looking at a thread that nobody changes: what it does not reach is not shown.
    pub const LOOK: Self = Self { units: 0, bytes: ENOUGH };
    /// No bound, where the text is nobody's: for tests and tools.
    pub const BOUNDLESS: Self = Self { units: u64::MAX, bytes: usize::MAX };
    const NONE: Self = Self { units: 0, bytes: 0 };
}

/// The allowance of a piece of work, and what is left of it.
#[derive(Debug, Clone, Copy)]
struct Account {
    given: Allowance,
    left: Allowance,
}

impl Account {
    const fn of(given: Allowance) -> Self {
        Self { given, left: given }
    }
}

/// The account outside of any piece of work: nothing is evaluated there, so that no caller can
/// forget its bound. Unit tests evaluate single texts without one.
const OUTSIDE: Account =
    Account::of(if cfg!(test) { Allowance::BOUNDLESS } else { Allowance::NONE });

thread_local! {
    /// The account of the piece of work on this thread.
    static ACCOUNT: Cell<Account> = const { Cell::new(OUTSIDE) };
}

/// Does a piece of work, all of whose evaluations and templates share an allowance.
pub fn within<T>(allowance: Allowance, work: impl FnOnce() -> T) -> T {
    struct Restore(Account);
    impl Drop for Restore {
        fn drop(&mut self) {
            ACCOUNT.set(self.0);
        }
    }
    let _restore = Restore(ACCOUNT.replace(Account::of(allowance)));
    work()
}

/// Returns whether templates have made enough work in this piece of it, so that the rest is better left
/// to the next one.
pub fn is_enough() -> bool {
    filled() >= ENOUGH
}

/// Returns the bytes that templates have read and written so far in this piece of work.
fn filled() -> usize {
    let Account { given, left } = ACCOUNT.get();
    given.bytes.saturating_sub(left.bytes)
}

/// The budget of an evaluation that would use `most`.
pub(super) fn grant(most: u64) -> u64 {
    ACCOUNT.get().left.units.min(most)
}

/// Takes what an evaluation has used.
pub(super) fn take(used: u64) {
    let mut account = ACCOUNT.get();
    account.left.units = account.left.units.saturating_sub(used);
    ACCOUNT.set(account);
}

/// The bytes that one more template may read and write, of the `most` that it would.
pub(super) fn fillable(most: usize) -> usize {
    ACCOUNT.get().left.bytes.min(most)
}

/// Takes what a template has read and written.
pub(super) fn fill(bytes: usize) {
    let mut account = ACCOUNT.get();
    account.left.bytes = account.left.bytes.saturating_sub(bytes);
    ACCOUNT.set(account);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_evaluation_uses_the_next_one_lacks() {
        let units = |units| Allowance { units, bytes: 0 };
        within(units(100), || {
            assert_eq!(grant(60), 60);
            take(60);
            assert_eq!(grant(60), 40);
            within(units(10), || assert_eq!(grant(60), 10));
            take(1_000);
            assert_eq!(grant(60), 0);
        });
        assert_eq!(grant(60), 60);
    }

    #[test]
    fn templates_of_one_piece_of_work_share_a_budget() {
        within(Allowance::DECISION, || {
            assert_eq!((filled(), fillable(60)), (0, 60));
            fill(MAX_FILLED - 10);
            assert_eq!((filled(), fillable(60)), (MAX_FILLED - 10, 10));
            within(Allowance::LOOK, || assert_eq!(fillable(60), 60));
        });
        assert_eq!((filled(), fillable(60)), (0, 60), "outside of it nothing is counted");
    }
}
