//! Ends a step without running it.

use std::collections::BTreeSet;

use super::super::decision::Decision;
use super::super::interventions::{close, concerns, is_of_the_pause};
use super::super::ready::advance;
use super::super::{Actor, Effect, Rejection, bounds, choices, four_eyes};
use super::onward::go_on;
use super::refuse::{refuse_if, refuse_settled, refuse_while_undoing};

use crate::definition::StepIx;
use crate::model::{EventBody, Json, StepSkipped, StepStatus, ThreadStatus, WorkflowResumed};

/// The reason for a skip where the person gave none.
const ASKED: &str = "asked";

/// Ends a step without running it; an attempt under way is cancelled.
pub(super) fn skip(
    decision: &mut Decision<'_>,
    step: StepIx,
    output: Option<Json>,
    actor: &Actor,
) -> Result<(), Rejection> {
    refuse_while_undoing(decision)?;
    refuse_settled(decision, step)?;
    four_eyes::may_change(decision.state, [step], actor, decision.context.max_event)
        .map_err(Rejection::NotAnApprover)?;
    let has_failed = decision.status_of(step) == StepStatus::Failed;
    match decision.state.status {
        // The step has failed its thread, which goes on without it.
        ThreadStatus::Paused | ThreadStatus::Failed if has_failed => {
            go_on_without(decision, step, output, actor);
            Ok(())
        }
        ThreadStatus::Queued | ThreadStatus::Running | ThreadStatus::Paused => {
            refuse_if(decision, step, |_| has_failed)?;
            emit_skip(decision, step, output, actor);
            advance(decision);
            Ok(())
        }
        status @ (ThreadStatus::Compensating
        | ThreadStatus::Completed
        | ThreadStatus::Failed
        | ThreadStatus::Aborted) => Err(Rejection::WrongState(status)),
    }
}

/// Continues a thread that a step has failed, without the step.
fn go_on_without(decision: &mut Decision<'_>, step: StepIx, output: Option<Json>, actor: &Actor) {
    close(decision, choices::SKIP, actor, is_of_the_pause);
    let Actor { by, reason, .. } = actor.clone();
    let deadline = bounds::deadline(decision.plan, &decision.context);
    let resumed = WorkflowResumed { by, reason, deadline, ..WorkflowResumed::default() };
    decision.emit(EventBody::WorkflowResumed(resumed));
    emit_skip(decision, step, output, actor);
    go_on(decision, actor);
}

pub(super) fn emit_skip(
    decision: &mut Decision<'_>,
    step: StepIx,
    output: Option<Json>,
    actor: &Actor,
) {
    cancel(decision, step);
    let plan = decision.plan;
    close(decision, choices::SKIP, actor, |one| concerns(plan, one, &BTreeSet::from([step])));
    let reason = actor.reason.clone().unwrap_or_else(|| ASKED.to_owned());
    let data = StepSkipped { reason, by: Some(actor.by.clone()), output };
    decision.emit_on(step, EventBody::StepSkipped, data);
}

/// Cancels the attempt of a step that is under way, if one is.
pub(super) fn cancel(decision: &mut Decision<'_>, step: StepIx) {
    if decision.state.steps[step].own.is_running() {
        decision.cause(Effect::Cancel(decision.current(step)));
    }
}
