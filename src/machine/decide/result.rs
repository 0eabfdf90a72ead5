//! How attempts end.

use std::sync::Arc;
use std::time::Duration;

use super::super::Rejection;
use super::super::draft::Draft;
use super::super::ready::{fail_step, settle};
use crate::model::{
    EventBody, Failure, Json, StepComplete, StepRetry, StepStatus, StepTimeoutWarning,
};

/// A step and the number of one of its attempts.
type AttemptRef = (usize, u32);

pub(super) fn complete(
    draft: &mut Draft<'_>,
    attempt: AttemptRef,
    output: Json,
    session_id: Option<String>,
) -> Result<(), Rejection> {
    let duration_ms = current(draft, attempt)?;
    let (step, _) = attempt;
    let data = StepComplete { output, duration_ms, session_id };
    draft.emit_on(step, EventBody::StepComplete, data);
    settle_dependents(draft, step);
    Ok(())
}

pub(super) fn fail(
    draft: &mut Draft<'_>,
    attempt: AttemptRef,
    failure: Failure,
    retry_after: Option<Duration>,
) -> Result<(), Rejection> {
    let duration_ms = current(draft, attempt)?;
    let (step, number) = attempt;
    let plan = Arc::clone(&draft.state.plan);
    let Some(planned) = plan.steps.get(step) else { return Err(Rejection::Stale) };
    let error = failure.at(&planned.id, number);
    let failures = draft.state.steps.get(step).map_or(0, |state| state.failures) + 1;
    if planned.retry.covers(&error) && failures < planned.retry.max_attempts {
        let delay = planned.retry.delay(failures, retry_after, draft.moment.unit);
        let retry_at = draft.moment.now.plus(delay);
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        draft.emit_on(step, EventBody::StepRetry, StepRetry { error, retry_at, delay_ms });
        settle(draft, Vec::new());
    } else {
        fail_step(draft, step, error, duration_ms);
        settle_dependents(draft, step);
    }
    Ok(())
}

pub(super) fn warn(draft: &mut Draft<'_>, attempt: AttemptRef) -> Result<(), Rejection> {
    let elapsed_ms = current(draft, attempt)?;
    let (step, _) = attempt;
    if draft.state.steps.get(step).is_none_or(|state| state.warned) {
        return Err(Rejection::Stale);
    }
    let timeout = draft.state.plan.steps.get(step).and_then(|step| step.timeout);
    let timeout_ms = timeout.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
    let data = StepTimeoutWarning { elapsed_ms, timeout_ms };
    draft.emit_on(step, EventBody::StepTimeoutWarning, data);
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

pub(super) fn settle_dependents(draft: &mut Draft<'_>, step: usize) {
    let dependents = draft.state.plan.steps.get(step).map(|step| step.dependents.clone());
    settle(draft, dependents.unwrap_or_default());
}
