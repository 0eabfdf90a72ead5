//! Starts the next attempt of a step now.

use std::collections::BTreeSet;

use super::super::attempt::start_attempt;
use super::super::decision::Decision;
use super::super::interventions::{close, concerns};
use super::super::ready::settle;
use super::super::{Actor, Rejection, Resume, choices, undo};
use super::refuse::{refuse_if, refuse_settled, refuse_while_undoing};
use super::resume::resume;
use super::skip::cancel;
use crate::definition::StepIx;
use crate::model::{Category, EventBody, Failure, StepRetry, StepStatus, ThreadStatus, codes};

/// Starts the next attempt of a step or of its compensation now, or continues the thread that the
/// step has failed.
pub(super) fn retry(
    decision: &mut Decision<'_>,
    step: StepIx,
    actor: &Actor,
) -> Result<(), Rejection> {
    if decision.state.status == ThreadStatus::Compensating {
        return undo::retry_now(decision, step, actor);
    }
    refuse_while_undoing(decision)?;
    match (decision.state.status, decision.status_of(step)) {
        (ThreadStatus::Running, StepStatus::Retrying) if decision.state.error.is_none() => {
            start_attempt(decision, step, Some(actor));
            Ok(())
        }
        (ThreadStatus::Running, StepStatus::Running) if decision.state.error.is_none() => {
            give_attempt_up(decision, step, actor);
            start_attempt(decision, step, Some(actor));
            Ok(())
        }
        (ThreadStatus::Running, StepStatus::Waiting)
            if decision.state.steps[step].own.blocked().is_some() =>
        {
            let plan = decision.plan;
            close(decision, choices::RETRY, actor, |one| {
                concerns(plan, one, &BTreeSet::from([step]))
            });
            settle(decision, vec![step]);
            Ok(())
        }
        (ThreadStatus::Failed | ThreadStatus::Paused, StepStatus::Failed) => {
            refuse_settled(decision, step)?;
            resume(decision, Resume::default(), actor)
        }
        (
            status @ (ThreadStatus::Queued
            | ThreadStatus::Paused
            | ThreadStatus::Compensating
            | ThreadStatus::Completed
            | ThreadStatus::Failed
            | ThreadStatus::Aborted),
            _,
        ) => Err(Rejection::WrongState(status)),
        (ThreadStatus::Running, _) => refuse_if(decision, step, |_| true),
    }
}

/// Ends an attempt that a person does not want to wait for any longer.
fn give_attempt_up(decision: &mut Decision<'_>, step: StepIx, actor: &Actor) {
    cancel(decision, step);
    let message = format!("{} had the next attempt made", actor.by);
    let failure = Failure::recoverable(codes::CANCELLED, Category::Step, message);
    let data = StepRetry {
        error: failure.at(&decision.plan.steps[step].id, decision.state.steps[step].own.attempts),
        // The time of this event itself: see `Decision::emit`.
        retry_at: decision.context.now.max(decision.state.updated_at),
        delay_ms: 0,
        fallback: false,
        cancelled: true,
    };
    decision.emit_on(step, EventBody::StepRetry, data);
}
