//! Reports about attempts, which end or are worth a warning: the same for every work of a step.

use std::time::Duration;

use super::super::attempt::give_up;
use super::super::check;
use super::super::decision::Decision;
use super::super::ready::{settle, settle_dependents};
use super::super::{AttemptId, Held, Rejection, Report};
use crate::definition::Work;
use crate::model::{
    CompensationComplete, CompensationFailed, EventBody, Failure, Json, StepComplete, StepRetry,
    StepStale, StepTimeoutWarning, millis,
};

/// Decides what follows from a report about an attempt.
pub(super) fn reported(
    decision: &mut Decision<'_>,
    attempt: AttemptId,
    report: Report,
) -> Result<(), Rejection> {
    if !decision.state.is_running(attempt) {
        return Err(Rejection::Stale);
    }
    match report {
        Report::Done { output, session_id } => done(decision, attempt, output, session_id),
        Report::Failed { failure, retry_after } => fail(decision, attempt, failure, retry_after),
        Report::Slow => return warn(decision, attempt),
        Report::Stale { silent } => return stale(decision, attempt, silent),
    }
    Ok(())
}

fn done(decision: &mut Decision<'_>, attempt: AttemptId, output: Json, session_id: Option<String>) {
    let duration_ms = elapsed_ms(decision, attempt);
    let AttemptId { step, work, .. } = attempt;
    if work == Work::Compensation {
        let data = CompensationComplete { duration_ms };
        decision.emit_of(attempt, EventBody::CompensationComplete, data);
        return settle(decision, Vec::new());
    }
    match check::passes(decision, step, &output) {
        Ok(true) => {
            let fallback = work == Work::Fallback;
            let data = StepComplete { output, duration_ms, session_id, fallback, error: None };
            decision.emit_of(attempt, EventBody::StepComplete, data);
            settle_dependents(decision, step);
        }
        Ok(false) => {
            check::block(decision, step, Held { output, duration_ms, session_id });
            settle(decision, Vec::new());
        }
        Err(failure) => fail(decision, attempt, failure, None),
    }
}

fn fail(
    decision: &mut Decision<'_>,
    attempt: AttemptId,
    failure: Failure,
    retry_after: Option<Duration>,
) {
    let duration_ms = elapsed_ms(decision, attempt);
    let AttemptId { step, work, number } = attempt;
    let planned = decision.plan.steps[step].work(work);
    let failures = decision.state.steps[step].track(work).failures + 1;
    let error = failure.at(&planned.id, number);
    let delay = planned.retry.next_attempt((&error, retry_after), failures, decision.moment.unit);
    let retry_at = delay.map(|delay| decision.moment.now.plus(delay));
    let delay_ms = delay.map(millis);
    if work == Work::Compensation {
        let is_final = delay.is_none();
        let data = CompensationFailed { error, duration_ms, is_final, retry_at, delay_ms };
        decision.emit_of(attempt, EventBody::CompensationFailed, data);
        settle(decision, Vec::new());
    } else if let (Some(retry_at), Some(delay_ms)) = (retry_at, delay_ms) {
        let data = StepRetry { error, retry_at, delay_ms, fallback: false, cancelled: false };
        decision.emit_of(attempt, EventBody::StepRetry, data);
        settle(decision, Vec::new());
    } else {
        give_up(decision, step, error, duration_ms);
        settle_dependents(decision, step);
    }
}

fn warn(decision: &mut Decision<'_>, attempt: AttemptId) -> Result<(), Rejection> {
    let AttemptId { step, work, .. } = attempt;
    if decision.state.steps[step].track(work).warned {
        return Err(Rejection::Stale);
    }
    let timeout = decision.plan.steps[step].work(work).timeout;
    let data = StepTimeoutWarning {
        elapsed_ms: elapsed_ms(decision, attempt),
        timeout_ms: decision.moment.timeouts.attempt(timeout).map(millis),
        compensation: work == Work::Compensation,
    };
    decision.emit_of(attempt, EventBody::StepTimeoutWarning, data);
    Ok(())
}

fn stale(
    decision: &mut Decision<'_>,
    attempt: AttemptId,
    silent: Duration,
) -> Result<(), Rejection> {
    let AttemptId { step, work, .. } = attempt;
    if decision.state.steps[step].track(work).stale {
        return Err(Rejection::Stale);
    }
    let compensation = work == Work::Compensation;
    let data = StepStale { silent_ms: millis(silent), compensation };
    decision.emit_of(attempt, EventBody::StepStale, data);
    Ok(())
}

/// Returns the time that the current attempt has run, in milliseconds.
fn elapsed_ms(decision: &Decision<'_>, AttemptId { step, work, .. }: AttemptId) -> u64 {
    let began = decision.state.steps[step].track(work).attempt_at;
    let now = decision.moment.now;
    millis(now.since(began.unwrap_or(now)))
}
