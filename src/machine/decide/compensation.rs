//! How attempts of compensations end.

use std::sync::Arc;
use std::time::Duration;

use super::super::abort::stop_if_over;
use super::super::draft::Draft;
use super::super::undo::{AttemptRef, emit_on, proceed};
use super::super::{Rejection, Report};
use crate::definition::Phase;
use crate::model::{
    CompensationComplete, CompensationFailed, EventBody, Failure, StepStale, StepStatus,
    StepTimeoutWarning,
};

/// What became of an attempt.
pub(super) fn reported(
    draft: &mut Draft<'_>,
    attempt: AttemptRef,
    what: Report,
) -> Result<(), Rejection> {
    let duration_ms = current(draft, attempt)?;
    match what {
        Report::Done { .. } => {
            let data = CompensationComplete { duration_ms };
            emit_on(draft, attempt, EventBody::CompensationComplete, data);
        }
        Report::Failed { failure, retry_after } => {
            failed(draft, attempt, (failure, retry_after), duration_ms)?;
        }
        Report::Slow => return warn(draft, attempt, duration_ms),
        Report::Stale { silent } => return stale(draft, attempt, silent),
    }
    stop_if_over(draft);
    proceed(draft);
    Ok(())
}

fn failed(
    draft: &mut Draft<'_>,
    attempt: AttemptRef,
    (failure, retry_after): (Failure, Option<Duration>),
    duration_ms: u64,
) -> Result<(), Rejection> {
    let plan = Arc::clone(&draft.state.plan);
    let planned = plan.steps.get(attempt.0).ok_or(Rejection::Stale)?;
    let error = failure.at(&planned.id, attempt.1);
    let undo = draft.state.steps.get(attempt.0).and_then(|step| step.undo.as_ref());
    let failures = undo.map_or(0, |undo| undo.failures) + 1;
    let planned = planned.phase(Phase::Compensation);
    let delay = planned.retry.next_attempt((&error, retry_after), failures, draft.moment.unit);
    let data = CompensationFailed {
        error,
        duration_ms,
        is_final: delay.is_none(),
        retry_at: delay.map(|delay| draft.moment.now.plus(delay)),
        delay_ms: delay.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
    };
    emit_on(draft, attempt, EventBody::CompensationFailed, data);
    Ok(())
}

fn warn(draft: &mut Draft<'_>, attempt: AttemptRef, elapsed_ms: u64) -> Result<(), Rejection> {
    let undo = draft.state.steps.get(attempt.0).and_then(|step| step.undo.as_ref());
    if undo.is_none_or(|undo| undo.warned) {
        return Err(Rejection::Stale);
    }
    let planned = draft.state.plan.steps.get(attempt.0);
    let timeout = planned.and_then(|planned| planned.phase(Phase::Compensation).timeout);
    let timeout = draft.moment.timeouts.attempt(timeout);
    let timeout_ms = timeout.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
    let data = StepTimeoutWarning { elapsed_ms, timeout_ms, compensation: true };
    emit_on(draft, attempt, EventBody::StepTimeoutWarning, data);
    Ok(())
}

fn stale(draft: &mut Draft<'_>, attempt: AttemptRef, silent: Duration) -> Result<(), Rejection> {
    let undo = draft.state.steps.get(attempt.0).and_then(|step| step.undo.as_ref());
    if undo.is_none_or(|undo| undo.stale) {
        return Err(Rejection::Stale);
    }
    let silent_ms = u64::try_from(silent.as_millis()).unwrap_or(u64::MAX);
    emit_on(draft, attempt, EventBody::StepStale, StepStale { silent_ms, compensation: true });
    Ok(())
}

/// How long the attempt has run, in milliseconds, if it is the current one.
fn current(draft: &Draft<'_>, (step, attempt): AttemptRef) -> Result<u64, Rejection> {
    let state = draft.state.steps.get(step).ok_or(Rejection::Stale)?;
    let undo = state.undo.as_ref().ok_or(Rejection::Stale)?;
    if undo.status != StepStatus::Running || state.undo_attempts != attempt {
        return Err(Rejection::Stale);
    }
    let elapsed = draft.moment.now.since(undo.attempt_at.unwrap_or(draft.moment.now));
    Ok(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}
