//! Reads the circuit breaker that a step asks for.

use std::time::Duration;

use crate::contract::{Breaker, Fields};
use crate::definition::StepBreaker;
use crate::model::{BreakerPolicy, Faults};

/// Longest key, in characters: it stands in the health report.
const MAX_KEY: usize = 200;
/// Highest threshold: as good as no breaker at all.
const MAX_FAILURE_THRESHOLD: u32 = 1000;
/// Longest time that a circuit stays open: a target that is away for longer is asked once a day.
const MAX_RESET_TIMEOUT: Duration = Duration::from_hours(24);

/// Reads `breaker`, if the step has one; the default one if not. `leaves` is whether the step's
/// kind leaves the process: nothing else has a target that could be away.
pub(super) fn read(step: &Fields<'_>, leaves: bool, faults: &mut Faults) -> StepBreaker {
    let Some(given) = step.get("breaker") else { return StepBreaker::default() };
    let at = step.at().key("breaker");
    if !leaves {
        faults.add(&at, "a step of this kind does not leave the server and has no breaker");
    }
    let Some(fields) = Fields::of(given, &at, "breaker", faults) else {
        return StepBreaker::default();
    };
    fields.allow(Breaker::MEMBERS, faults);
    let built_in = BreakerPolicy::default();
    let failure_threshold = threshold(&fields, faults).unwrap_or(built_in.failure_threshold);
    let reset_timeout = reset_timeout(&fields, faults).unwrap_or(built_in.reset_timeout);
    StepBreaker {
        key: key(&fields, faults),
        policy: BreakerPolicy { failure_threshold, reset_timeout },
    }
}

fn key(fields: &Fields<'_>, faults: &mut Faults) -> Option<String> {
    let key = fields.text("key", faults)?;
    if !(1..=MAX_KEY).contains(&key.chars().count()) || key.contains(char::is_control) {
        let detail = format!("key has 1 to {MAX_KEY} characters, all of them printable");
        fields.fault("key", detail, faults);
    }
    Some(key.into_owned())
}

fn threshold(fields: &Fields<'_>, faults: &mut Faults) -> Option<u32> {
    let digits = fields.number("failureThreshold", faults)?;
    let range = 1..=MAX_FAILURE_THRESHOLD;
    let threshold = digits.parse().ok().filter(|threshold| range.contains(threshold));
    if threshold.is_none() {
        let detail =
            format!("failureThreshold is a whole number from 1 to {MAX_FAILURE_THRESHOLD}");
        fields.fault("failureThreshold", detail, faults);
    }
    threshold
}

fn reset_timeout(fields: &Fields<'_>, faults: &mut Faults) -> Option<Duration> {
    let timeout = fields.duration("resetTimeout", faults)?;
    if timeout.is_zero() || timeout > MAX_RESET_TIMEOUT {
        let detail = "resetTimeout is longer than zero and at most 24 hours";
        fields.fault("resetTimeout", detail, faults);
    }
    Some(timeout)
}

#[cfg(test)]
mod tests;
