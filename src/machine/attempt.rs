//! Begins the attempts of a step and ends them, whoever holds them: each outcome leads to the next
//! attempt, to the fallback or to the end of the step.
//!
//! The journal tells which of its two works a step is at: the retry that hands over to the fallback
//! is marked, and so is every attempt of the fallback. An attempt of a step that waits (for a time,
//! a signal or a person) begins with its wait and is held by nobody. The functions that end an
//! attempt leave the steps that depend on it to their callers.

use std::time::Duration;

use super::decision::Decision;
use super::fallback::stand_in;
use super::{Actor, AttemptId, BlockedOutput, Effect, approval, check, wait};
use crate::definition::{Fallback, PlanStep, StepIx, Wait, Work};
use crate::model::{
    Category, CompensationComplete, CompensationFailed, EventBody, Failure, Json, StepComplete,
    StepFailed, StepRetry, StepStart, ThreadStatus, codes, millis,
};

/// Returns whether steps may start: a failing thread only waits for its running attempts.
pub(super) fn may_start(decision: &Decision<'_>) -> bool {
    decision.context.may_start
        && matches!(decision.state.status, ThreadStatus::Queued | ThreadStatus::Running)
        && decision.state.error.is_none()
}

/// Starts the next attempt of a step; `actor` has asked for it before it was due.
pub(super) fn start_attempt(decision: &mut Decision<'_>, step: StepIx, actor: Option<&Actor>) {
    let planned = decision.planned(step);
    let current = decision.current(step);
    let attempt = AttemptId { number: current.number + 1, ..current };
    let data = StepStart {
        kind: planned.action.kind().to_owned(),
        fallback: attempt.work == Work::Fallback,
        by: actor.map(|actor| actor.by.clone()),
        reason: actor.and_then(|actor| actor.reason.clone()),
    };
    decision.emit_of(attempt, EventBody::StepStart, data);
    match planned.action.wait() {
        Some(wait) => begin_waiting(decision, attempt, (planned, wait)),
        None => decision.cause(Effect::Run(attempt)),
    }
}

/// Begins the wait of a step. A signal that is there already, or a time that has come, ends it at
/// once.
fn begin_waiting(
    decision: &mut Decision<'_>,
    attempt: AttemptId,
    (planned, wait): (&PlanStep, &Wait),
) {
    let rendered = wait::filled_in(planned, &*decision.state, &decision.context);
    let begun = rendered.and_then(|with| match wait {
        Wait::Sleep => wait::fall_asleep(decision, attempt, &with),
        Wait::Signal => wait::listen(decision, attempt, &with),
        Wait::Approval { .. } => {
            approval::ask(decision, attempt.step, planned, &with).map(|()| None)
        }
    });
    match begun {
        Ok(None) => {}
        Ok(Some(output)) => succeed(decision, attempt, output, None),
        Err(failure) => fail(decision, attempt, failure, None),
    }
}

/// Ends a wait whose time has come.
pub(super) fn time_is_up(decision: &mut Decision<'_>, step: StepIx) {
    let (planned, attempt) = (decision.planned(step), decision.current(step));
    let Some(wait) = planned.action.wait() else { return };
    let ended = match wait {
        Wait::Sleep => Ok(wait::slept(decision, attempt)),
        Wait::Signal => {
            let name = decision.state.steps[step].own.signal().unwrap_or_default();
            Err(format!("nobody sent the signal {name}"))
        }
        Wait::Approval { .. } => match approval::expire(decision, planned) {
            Some(ended) => ended,
            None => return,
        },
    };
    match ended {
        Ok(output) => succeed(decision, attempt, output, None),
        Err(message) => {
            let failure = Failure::permanent(codes::WAIT_TIMEOUT, Category::Timeout, message);
            fail(decision, attempt, failure, None);
        }
    }
}

/// Delivers signals of this name to the steps that wait for them, oldest first; returns the steps
/// that ended with one.
pub(super) fn deliver(decision: &mut Decision<'_>, name: &str) -> Vec<StepIx> {
    let mut ended = Vec::new();
    while let Some(payload) = wait::sent(decision.state, name) {
        let Some(step) = decision.state.steps.find(|step| step.own.signal() == Some(name)) else {
            break;
        };
        let attempt = decision.current(step);
        succeed(decision, attempt, payload, None);
        ended.push(step);
    }
    ended
}

/// Asks withdrawn questions again, with the thread's data as they are now. The thread goes on: a
/// question that cannot be asked fails its attempt.
pub(super) fn ask_again(decision: &mut Decision<'_>) {
    for step in approval::waiting(decision.state) {
        if let Err(failure) = approval::ask_unless_open(decision, step) {
            let attempt = decision.current(step);
            fail(decision, attempt, failure, None);
        }
    }
}

/// Ends an attempt that has this output, which its `check` may block or refuse.
pub(super) fn succeed(
    decision: &mut Decision<'_>,
    attempt: AttemptId,
    output: Json,
    session_id: Option<String>,
) {
    let duration_ms = decision.elapsed_ms(attempt);
    let AttemptId { step, work, .. } = attempt;
    if work == Work::Compensation {
        let data = CompensationComplete { duration_ms };
        return decision.emit_of(attempt, EventBody::CompensationComplete, data);
    }
    match check::passes(decision, step, &output) {
        Ok(true) => {
            let fallback = work == Work::Fallback;
            let data = StepComplete { output, duration_ms, session_id, fallback, error: None };
            decision.emit_of(attempt, EventBody::StepComplete, data);
        }
        Ok(false) => {
            check::block(decision, step, BlockedOutput { output, duration_ms, session_id });
        }
        Err(failure) => fail(decision, attempt, failure, None),
    }
}

/// Ends an attempt that has failed: another one follows as its retry policy says, or its work has
/// used its attempts.
pub(super) fn fail(
    decision: &mut Decision<'_>,
    attempt: AttemptId,
    failure: Failure,
    retry_after: Option<Duration>,
) {
    let duration_ms = decision.elapsed_ms(attempt);
    let AttemptId { step, work, number } = attempt;
    let planned = decision.plan.steps[step].work(work);
    let failures = decision.state.steps[step].track(work).failures + 1;
    let error = failure.at(&planned.id, number);
    let delay = planned.retry.next_attempt((&error, retry_after), failures, decision.context.unit);
    let retry_at = delay.map(|delay| decision.context.now.plus(delay));
    let delay_ms = delay.map(millis);
    if work == Work::Compensation {
        let is_final = delay.is_none();
        let data = CompensationFailed { error, duration_ms, is_final, retry_at, delay_ms };
        decision.emit_of(attempt, EventBody::CompensationFailed, data);
    } else if let (Some(retry_at), Some(delay_ms)) = (retry_at, delay_ms) {
        let data = StepRetry { error, retry_at, delay_ms, fallback: false, cancelled: false };
        decision.emit_of(attempt, EventBody::StepRetry, data);
    } else {
        give_up(decision, attempt, error, duration_ms);
    }
}

/// Ends a work that has used its attempts: the fallback takes over, or the step fails.
fn give_up(decision: &mut Decision<'_>, attempt: AttemptId, error: Failure, duration_ms: u64) {
    let AttemptId { step, work, .. } = attempt;
    match decision.plan.steps[step].fallback.as_ref().filter(|_| work == Work::Own) {
        None => fail_step(decision, step, error, duration_ms),
        Some(Fallback::Step(_)) => hand_over(decision, step, error),
        Some(Fallback::Output(template)) => match stand_in(decision, step, template, &error) {
            Ok(output) => {
                let (session_id, error) = (None, Some(error));
                let data = StepComplete { output, duration_ms, session_id, fallback: true, error };
                decision.emit_of(attempt, EventBody::StepComplete, data);
            }
            Err(failure) => fail_step(decision, step, failure, duration_ms),
        },
    }
}

/// Hands a step over to its fallback, whose first attempt starts at once, or as soon as steps may
/// start.
fn hand_over(decision: &mut Decision<'_>, step: StepIx, error: Failure) {
    // The time of this event itself: see `Decision::emit`.
    let retry_at = decision.context.now.max(decision.state.updated_at);
    let data = StepRetry { error, retry_at, delay_ms: 0, fallback: true, cancelled: false };
    decision.emit_on(step, EventBody::StepRetry, data);
    if may_start(decision) {
        start_attempt(decision, step, None);
    }
}

/// Fails a step; no fallback takes over from it.
pub(super) fn fail_step(
    decision: &mut Decision<'_>,
    step: StepIx,
    error: Failure,
    duration_ms: u64,
) {
    let continued = decision.plan.steps[step].continue_on_error;
    let data = StepFailed { error, continued, duration_ms };
    decision.emit_on(step, EventBody::StepFailed, data);
}
