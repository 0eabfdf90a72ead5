//! The circuit breakers of this replica: one for each target that the steps of a namespace call.
//!
//! Every attempt that leaves the process asks here first (`attempts`), and reports its result.
//! Circuits are kept in memory only. Threads of one namespace share a circuit if their steps have
//! the same target and policy. So no workflow opens the circuit of others with a key or a threshold
//! that it made up, and no namespace that of another: otherwise five attempts with too short a
//! timeout would. The rules are those of [`machine::breaker`](crate::machine::breaker). Nothing
//! here fails a step: a refused attempt fails like any other, and its retry waits for the time
//! named here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

use crate::contract::{Circuit, CircuitScope};
use crate::executor::AttemptError;
use crate::machine::breaker::{Breaker, CircuitState, Hindrance, Permit, Refusal, Sign};
use crate::model::{
    BreakerPolicy, Category, Clock, Entropy, Failure, Json, Namespace, RetryPolicy, Timestamp,
    codes, lock, millis, signed_millis,
};
use crate::observe::Metrics;

/// The number of circuits kept, a few hundred bytes each. Beyond it, the least recently used is
/// forgotten; an open or cooling one only if there is no other.
const MAX_CIRCUITS: usize = 1_024;
/// The number of circuits in the health report, the open ones first: enough for a person.
const MAX_REPORTED: usize = 100;
/// The longest wait of an attempt for the end of a probe, or of a pause that the target asked for.
/// An attempt that would have to wait longer fails, and its retry waits instead, which costs no
/// task.
const SHORT_WAIT: Duration = Duration::from_secs(2);
/// Retries that wait for the same time are delayed by up to this part of their wait, at most by
/// [`MAX_SPREAD`], so that they do not all come at once.
const SPREAD: f64 = 0.1;
const MAX_SPREAD: Duration = Duration::from_secs(5);
/// Added to each wait: recorded times are cut to the millisecond, and must not be too early.
const ROUNDING: Duration = Duration::from_millis(2);

/// The target of a circuit, within a namespace. The two kinds never equal each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::runtime) enum Target {
    /// A target that an executor calls: a host and port, or a kind and program.
    Called(Namespace, String),
    /// A key that workflows chose themselves (`breaker.key`).
    Named(Namespace, String),
}

impl Target {
    /// Returns the text without the namespace.
    pub(in crate::runtime) fn as_str(&self) -> &str {
        match self {
            Self::Called(_, text) | Self::Named(_, text) => text,
        }
    }

    const fn namespace(&self) -> &Namespace {
        match self {
            Self::Called(namespace, _) | Self::Named(namespace, _) => namespace,
        }
    }

    const fn scope(&self) -> CircuitScope {
        match self {
            Self::Called(..) => CircuitScope::Target,
            Self::Named(..) => CircuitScope::Key,
        }
    }
}

/// The identity of a circuit: its target and its policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::runtime) struct CircuitId {
    /// The target that it protects.
    pub(in crate::runtime) target: Target,
    /// Its threshold and reset time.
    pub(in crate::runtime) policy: BreakerPolicy,
}

/// The circuit that an attempt passes, and the waits that its step accepts.
#[derive(Debug, Clone)]
pub(in crate::runtime) struct Aim {
    /// The circuit.
    pub(in crate::runtime) circuit: CircuitId,
    /// The longest pause that the step grants if the target asks.
    pub(in crate::runtime) patience: Duration,
    /// The cool-down after a 429 that names no time: the step's own first delay.
    pub(in crate::runtime) pause: Duration,
}

impl Aim {
    pub(in crate::runtime) const fn new(circuit: CircuitId, retry: &RetryPolicy) -> Self {
        Self { circuit, patience: retry.max_interval, pause: retry.initial_interval }
    }
}

/// The circuit breakers of this replica.
#[derive(Debug)]
pub(in crate::runtime) struct Breakers {
    circuits: Mutex<Circuits>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Circuits {
    by_id: HashMap<CircuitId, Entry>,
    /// The number of uses so far.
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    gate: Arc<Gate>,
    /// The value of `uses` at its last use.
    used: u64,
}

#[derive(Debug, Default)]
struct Gate {
    breaker: Mutex<Breaker>,
    /// Notified when an attempt ends.
    changed: Notify,
}

impl Gate {
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        // Functions that change a breaker cannot panic.
        lock(&self.breaker)
    }
}

impl Breakers {
    pub(in crate::runtime) fn new(
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { circuits: Mutex::default(), clock, entropy, metrics }
    }

    /// Asks to make an attempt. Returns a pass, perhaps after a short wait, or a refusal. Dropping
    /// the pass without reporting a result gives a probe's place back.
    pub(in crate::runtime) async fn enter(
        self: &Arc<Self>,
        aim: Aim,
    ) -> Result<Pass, AttemptError> {
        let gate = self.gate(&aim.circuit);
        let deadline = self.clock.monotonic().saturating_add(SHORT_WAIT);
        loop {
            // Registers before asking, so that no change in between is missed.
            let changed = gate.changed.notified();
            let now = self.clock.monotonic();
            let asked = gate.breaker().ask(now, aim.circuit.policy, aim.patience);
            let refusal = match asked {
                Ok(permit) => {
                    return Ok(Pass {
                        breakers: Arc::clone(self),
                        gate: Arc::clone(&gate),
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
        let (key, left) = (aim.circuit.target.as_str(), left.as_millis());
        let message = format!("the circuit of {key} {why}; next try in {left} ms at the earliest");
        let failure = Failure {
            // The key is part of the message. Its words must not mark this failure as final.
            recoverable: true,
            ..Failure::recoverable(codes::CIRCUIT_OPEN, Category::External, message)
        };
        AttemptError { failure, retry_after: Some(wait) }
    }

    /// Returns the circuits that a namespace has on this replica, the open ones first, then by key.
    pub(in crate::runtime) fn report(&self, namespace: &Namespace) -> Vec<Circuit> {
        let now = (self.clock.monotonic(), self.clock.now());
        let circuits = self.circuits();
        let mut found: Vec<(CircuitState, CircuitId, Circuit)> = circuits
            .by_id
            .iter()
            .filter(|(id, _)| id.target.namespace() == namespace)
            .map(|(id, entry)| {
                let (state, circuit) = shown(id, &entry.gate, now);
                (state, id.clone(), circuit)
            })
            .collect();
        drop(circuits);
        found.sort_by(|(a, left, _), (b, right, _)| b.cmp(a).then_with(|| left.cmp(right)));
        found.truncate(MAX_REPORTED);
        found.into_iter().map(|(_, _, circuit)| circuit).collect()
    }

    /// Returns the state of a circuit, if an attempt has asked to pass it.
    pub(in crate::runtime) fn look(&self, circuit: &CircuitId) -> Option<Circuit> {
        let now = (self.clock.monotonic(), self.clock.now());
        let gate = self.circuits().by_id.get(circuit).map(|entry| Arc::clone(&entry.gate))?;
        Some(shown(circuit, &gate, now).1)
    }

    fn circuits(&self) -> MutexGuard<'_, Circuits> {
        // A panic under the lock cannot leave the map half changed.
        lock(&self.circuits)
    }

    /// Returns the gate of a circuit, creating it at its first use.
    fn gate(&self, id: &CircuitId) -> Arc<Gate> {
        let mut circuits = self.circuits();
        circuits.uses += 1;
        let used = circuits.uses;
        if let Some(entry) = circuits.by_id.get_mut(id) {
            entry.used = used;
            return Arc::clone(&entry.gate);
        }
        if circuits.by_id.len() >= MAX_CIRCUITS {
            self.forget_one(&mut circuits);
        }
        let gate = Arc::<Gate>::default();
        circuits.by_id.insert(id.clone(), Entry { gate: Arc::clone(&gate), used });
        gate
    }

    fn forget_one(&self, circuits: &mut Circuits) {
        let now = self.clock.monotonic();
        let oldest = circuits.by_id.iter().min_by_key(|(_, entry)| {
            let breaker = entry.gate.breaker();
            let quiet = breaker.opened_at().is_none() && breaker.cools_until(now).is_none();
            (!quiet, entry.used)
        });
        let Some(id) = oldest.map(|(id, _)| id.clone()) else { return };
        if let Some(entry) = circuits.by_id.remove(&id)
            && entry.gate.breaker().opened_at().is_some()
        {
            self.metrics.circuits.open.dec();
        }
    }
}

/// Converts a circuit for display, as of a time given on both clocks.
fn shown(
    id: &CircuitId,
    gate: &Gate,
    (mono, wall): (Duration, Timestamp),
) -> (CircuitState, Circuit) {
    let at = |moment: Duration| {
        let ago = signed_millis(mono.saturating_sub(moment));
        let then = Timestamp::from_millis(wall.millis().saturating_sub(ago));
        then.plus(moment.saturating_sub(mono))
    };
    let breaker = gate.breaker();
    let state = breaker.state(mono);
    let circuit = Circuit {
        key: id.target.as_str().to_owned(),
        scope: id.target.scope(),
        failure_threshold: id.policy.failure_threshold,
        reset_timeout_ms: millis(id.policy.reset_timeout),
        state: state.as_str(),
        failures: breaker.failures(),
        opened_at: breaker.opened_at().map(at),
        retry_at: breaker.retry_at().map(at),
        cools_until: breaker.cools_until(mono).map(at),
    };
    (state, circuit)
}

/// A permit for one attempt, given back with its result.
#[derive(Debug)]
pub(in crate::runtime) struct Pass {
    breakers: Arc<Breakers>,
    gate: Arc<Gate>,
    permit: Option<Permit>,
    aim: Aim,
}

impl Pass {
    /// Reports the result of the attempt.
    pub(in crate::runtime) fn end(mut self, result: &Result<Json, AttemptError>) {
        self.settle(sign(result), asked_to_wait(result, self.aim.pause));
    }

    fn settle(&mut self, sign: Sign, cool_down: Option<Duration>) {
        let Some(permit) = self.permit.take() else { return };
        let now = self.breakers.clock.monotonic();
        let mut breaker = self.gate.breaker();
        let was_open = breaker.opened_at().is_some();
        let was = breaker.retry_at();
        breaker.end(permit, sign, now, self.aim.circuit.policy);
        if let Some(length) = cool_down {
            breaker.cool_down(now, length);
        }
        let is_open = breaker.opened_at().is_some();
        let moved = breaker.retry_at() != was;
        drop(breaker);
        let circuits = &self.breakers.metrics.circuits;
        let key = self.aim.circuit.target.as_str();
        match (was_open, is_open) {
            (false, true) => {
                circuits.open.inc();
                circuits.turned("open");
                tracing::warn!(key, "the circuit is open: attempts are refused for a while");
            }
            (true, false) => {
                circuits.open.dec();
                circuits.turned("closed");
                tracing::info!(key, "the circuit is closed again");
            }
            (true, true) if moved => circuits.turned("open"),
            (true | false, _) => {}
        }
        self.gate.changed.notify_waiters();
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.settle(Sign::None, None);
    }
}

/// Returns the evidence about the target.
fn sign(result: &Result<Json, AttemptError>) -> Sign {
    let Err(AttemptError { failure, .. }) = result else { return Sign::Alive };
    if !failure.recoverable {
        // An HTTP status is an answer even if no retry helps; an attempt refused before it was sent
        // has none.
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

/// Returns the pause that the target asks for: the time it names, or `pause` if it only says that
/// there are too many requests.
fn asked_to_wait(result: &Result<Json, AttemptError>, pause: Duration) -> Option<Duration> {
    let AttemptError { failure, retry_after } = result.as_ref().err()?;
    retry_after.or_else(|| (failure.category == Category::RateLimit).then_some(pause))
}

#[cfg(test)]
mod tests;
