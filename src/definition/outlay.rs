//! The budget of checking one workflow.
//!
//! Each program, condition, template and schema of a workflow is bounded, and a workflow may hold a
//! thousand of each. So whoever compiles one pays for it here first; once nothing is left, the workflow
//! is refused at the place that was reached. Work is counted, not time: the same workflow is always
//! refused at the same place. What the store holds was checked when it came, and is read whatever it
//! costs.

use std::cell::Cell;

/// Work of checking one workflow, in units of about half a microsecond: less than half a second. A
/// thousand steps with a filter, a condition and a check of some 50 bytes each come to 800,000.
const MAX_WORK: u64 = 1_000_000;
/// Units for a filter, and for each byte of it.
const FILTER: (u64, u64) = (60, 1);
/// Units for a schema, and for each byte of it.
const SCHEMA: (u64, u64) = (200, 1);
/// Bytes of a template that are compiled for a unit.
const TEMPLATE_BYTES: u64 = 16;
/// Conditions and checks that may fail to compile. Each may cost two milliseconds more than its price:
/// the parser tries to go on after a fault.
const MAX_FAILED_CONDITIONS: u32 = 20;

/// The budget of a check.
#[derive(Clone, Copy)]
struct Left {
    work: u64,
    /// Bytes.
    weight: usize,
    failing_conditions: u32,
    /// Whether this is the budget of a check.
    bounded: bool,
}

/// The budget outside a check.
const UNBOUNDED: Left =
    Left { work: u64::MAX, weight: usize::MAX, failing_conditions: u32::MAX, bounded: false };

thread_local! {
    /// The budget that is left to the check on this thread.
    static LEFT: Cell<Left> = const { Cell::new(UNBOUNDED) };
}

/// Checks a workflow whose plan may weigh that much.
pub(super) fn within<T>(weight: usize, work: impl FnOnce() -> T) -> T {
    struct Restore(Left);
    impl Drop for Restore {
        fn drop(&mut self) {
            LEFT.set(self.0);
        }
    }
    let failing_conditions = MAX_FAILED_CONDITIONS;
    let left = Left { work: MAX_WORK, weight, failing_conditions, bounded: true };
    let _restore = Restore(LEFT.replace(left));
    work()
}

/// Pays for a filter of that many bytes.
pub(super) fn filter(bytes: usize) -> Result<(), String> {
    take(FILTER, bytes)
}

/// Pays for a condition or a check, that many units.
pub(super) fn condition(units: u64) -> Result<(), String> {
    if LEFT.get().failing_conditions == 0 {
        return Err(TOO_MANY_FAILED.to_owned());
    }
    spend(units)
}

/// Records that a condition or a check has failed to compile.
pub(super) fn condition_failed() {
    let left = LEFT.get();
    LEFT.set(Left { failing_conditions: left.failing_conditions.saturating_sub(1), ..left });
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
    let left = LEFT.get();
    if let Some(weight) = left.weight.checked_sub(bytes) {
        LEFT.set(Left { weight, ..left });
        return Ok(());
    }
    // No more is compiled after this.
    LEFT.set(Left { work: 0, weight: 0, ..left });
    Err(TOO_HEAVY.to_owned())
}

/// Whether somebody brings the workflow: what the store holds is read whatever it says.
pub(super) fn is_bounded() -> bool {
    LEFT.get().bounded
}

/// Whether nothing is left.
pub(super) fn is_spent() -> bool {
    LEFT.get().work == 0
}

/// The fault of the first part that was not compiled.
const TOO_MUCH: &str = "checking this workflow takes more work than is allowed for one: its programs, \
    conditions, templates and schema are too long together, and here nothing was left";
/// The fault of the parts after it, in the same step.
const UNSEEN: &str = "this was not looked at any more: nothing was left for it";
/// The fault of the conditions and checks after too many that failed.
const TOO_MANY_FAILED: &str =
    "this was not looked at any more: too many conditions before it have faults";
/// The fault of the part that made a plan too heavy.
const TOO_HEAVY: &str = "up to here this workflow takes more memory than is allowed for one";

fn take((each, byte): (u64, u64), bytes: usize) -> Result<(), String> {
    spend(each.saturating_add(byte.saturating_mul(number(bytes))))
}

fn spend(units: u64) -> Result<(), String> {
    let left = LEFT.get();
    if left.work == 0 {
        return Err(UNSEEN.to_owned());
    }
    let work = left.work.saturating_sub(units);
    LEFT.set(Left { work, ..left });
    if work > 0 { Ok(()) } else { Err(TOO_MUCH.to_owned()) }
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
    fn after_too_many_conditions_that_failed_the_rest_is_not_looked_at() {
        within(1_000, || {
            for _ in 0..MAX_FAILED_CONDITIONS {
                assert_eq!(condition(10), Ok(()));
                condition_failed();
            }
            assert_eq!(condition(10), Err(TOO_MANY_FAILED.to_owned()));
            assert_eq!((filter(10), is_spent()), (Ok(()), false));
        });
        assert_eq!(condition(10), Ok(()), "outside a check nothing is counted");
    }

    #[test]
    fn a_plan_that_grows_too_heavy_is_not_grown_further() {
        within(1_000, || {
            assert_eq!((weigh(600), weigh(600)), (Ok(()), Err(TOO_HEAVY.to_owned())));
            assert!(is_spent());
        });
    }
}
