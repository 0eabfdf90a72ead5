//! The budget of checking one workflow.
//!
//! Each program, condition, template and schema of a workflow is bounded, and a workflow may hold a
//! thousand of each. So whoever compiles one pays for it here first; once nothing is left, the workflow
//! is refused at the place that was reached. Work is counted, not time: the same workflow is always
//! refused at the same place. What the store holds was checked when it came, and is read whatever it
//! costs.

use std::cell::Cell;

/// Work of checking one workflow, in units of about half a microsecond: less than half a second. A
/// thousand steps with a filter, a condition and a check of some 50 bytes each come to 760,000.
const MAX_WORK: u64 = 1_000_000;
/// Units for a filter, and for each byte of it.
const FILTER: (u64, u64) = (60, 1);
/// Units for a condition or a check, and for each byte of it: its parser looks at a byte many times.
const CONDITION: (u64, u64) = (150, 3);
/// Units for a schema, and for each byte of it.
const SCHEMA: (u64, u64) = (200, 1);
/// Bytes of a template that are compiled for a unit.
const TEMPLATE_BYTES: u64 = 16;

thread_local! {
    /// The budget that is left to the check on this thread: work, and weight in bytes.
    static LEFT: Cell<(u64, usize)> = const { Cell::new((u64::MAX, usize::MAX)) };
}

/// Checks a workflow whose plan may weigh that much.
pub(super) fn within<T>(weight: usize, work: impl FnOnce() -> T) -> T {
    struct Restore((u64, usize));
    impl Drop for Restore {
        fn drop(&mut self) {
            LEFT.set(self.0);
        }
    }
    let _restore = Restore(LEFT.replace((MAX_WORK, weight)));
    work()
}

/// Pays for a filter of that many bytes.
pub(super) fn filter(bytes: usize) -> Result<(), String> {
    take(FILTER, bytes)
}

/// Pays for a condition or a check of that many bytes.
pub(super) fn condition(bytes: usize) -> Result<(), String> {
    take(CONDITION, bytes)
}

/// Pays for a schema of that many bytes.
pub(super) fn schema(bytes: usize) -> Result<(), String> {
    take(SCHEMA, bytes)
}

/// Pays for a template of that many bytes.
pub(super) fn template(bytes: usize) -> Result<(), String> {
    spend(number(bytes) / TEMPLATE_BYTES)
}

/// Takes what something that was compiled weighs.
pub(super) fn weigh(bytes: usize) -> Result<(), String> {
    let (work, weight) = LEFT.get();
    let left = weight.checked_sub(bytes);
    LEFT.set((work, left.unwrap_or(0)));
    if left.is_some() {
        return Ok(());
    }
    // No more is compiled after this.
    LEFT.set((0, 0));
    Err(TOO_HEAVY.to_owned())
}

/// Whether nothing is left.
pub(super) fn is_spent() -> bool {
    LEFT.get().0 == 0
}

/// The fault of the first part that was not compiled.
const TOO_MUCH: &str = "checking this workflow takes more work than is allowed for one: its programs, \
    conditions, templates and schema are too long together, and here nothing was left";
/// The fault of the parts after it, in the same step.
const UNSEEN: &str = "this was not looked at any more: nothing was left for it";
/// The fault of the part that made a plan too heavy.
const TOO_HEAVY: &str = "up to here this workflow takes more memory than is allowed for one";

fn take((each, byte): (u64, u64), bytes: usize) -> Result<(), String> {
    spend(each.saturating_add(byte.saturating_mul(number(bytes))))
}

fn spend(units: u64) -> Result<(), String> {
    let (work, weight) = LEFT.get();
    if work == 0 {
        return Err(UNSEEN.to_owned());
    }
    match work.checked_sub(units) {
        Some(left) if left > 0 => {
            LEFT.set((left, weight));
            Ok(())
        }
        _ => {
            LEFT.set((0, weight));
            Err(TOO_MUCH.to_owned())
        }
    }
}

fn number(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_part_costs_the_next_one_lacks() {
        within(1_000, || {
            assert_eq!(filter(900_000), Ok(()));
            assert_eq!(condition(10), Ok(()));
            assert!(!is_spent());
            assert_eq!(schema(900_000), Err(TOO_MUCH.to_owned()));
            assert!(is_spent());
            assert_eq!(template(1), Err(UNSEEN.to_owned()));
        });
        assert_eq!(filter(1 << 40), Ok(()), "outside a check nothing is counted");
    }

    #[test]
    fn a_plan_that_grows_too_heavy_is_not_grown_further() {
        within(1_000, || {
            assert_eq!((weigh(600), weigh(600)), (Ok(()), Err(TOO_HEAVY.to_owned())));
            assert!(is_spent());
        });
    }
}
