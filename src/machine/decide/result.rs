//! How attempts end.

use std::sync::Arc;
use std::time::Duration;

use super::super::attempt::give_up;
use super::super::check;
use super::super::draft::Draft;
use super::super::ready::{settle, settle_dependents};
use super::super::{Held, Rejection, Report, StepState};
use crate::definition::Phase;
use crate::model::{
    EventBody, Failure, Json, StepComplete, StepRetry, StepStale, StepStatus, StepTimeoutWarning,
};

/// A step and the number of one of its attempts.
type AttemptRef = (usize, u32);

/// What became of an attempt.
pub(super) fn reported(
    draft: &mut Draft<'_>,
    attempt: AttemptRef,
    what: Report,
) -> Result<(), Rejection> {
    match what {
        Report::Done { output, session_id } => complete(draft, attempt, output, session_id),
        Report::Failed { failure, retry_after } => fail(draft, attempt, failure, retry_after),
        Report::Slow => warn(draft, attempt),
        Report::Stale { silent } => stale(draft, attempt, silent),
    }
}

fn complete(
    draft: &mut Draft<'_>,
    attempt: AttemptRef,
    output: Json,
    session_id: Option<String>,
) -> Result<(), Rejection> {
    let duration_ms = current(draft, attempt)?;
    let (step, _) = attempt;
    match check::passes(draft, step, &output) {
        Ok(true) => {}
        Ok(false) => {
            check::block(draft, step, Held { output, duration_ms, session_id });
            settle(draft, Vec::new());
            return Ok(());
        }
        Err(failure) => return fail(draft, attempt, failure, None),
    }
    let fallback = draft.state.steps.get(step).is_some_and(|state| state.fallback);
    let data = StepComplete { output, duration_ms, session_id, fallback, error: None };
    draft.emit_on(step, EventBody::StepComplete, data);
    settle_dependents(draft, step);
    Ok(())
}

fn fail(
    draft: &mut Draft<'_>,
    attempt: AttemptRef,
    failure: Failure,
    retry_after: Option<Duration>,
) -> Result<(), Rejection> {
    let duration_ms = current(draft, attempt)?;
    let (step, number) = attempt;
    let plan = Arc::clone(&draft.state.plan);
    let (Some(planned), Some(state)) = (plan.steps.get(step), draft.state.steps.get(step)) else {
        return Err(Rejection::Stale);
    };
    let (planned, failures) = (planned.phase(state.phase()), state.failures + 1);
    let error = failure.at(&planned.id, number);
    let delay = planned.retry.next_attempt((&error, retry_after), failures, draft.moment.unit);
    if let Some(delay) = delay {
        let retry_at = draft.moment.now.plus(delay);
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        draft.emit_on(
            step,
            EventBody::StepRetry,
            StepRetry { error, retry_at, delay_ms, fallback: false, cancelled: false },
        );
        settle(draft, Vec::new());
    } else {
        give_up(draft, step, error, duration_ms);
        settle_dependents(draft, step);
    }
    Ok(())
}

fn warn(draft: &mut Draft<'_>, attempt: AttemptRef) -> Result<(), Rejection> {
    let elapsed_ms = current(draft, attempt)?;
    let (step, _) = attempt;
    if draft.state.steps.get(step).is_none_or(|state| state.warned) {
        return Err(Rejection::Stale);
    }
    let phase = draft.state.steps.get(step).map_or(Phase::Own, StepState::phase);
    let planned = draft.state.plan.steps.get(step).map(|step| step.phase(phase));
    let timeout = planned.and_then(|step| step.timeout);
    let timeout = draft.moment.timeouts.attempt(timeout);
    let timeout_ms = timeout.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
    let data = StepTimeoutWarning { elapsed_ms, timeout_ms, compensation: false };
    draft.emit_on(step, EventBody::StepTimeoutWarning, data);
    Ok(())
}

fn stale(draft: &mut Draft<'_>, attempt: AttemptRef, silent: Duration) -> Result<(), Rejection> {
    current(draft, attempt)?;
    let (step, _) = attempt;
    if draft.state.steps.get(step).is_none_or(|state| state.stale) {
        return Err(Rejection::Stale);
    }
    let silent_ms = u64::try_from(silent.as_millis()).unwrap_or(u64::MAX);
    draft.emit_on(step, EventBody::StepStale, StepStale { silent_ms, compensation: false });
    Ok(())
}

/// How long the attempt has run, in milliseconds, if it is the current one.
fn current(draft: &Draft<'_>, (step, attempt): AttemptRef) -> Result<u64, Rejection> {
    let state = draft.state.steps.get(step).ok_or(Rejection::Stale)?;
    if state.status != StepStatus::Running || state.attempts != attempt {
        return Err(Rejection::Stale);
    }
    let elapsed = draft.moment.now.since(state.attempt_at.unwrap_or(draft.moment.now));
    Ok(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}
