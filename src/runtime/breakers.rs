//! The circuit breakers of this replica: one for each target that steps call.
//!
//! Every attempt that leaves the process asks here first (`attempts`), and tells what became of it.
//! What is known of a target lives in memory alone, and is shared by all threads of the replica; the
//! rules are those of [`machine::breaker`](crate::machine::breaker). Nothing here fails a step: a
//! refused attempt is a failure like any other, and its retry waits for the moment named here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::handle::Circuit;
use crate::executor::AttemptError;
use crate::machine::breaker::{Breaker, CircuitState, Hindrance, Permit, Refusal, Sign};
use crate::model::{
    BreakerPolicy, Category, Clock, Entropy, Failure, Json, RetryPolicy, Timestamp, codes,
};
use crate::observe::Metrics;

/// Targets that are kept track of: a few hundred bytes each. Beyond it the closed one that was not
/// used for the longest time is forgotten, and without a closed one, any.
const MAX_TARGETS: usize = 1_024;
/// Circuits that the health report names, the open ones first: enough for a person.
const MAX_REPORTED: usize = 100;
/// An attempt that would be let through this soon waits instead of failing: while a probe is under
/// way, or while the target wants to be left alone. A longer wait is the retry's, which costs no
/// task.
const SHORT_WAIT: Duration = Duration::from_secs(2);
/// Retries that wait for the same moment are spread over this part of their wait behind it, and over
/// [`MAX_SPREAD`] at the most, so that they do not all come at once.
const SPREAD: f64 = 0.1;
const MAX_SPREAD: Duration = Duration::from_secs(5);
/// Added to each wait: recorded times are cut to the millisecond, and must not come too early.
const ROUNDING: Duration = Duration::from_millis(2);

/// What an attempt is aimed at, and how patient it is.
#[derive(Debug, Clone)]
pub(super) struct Aim {
    /// The breaker's key.
    pub(super) key: String,
    /// When it opens.
    pub(super) policy: BreakerPolicy,
    /// Longest time that the step waits because the other side asked for it.
    pub(super) patience: Duration,
    /// What a 429 that names no time asks for: the step's own first delay.
    pub(super) pause: Duration,
}

impl Aim {
    pub(super) const fn new(key: String, policy: BreakerPolicy, retry: &RetryPolicy) -> Self {
        Self { key, policy, patience: retry.max_interval, pause: retry.initial_interval }
    }
}

/// The breakers, by key.
#[derive(Debug)]
pub(super) struct Breakers {
    targets: Mutex<Targets>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Targets {
    by_key: HashMap<String, Entry>,
    /// Counts the uses.
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    target: Arc<Target>,
    /// The number of its last use.
    used: u64,
}

#[derive(Debug, Default)]
struct Target {
    breaker: Mutex<Breaker>,
    /// Told when a probe has ended.
    changed: Notify,
}

impl Target {
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        // A breaker is changed by functions that cannot panic.
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Breakers {
    pub(super) fn new(
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { targets: Mutex::default(), clock, entropy, metrics }
    }

    /// Asks to make an attempt. It is let through, perhaps after a short wait, or fails at once.
    /// Dropping what is returned without telling the outcome gives a probe's place back.
    pub(super) async fn enter(self: &Arc<Self>, aim: Aim) -> Result<Pass, AttemptError> {
        let target = self.target(&aim.key);
        let deadline = self.clock.monotonic().saturating_add(SHORT_WAIT);
        loop {
            // From here on no change is missed.
            let changed = target.changed.notified();
            let now = self.clock.monotonic();
            let asked = target.breaker().ask(now, aim.policy, aim.patience);
            let refusal = match asked {
                Ok(permit) => {
                    return Ok(Pass {
                        breakers: Arc::clone(self),
                        target: Arc::clone(&target),
                        permit: Some(permit),
                        aim,
                    });
                }
                Err(refusal) => refusal,
            };
            let wait = match refusal.why {
                Hindrance::Open => None,
                Hindrance::Cooling => Some(refusal.until).filter(|until| *until <= deadline),
                Hindrance::Probing => Some(deadline).filter(|_| now < deadline),
            };
            let Some(until) = wait else { return Err(self.refuse(&aim, refusal, now)) };
            let wait = until.saturating_sub(now).saturating_add(ROUNDING);
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn refuse(&self, aim: &Aim, refusal: Refusal, now: Duration) -> AttemptError {
        self.metrics.circuits.refusals.inc();
        let left = refusal.until.saturating_sub(now);
        let spread = left.mul_f64(SPREAD).min(MAX_SPREAD);
        let wait =
            left.saturating_add(ROUNDING).saturating_add(spread.mul_f64(self.entropy.unit()));
        let why = match refusal.why {
            Hindrance::Open => "is open after failures in a row",
            Hindrance::Probing => "is half-open, and its probe is under way",
            Hindrance::Cooling => "is open because the target asked to be left alone",
        };
        let (key, left) = (&aim.key, left.as_millis());
        let message = format!("the circuit of {key} {why}; next try in {left} ms at the earliest");
        let failure = Failure {
            // Whatever the key says.
            recoverable: true,
            ..Failure::recoverable(codes::CIRCUIT_OPEN, Category::External, message)
        };
        AttemptError { failure, retry_after: Some(wait) }
    }

    /// The circuits of this replica, the open ones first, then by key.
    pub(super) fn report(&self) -> Vec<Circuit> {
        let now = (self.clock.monotonic(), self.clock.now());
        let targets = self.targets();
        let mut circuits: Vec<(CircuitState, Circuit)> =
            targets.by_key.iter().map(|(key, entry)| shown(key, &entry.target, now)).collect();
        drop(targets);
        circuits.sort_by(|(a, left), (b, right)| b.cmp(a).then_with(|| left.key.cmp(&right.key)));
        circuits.truncate(MAX_REPORTED);
        circuits.into_iter().map(|(_, circuit)| circuit).collect()
    }

    /// The circuit of that key, if something was called behind it.
    pub(super) fn look(&self, key: &str) -> Option<Circuit> {
        let now = (self.clock.monotonic(), self.clock.now());
        let target = self.targets().by_key.get(key).map(|entry| Arc::clone(&entry.target))?;
        Some(shown(key, &target, now).1)
    }

    fn targets(&self) -> MutexGuard<'_, Targets> {
        // A panic while it was held cannot leave a map of targets half changed.
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The target of that key, known from now on.
    fn target(&self, key: &str) -> Arc<Target> {
        let mut targets = self.targets();
        targets.uses += 1;
        let used = targets.uses;
        if let Some(entry) = targets.by_key.get_mut(key) {
            entry.used = used;
            return Arc::clone(&entry.target);
        }
        if targets.by_key.len() >= MAX_TARGETS {
            self.forget_one(&mut targets);
        }
        let target = Arc::<Target>::default();
        targets.by_key.insert(key.to_owned(), Entry { target: Arc::clone(&target), used });
        target
    }

    fn forget_one(&self, targets: &mut Targets) {
        let now = self.clock.monotonic();
        let oldest = targets.by_key.iter().min_by_key(|(_, entry)| {
            let breaker = entry.target.breaker();
            let quiet = breaker.opened_at().is_none() && breaker.cools_until(now).is_none();
            (!quiet, entry.used)
        });
        let Some(key) = oldest.map(|(key, _)| key.clone()) else { return };
        if let Some(entry) = targets.by_key.remove(&key)
            && entry.target.breaker().opened_at().is_some()
        {
            self.metrics.circuits.open.dec();
        }
    }
}

/// A circuit as people see it, at a moment on both clocks.
fn shown(
    key: &str,
    target: &Target,
    (mono, wall): (Duration, Timestamp),
) -> (CircuitState, Circuit) {
    let at = |moment: Duration| {
        let ago = i64::try_from(mono.saturating_sub(moment).as_millis()).unwrap_or(i64::MAX);
        let then = Timestamp::from_millis(wall.millis().saturating_sub(ago));
        then.plus(moment.saturating_sub(mono))
    };
    let breaker = target.breaker();
    let state = breaker.state(mono);
    let circuit = Circuit {
        key: key.to_owned(),
        state: state.as_str(),
        failures: breaker.failures(),
        opened_at: breaker.opened_at().map(at),
        retry_at: breaker.retry_at().map(at),
        cools_until: breaker.cools_until(mono).map(at),
    };
    (state, circuit)
}

/// An attempt that was let through.
#[derive(Debug)]
pub(super) struct Pass {
    breakers: Arc<Breakers>,
    target: Arc<Target>,
    permit: Option<Permit>,
    aim: Aim,
}

impl Pass {
    /// Tells what became of the attempt.
    pub(super) fn end(mut self, result: &Result<Json, AttemptError>) {
        self.settle(sign(result), asked_to_wait(result, self.aim.pause));
    }

    fn settle(&mut self, sign: Sign, cool_down: Option<Duration>) {
        let Some(permit) = self.permit.take() else { return };
        let now = self.breakers.clock.monotonic();
        let mut breaker = self.target.breaker();
        let was_open = breaker.opened_at().is_some();
        let was = breaker.retry_at();
        breaker.end(permit, sign, now, self.aim.policy);
        if let Some(length) = cool_down {
            breaker.cool_down(now, length);
        }
        let is_open = breaker.opened_at().is_some();
        let moved = breaker.retry_at() != was;
        drop(breaker);
        let circuits = &self.breakers.metrics.circuits;
        let key = &self.aim.key;
        match (was_open, is_open) {
            (false, true) => {
                circuits.open.inc();
                circuits.turned("open");
                tracing::warn!(%key, "the circuit is open: attempts are refused for a while");
            }
            (true, false) => {
                circuits.open.dec();
                circuits.turned("closed");
                tracing::info!(%key, "the circuit is closed again");
            }
            (true, true) if moved => circuits.turned("open"),
            (true | false, _) => {}
        }
        self.target.changed.notify_waiters();
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.settle(Sign::None, None);
    }
}

/// What an attempt says about its target.
fn sign(result: &Result<Json, AttemptError>) -> Sign {
    let Err(AttemptError { failure, .. }) = result else { return Sign::Alive };
    if !failure.recoverable {
        // An answer that no retry mends is an answer; what is refused before it is sent is none.
        return if failure.code == codes::HTTP_STATUS { Sign::Alive } else { Sign::None };
    }
    match failure.category {
        Category::External | Category::Timeout | Category::RateLimit | Category::Step => {
            Sign::Failing
        }
        Category::Validation
        | Category::Authentication
        | Category::Authorization
        | Category::NotFound
        | Category::Conflict
        | Category::Storage
        | Category::Resource
        | Category::Configuration
        | Category::Internal => Sign::None,
    }
}

/// How long the target wants to be left alone: what it says, or `pause` where it only says that
/// there is too much at once.
fn asked_to_wait(result: &Result<Json, AttemptError>, pause: Duration) -> Option<Duration> {
    let AttemptError { failure, retry_after } = result.as_ref().err()?;
    retry_after.or_else(|| (failure.category == Category::RateLimit).then_some(pause))
}

#[cfg(test)]
mod tests;
