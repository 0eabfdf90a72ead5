//! How a step is retried and how long it may take: its own fields over the workflow's defaults.

use std::time::Duration;

use crate::contract::{Fields, RetryOptions, Value};
use crate::model::{Faults, Pointer, RetryPolicy};

/// Most attempts of one step: with the longest interval a thousand is years, and each is an
/// event in the journal.
const MAX_ATTEMPTS: u32 = 1000;
/// Largest backoff factor: the longest interval is reached at the second delay anyway.
const MAX_BACKOFF_FACTOR: f64 = 1000.0;
/// Most entries of `retryOn`: more than there are codes.
const MAX_RETRY_ON: usize = 100;

/// The members that were written.
#[derive(Default)]
pub(super) struct Policy {
    retry: Retry,
    timeout: Option<Duration>,
    warn_after: Option<Duration>,
    heartbeat_timeout: Option<Duration>,
    continue_on_error: Option<bool>,
}

#[derive(Default)]
#[expect(clippy::struct_field_names, reason = "the names that workflows use")]
struct Retry {
    max_attempts: Option<u32>,
    initial_interval: Option<Duration>,
    backoff_factor: Option<f64>,
    max_interval: Option<Duration>,
    jitter: Option<bool>,
    retry_on: Option<Vec<String>>,
}

/// A policy with everything filled in.
pub(super) struct Effective {
    pub(super) retry: RetryPolicy,
    pub(super) timeout: Option<Duration>,
    pub(super) warn_after: Option<Duration>,
    pub(super) heartbeat_timeout: Option<Duration>,
    pub(super) continue_on_error: bool,
}

impl Policy {
    /// Reads the policy's fields from a step or from `defaults`.
    pub(super) fn read(fields: &Fields<'_>, faults: &mut Faults) -> Self {
        let retry =
            fields.get("retry").map(|given| Retry::read(given, &fields.at().key("retry"), faults));
        let timeout = fields.duration("timeout", faults);
        let warn_after = fields.duration("warnAfter", faults);
        let heartbeat_timeout = fields.duration("heartbeatTimeout", faults);
        for (name, limit) in [("timeout", timeout), ("heartbeatTimeout", heartbeat_timeout)] {
            if limit.is_some_and(|limit| limit.is_zero()) {
                fields.fault(name, format!("{name} is longer than zero"), faults);
            }
        }
        let continue_on_error = fields.flag("continueOnError", faults);
        let retry = retry.unwrap_or_default();
        let read = Self { retry, timeout, warn_after, heartbeat_timeout, continue_on_error };
        if let Some(timeout) = timeout {
            read.check_below(timeout, "timeout", (fields.at(), faults));
        }
        read
    }

    /// This policy over the workflow's defaults, those over the built-in ones. `at` is the step.
    pub(super) fn over(self, defaults: &Self, at: &Pointer, faults: &mut Faults) -> Effective {
        let timeout = self.timeout.or(defaults.timeout);
        if let (Some(timeout), None) = (timeout, self.timeout) {
            self.check_below(timeout, "the timeout of defaults", (at, faults));
        }
        // A default that a step's own, shorter timeout overtakes simply never comes due.
        let inherited =
            |limit: Option<Duration>| limit.filter(|own| timeout.is_none_or(|most| *own < most));
        Effective {
            retry: self.retry.over(&defaults.retry, at, faults),
            timeout,
            warn_after: self.warn_after.or_else(|| inherited(defaults.warn_after)),
            heartbeat_timeout: self
                .heartbeat_timeout
                .or_else(|| inherited(defaults.heartbeat_timeout)),
            continue_on_error: self
                .continue_on_error
                .or(defaults.continue_on_error)
                .unwrap_or_default(),
        }
    }

    /// A bound within an attempt is shorter than the bound that ends the attempt.
    fn check_below(&self, timeout: Duration, which: &str, (at, faults): (&Pointer, &mut Faults)) {
        for (name, limit) in
            [("warnAfter", self.warn_after), ("heartbeatTimeout", self.heartbeat_timeout)]
        {
            if limit.is_some_and(|limit| limit >= timeout) {
                faults.add(&at.key(name), format!("{name} is shorter than {which}"));
            }
        }
    }
}

impl Retry {
    fn read(given: Value<'_>, at: &Pointer, faults: &mut Faults) -> Self {
        let Some(fields) = Fields::of(given, at, "retry", faults) else { return Self::default() };
        fields.allow(RetryOptions::MEMBERS, faults);
        let retry = Self {
            max_attempts: max_attempts(&fields, faults),
            initial_interval: fields.duration("initialInterval", faults),
            backoff_factor: backoff_factor(&fields, faults),
            max_interval: fields.duration("maxInterval", faults),
            jitter: fields.flag("jitter", faults),
            retry_on: retry_on(&fields, faults),
        };
        retry.check_intervals(at, faults);
        retry
    }

    fn check_intervals(&self, at: &Pointer, faults: &mut Faults) -> bool {
        let sound = match (self.initial_interval, self.max_interval) {
            (Some(initial), Some(max)) => initial <= max,
            _ => true,
        };
        if !sound {
            faults.add(&at.key("initialInterval"), "initialInterval is at most maxInterval");
        }
        sound
    }

    fn over(self, defaults: &Self, at: &Pointer, faults: &mut Faults) -> RetryPolicy {
        let own = (self.initial_interval, self.max_interval);
        let merged = Self {
            max_attempts: self.max_attempts.or(defaults.max_attempts),
            initial_interval: self.initial_interval.or(defaults.initial_interval),
            backoff_factor: self.backoff_factor.or(defaults.backoff_factor),
            max_interval: self.max_interval.or(defaults.max_interval),
            jitter: self.jitter.or(defaults.jitter),
            retry_on: self.retry_on.or_else(|| defaults.retry_on.clone()),
        };
        // Two of the same level were checked where they stand.
        if matches!(own, (Some(_), None) | (None, Some(_))) {
            merged.check_intervals(&at.key("retry"), faults);
        }
        let built_in = RetryPolicy::default();
        let initial_interval = merged.initial_interval.unwrap_or(built_in.initial_interval);
        RetryPolicy {
            max_attempts: merged.max_attempts.unwrap_or(built_in.max_attempts),
            initial_interval,
            backoff_factor: merged.backoff_factor.unwrap_or(built_in.backoff_factor),
            // A longer first interval that somebody wrote outdoes a longest one nobody wrote.
            max_interval: merged
                .max_interval
                .unwrap_or_else(|| built_in.max_interval.max(initial_interval)),
            jitter: merged.jitter.unwrap_or(built_in.jitter),
            retry_on: merged.retry_on,
        }
    }
}

fn max_attempts(fields: &Fields<'_>, faults: &mut Faults) -> Option<u32> {
    let digits = fields.number("maxAttempts", faults)?;
    let attempts = digits.parse().ok().filter(|attempts| (1..=MAX_ATTEMPTS).contains(attempts));
    if attempts.is_none() {
        let detail = format!("maxAttempts is a whole number from 1 to {MAX_ATTEMPTS}");
        fields.fault("maxAttempts", detail, faults);
    }
    attempts
}

fn backoff_factor(fields: &Fields<'_>, faults: &mut Faults) -> Option<f64> {
    let digits = fields.number("backoffFactor", faults)?;
    let factor = digits.parse().ok().filter(|factor| (1.0..=MAX_BACKOFF_FACTOR).contains(factor));
    if factor.is_none() {
        let detail = format!("backoffFactor is a number from 1 to {MAX_BACKOFF_FACTOR}");
        fields.fault("backoffFactor", detail, faults);
    }
    factor
}

fn retry_on(fields: &Fields<'_>, faults: &mut Faults) -> Option<Vec<String>> {
    let items = fields.list("retryOn", faults)?;
    let at = fields.at().key("retryOn");
    if items.len() > MAX_RETRY_ON {
        faults.add(&at, format!("retryOn has at most {MAX_RETRY_ON} entries"));
    }
    let mut names = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match item.text().filter(|name| is_code(name)) {
            Some(name) => names.push(name.into_owned()),
            None => faults.add(&at.index(index), "retryOn lists error codes or categories"),
        }
    }
    Some(names)
}

fn is_code(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests;
