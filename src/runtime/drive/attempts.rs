//! Performs attempts: fills in what a step needs, runs its executor within its bounds, and reports
//! its end to the thread's driver.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc;

use super::admission::{self, ASK_AGAIN, Admitted, Lack};
use super::breakers::{Aim, Breakers, CircuitId, Target};
use super::driver::Driver;
use super::pulses::{Pulses, Watch};
use super::report::{Message, Reported};
use crate::definition::{self, Action, Allowance, PlanStep, Scope, StepIx, StepView, Work};
use crate::executor::{
    Attempt, AttemptError, Executors, Pulse, Redactor, Room, Secrets, StepExecutor,
};
use crate::machine::{AttemptId, Effect, Report, ThreadState};
use crate::model::{Category, Failure, Json, StaleAction, ThreadId, codes};
use crate::runtime::core::Core;
use crate::runtime::lease::roster::Activity;
use crate::runtime::settings::MAX_COMMIT_BYTES;

/// The time after which the remaining attempts wait for another round: each of a thousand filters
/// may take a millisecond.
const LONG: Duration = Duration::from_millis(10);

/// Carries out effects. Attempts that need no waiting are made at once, as many as one commit
/// takes, and their reports returned; the others report to the driver.
pub(in crate::runtime) fn perform(driver: &mut Driver, effects: Vec<Effect>) -> Vec<Reported> {
    for effect in effects {
        match effect {
            Effect::Run(attempt) => driver.to_begin.push_back(attempt),
            Effect::Cancel(attempt) => {
                if let Some(running) = driver.running.remove(&attempt) {
                    running.cancel();
                }
            }
            Effect::CancelAll => {
                // Attempts that start later get a new token.
                std::mem::replace(&mut driver.attempts, driver.authority.attempts()).cancel();
                driver.running.clear();
            }
        }
    }
    driver.lacks.clear();
    definition::within(Allowance::ATTEMPTS, || begin_all(driver))
}

/// Begins waiting attempts while there is room, until they have made enough work. An attempt that
/// needs no place does not wait behind others that do.
fn begin_all(driver: &mut Driver) -> Vec<Reported> {
    let (mut done, mut bytes) = (Vec::new(), 0_usize);
    let core = Arc::clone(&driver.core);
    let clock = &core.parts.clock;
    let ends = clock.monotonic().saturating_add(LONG);
    let mut waiting = VecDeque::new();
    while bytes < MAX_COMMIT_BYTES
        && (done.is_empty() || !core.rooms.are_full())
        && !driver.lacks(Lack::Memory)
        && !driver.lacks(Lack::Turn)
        && !definition::is_enough()
        && clock.monotonic() < ends
        && let Some(next) = driver.to_begin.pop_front()
    {
        // The same commit or a later message may have ended it.
        if !driver.state.is_running(next) {
            continue;
        }
        let may_begin = if driver.may_grow() { Ok(()) } else { Err(Lack::Turn) };
        match may_begin.and_then(|()| begin(driver, next)) {
            Ok(None) => driver.asks = ASK_AGAIN,
            Ok(Some(reported)) => {
                bytes = bytes.saturating_add(reported.report.weight());
                done.push(reported);
            }
            Err(lack) => {
                waiting.push_back(next);
                driver.lacks.insert(lack);
            }
        }
    }
    if driver.lacks(Lack::Memory) {
        driver.asks_after = driver.asks.advance();
    }
    waiting.append(&mut driver.to_begin);
    driver.to_begin = waiting;
    if driver.to_begin.is_empty() {
        // No attempt needs the places any more.
        (driver.place, driver.filter) = (None, None);
        driver.heavy.clear();
    }
    done
}

/// Begins an attempt; returns its report if it needed no waiting.
fn begin(driver: &mut Driver, id: AttemptId) -> Result<Option<Reported>, Lack> {
    let plan = Arc::clone(&driver.state.plan);
    let planned = plan.steps[id.step].work(id.work);
    let core = Arc::clone(&driver.core);
    let namespace = driver.state.thread_id.namespace();
    let place = admission::place(&planned.action, &mut driver.place, (&core.places, &namespace))?;
    if driver.heavy.contains(&id) && driver.filter.is_none() {
        let place = core.filters.try_take(&namespace);
        driver.filter = Some(place.ok_or(Lack::Filter)?);
    }
    let parts = &core.parts;
    let attempt = match fill_in(&core, &driver.state, id) {
        Ok(attempt) => Attempt { room: attempt.room.clone().unless(&driver.goes_first), ..attempt },
        Err(failure) => {
            let report = Report::Failed { failure, retry_after: None };
            return Ok(Some(Reported { attempt: id, report, held: None }));
        }
    };
    let redactor = parts.secrets.redactor();
    let Some(executor) = parts.executors.get(&attempt.action) else { return Ok(None) };
    if !driver.heavy.contains(&id)
        && let Some(result) = executor.execute_now(&attempt)
    {
        let result = redacted(&redactor, result);
        return Ok(Some(Reported::end(id, result, (attempt.room, None))));
    }
    let place = if let Some(place) = place {
        place
    } else {
        driver.heavy.insert(id);
        let kept = driver.filter.take().or_else(|| core.filters.try_take(&namespace));
        kept.ok_or(Lack::Filter)?
    };
    let admitted = admission::admit(&parts.memory, place, &attempt.with)?;
    let gate = circuit(executor, (planned, &attempt), &redactor)
        .map(|circuit| (Arc::clone(&core.breakers), Aim::new(circuit, &planned.retry)));
    let run = Run::new(driver, planned, (&attempt, id), (gate, admitted, redactor));
    let cancelled = driver.attempts.child_token();
    driver.running.insert(id, cancelled.clone());
    let activity = Activity::Drive(attempt.thread_id.clone());
    driver.core.tasks.spawn(core.roster.watch(activity, async move {
        // Dropping the attempt's future cancels it: executors clean up after themselves.
        cancelled.run_until_cancelled(run.perform(attempt)).await;
    }));
    Ok(None)
}

/// Returns the circuit that the next attempt of a step passes, if any.
pub(in crate::runtime) fn circuit_of(
    core: &Core,
    state: &ThreadState,
    step: StepIx,
) -> Option<CircuitId> {
    let stands = &state.steps[step];
    let undoes = stands.undo_status().is_some();
    let work = if undoes { Work::Compensation } else { stands.work() };
    let planned = state.plan.steps[step].work(work);
    let number = stands.track(work).attempts.saturating_add(1);
    let next = AttemptId { step, work, number };
    let attempt = fill_in(core, state, next).ok()?;
    let executor = core.parts.executors.get(&attempt.action)?;
    circuit(executor, (planned, &attempt), &core.parts.secrets.redactor())
}

fn circuit(
    executor: &dyn StepExecutor,
    (planned, attempt): (&PlanStep, &Attempt),
    redactor: &Redactor,
) -> Option<CircuitId> {
    let called = executor.target(attempt)?;
    let namespace = attempt.thread_id.namespace();
    let target = match &planned.breaker.key {
        Some(key) => Target::Named(namespace, key.clone()),
        None => Target::Called(namespace, redactor.redact(&called).into_owned()),
    };
    Some(CircuitId { target, policy: planned.breaker.policy })
}

fn fill_in(
    core: &Core,
    state: &ThreadState,
    AttemptId { step, work, number }: AttemptId,
) -> Result<Attempt, Failure> {
    let planned = state.plan.steps[step].work(work);
    let scope = WithSecrets { state, secrets: &core.parts.secrets };
    let with = planned.with.render(&scope, core.parts.settings.max_event);
    let with = with.map_err(|unfilled| unfilled.failure(""))?;
    planned.with.check_url(&scope).map_err(|astray| {
        let detail = format!("invalid configuration: url: {astray}");
        Failure::permanent(codes::INVALID_CONFIGURATION, Category::Validation, detail)
    })?;
    Ok(Attempt {
        thread_id: state.thread_id.clone(),
        step_id: planned.id.clone(),
        number,
        work,
        compensation_epoch: state.steps[step].compensation_epoch,
        action: Arc::clone(&planned.action),
        with,
        holds_secrets: planned.with.uses_secrets().next().is_some(),
        traceparent: state.traceparent.clone(),
        pulse: Pulse::default(),
        room: core.rooms.room(state.thread_id.namespace()),
    })
}

/// A thread's data with secrets, used to fill in `with` only and never journalled.
struct WithSecrets<'a> {
    state: &'a ThreadState,
    secrets: &'a Secrets,
}

impl Scope for WithSecrets<'_> {
    fn thread_id(&self) -> &ThreadId {
        &self.state.thread_id
    }

    fn input(&self) -> &Json {
        &self.state.input
    }

    fn step(&self, id: &str) -> Option<StepView<'_>> {
        Scope::step(self.state, id)
    }

    fn step_ids(&self) -> Vec<&str> {
        self.state.step_ids()
    }

    fn secret(&self, name: &str) -> Option<&str> {
        self.secrets.get(name)
    }
}

/// Redacts all secrets of the server in a result, not only those of the step: a target may repeat
/// what another step sent to it.
fn redacted(redactor: &Redactor, result: Result<Json, AttemptError>) -> Result<Json, AttemptError> {
    match result {
        Ok(output) => Ok(redactor.redact_json(&output)),
        Err(AttemptError { failure, retry_after }) => {
            Err(AttemptError { failure: redactor.redact_failure(failure), retry_after })
        }
    }
}

/// A circuit to pass, and the breakers to ask.
type Gate = (Arc<Breakers>, Aim);

/// An attempt in its own task.
struct Run {
    /// Its place and its memory, and the memory of what it receives.
    held: (Room, Option<Admitted>),
    /// Lets `explain` see the attempt's last sign of life, until this is dropped.
    _watch: Option<Watch>,
    executors: Arc<dyn Executors>,
    /// The circuit to pass, and the breakers to ask; `None` if the attempt passes no circuit.
    gate: Option<Gate>,
    timeout: Option<Duration>,
    warn_after: Option<Duration>,
    heartbeat_timeout: Option<Duration>,
    /// The silence that makes the attempt stale, and the action on it.
    stale: Option<(Duration, StaleAction)>,
    /// Counts the stale attempts.
    pulses: Arc<Pulses>,
    sender: mpsc::Sender<Message>,
    redactor: Arc<Redactor>,
    attempt: AttemptId,
}

impl Run {
    fn new(
        driver: &Driver,
        planned: &PlanStep,
        (attempt, id): (&Attempt, AttemptId),
        (gate, admitted, redactor): (Option<Gate>, Admitted, Arc<Redactor>),
    ) -> Self {
        let (core, parts) = (&driver.core, &driver.core.parts);
        let timeouts = parts.settings.timeouts;
        let watch = planned.heartbeat_timeout.map(|_| {
            let key = (attempt.thread_id.clone(), id);
            core.pulses.watch(key, attempt.pulse.clone())
        });
        Self {
            held: (attempt.room.clone(), Some(admitted)),
            _watch: watch,
            executors: Arc::clone(&parts.executors),
            gate,
            timeout: timeouts.attempt(planned.timeout),
            warn_after: timeouts.warning(planned.warn_after, planned.timeout),
            heartbeat_timeout: planned.heartbeat_timeout.map(|limit| timeouts.of(limit)),
            stale: Some((timeouts.of(parts.settings.stale_after), parts.settings.stale_action)),
            pulses: Arc::clone(&core.pulses),
            sender: driver.sender.clone(),
            redactor,
            attempt: id,
        }
    }

    async fn perform(mut self, attempt: Attempt) {
        let pass = match self.gate.take() {
            None => None,
            Some((breakers, aim)) => match breakers.enter(aim).await {
                Ok(pass) => Some(pass),
                Err(refusal) => {
                    return self.end(Err(refusal)).await;
                }
            },
        };
        let result = self.execute(attempt).await;
        if let Some(pass) = pass {
            pass.end(&result);
        }
        self.end(result).await;
    }

    /// Makes the attempt, within its bounds.
    async fn execute(&self, attempt: Attempt) -> Result<Json, AttemptError> {
        let action: Arc<Action> = Arc::clone(&attempt.action);
        let Some(executor) = self.executors.get(&action) else { return Err(broken()) };
        let pulse = attempt.pulse.clone();
        // Silence counts from here: the time before is not the executor's.
        pulse.beat();
        let work = AssertUnwindSafe(executor.execute(attempt)).catch_unwind();
        let mut work = pin!(work);
        let mut slow = pin!(after(self.warn_after));
        let mut late = pin!(after(self.timeout));
        let mut lifeless = pin!(silent(&pulse, self.heartbeat_timeout));
        let mut quiet = pin!(silent(&pulse, self.stale.map(|(limit, _)| limit)));
        let (mut warned, mut found) = (false, None);
        loop {
            tokio::select! {
                biased;
                result = &mut work => break result.unwrap_or_else(|_panic| Err(broken())),
                () = &mut late => break Err(timed_out(self.timeout)),
                // Polled after `work`: output that has arrived by now is a sign of life.
                () = &mut lifeless => break Err(fell_silent(self.heartbeat_timeout)),
                () = &mut slow, if !warned => {
                    warned = true;
                    self.report(Report::Slow).await;
                }
                () = &mut quiet, if found.is_none() => {
                    found = Some(self.pulses.count_stale());
                    self.report(Report::Stale { silent: pulse.silence() }).await;
                    if let Some((limit, StaleAction::Retry)) = self.stale {
                        break Err(fell_silent(Some(limit)));
                    }
                }
            }
        }
    }

    async fn end(self, result: Result<Json, AttemptError>) {
        let result = redacted(&self.redactor, result);
        let reported = Reported::end(self.attempt, result, self.held);
        drop(self.sender.send(Message::Report(reported)).await);
    }

    /// Reports an event that does not end the attempt.
    async fn report(&self, report: Report) {
        // If the driver is gone, it has lost the thread: the next owner makes the attempt again.
        let reported = Reported { attempt: self.attempt, report, held: None };
        drop(self.sender.send(Message::Report(reported)).await);
    }
}

async fn after(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

async fn silent(pulse: &Pulse, limit: Option<Duration>) {
    match limit {
        Some(limit) => pulse.silent(limit).await,
        None => std::future::pending().await,
    }
}

fn timed_out(limit: Option<Duration>) -> AttemptError {
    let limit = limit.unwrap_or_default().as_millis();
    let message = format!("the attempt took longer than {limit} ms");
    Failure::recoverable(codes::STEP_TIMEOUT, Category::Timeout, message).into()
}

fn fell_silent(limit: Option<Duration>) -> AttemptError {
    let limit = limit.unwrap_or_default().as_millis();
    let message = format!("the attempt showed no sign of life for {limit} ms");
    Failure::recoverable(codes::HEARTBEAT_TIMEOUT, Category::Timeout, message).into()
}

fn broken() -> AttemptError {
    let message = "the step's executor panicked; the server's log has the details";
    Failure::recoverable(codes::INTERNAL, Category::Internal, message).into()
}

#[cfg(test)]
mod tests;
