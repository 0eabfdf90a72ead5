//! Reports about attempts, which end or are worth a warning: the same for every work of a step.

use std::time::Duration;

use super::super::attempt::{fail, succeed};
use super::super::decision::Decision;
use super::super::ready::settle_dependents;
use super::super::{AttemptId, Rejection, Report};
use crate::definition::Work;
use crate::model::{EventBody, StepStale, StepTimeoutWarning, millis};

/// Decides what follows from a report about an attempt.
pub(super) fn reported(
    decision: &mut Decision<'_>,
    attempt: AttemptId,
    report: Report,
) -> Result<(), Rejection> {
    if !decision.state.is_running(attempt) {
        return Err(Rejection::NotCurrent);
    }
    match report {
        Report::Done { output, session_id } => succeed(decision, attempt, output, session_id),
        Report::Failed { failure, retry_after } => fail(decision, attempt, failure, retry_after),
        Report::Slow => return warn(decision, attempt),
        Report::Stale { silent } => return stale(decision, attempt, silent),
    }
    settle_dependents(decision, attempt.step);
    Ok(())
}

fn warn(decision: &mut Decision<'_>, attempt: AttemptId) -> Result<(), Rejection> {
    let AttemptId { step, work, .. } = attempt;
    if decision.state.steps[step].track(work).is_warned() {
        return Err(Rejection::NotCurrent);
    }
    let timeout = decision.plan.steps[step].work(work).timeout;
    let data = StepTimeoutWarning {
        elapsed_ms: decision.elapsed_ms(attempt),
        timeout_ms: decision.context.timeouts.attempt(timeout).map(millis),
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
    if decision.state.steps[step].track(work).is_stale() {
        return Err(Rejection::NotCurrent);
    }
    let compensation = work == Work::Compensation;
    let data = StepStale { silent_ms: millis(silent), compensation };
    decision.emit_of(attempt, EventBody::StepStale, data);
    Ok(())
}
