//! Continues a failed, aborted or paused thread.

use std::collections::BTreeSet;

use super::super::abort::go_on_undoing;
use super::super::decision::Decision;
use super::super::interventions::{close, concerns, is_of_the_pause};
use super::super::{Actor, Rejection, Resume, bounds, choices, four_eyes};
use super::onward::go_on;
use super::refuse::{refuse_if, refuse_settled};
use super::skip::emit_skip;
use crate::definition::StepIx;
use crate::model::{EventBody, StepStatus, ThreadStatus, WorkflowResumed};

pub(super) fn resume(
    decision: &mut Decision<'_>,
    how: Resume,
    actor: &Actor,
) -> Result<(), Rejection> {
    match decision.state.status {
        ThreadStatus::Failed | ThreadStatus::Aborted | ThreadStatus::Paused => {}
        status @ (ThreadStatus::Queued
        | ThreadStatus::Running
        | ThreadStatus::Compensating
        | ThreadStatus::Completed) => return Err(Rejection::WrongState(status)),
    }
    if decision.state.compensation_reason.is_some() {
        // The compensation goes on; to go forwards again, a person aborts the thread first.
        if how != Resume::default() {
            return Err(Rejection::Compensating);
        }
        go_on_undoing(decision, actor);
        return Ok(());
    }
    let again = decision.state.run_again(how.from_step);
    for &step in &again {
        // The result of its attempt may be a moment away; two attempts of one step never run side
        // by side.
        refuse_if(decision, step, |status| status == StepStatus::Running)?;
    }
    let skip: BTreeSet<StepIx> = how.skip.into_iter().collect();
    for &step in skip.difference(&again) {
        refuse_settled(decision, step)?;
    }
    let given = (how.input.as_ref(), &again);
    let limit = decision.context.max_event;
    four_eyes::may_change_input(decision.state, given, actor, limit)
        .and_then(|()| four_eyes::may_change(decision.state, skip.iter().copied(), actor, limit))
        .and_then(|()| {
            let completed =
                |at: &StepIx| decision.state.steps[*at].status() == StepStatus::Completed;
            let runs = again.iter().copied().filter(completed).collect();
            four_eyes::may_repeat(decision.state, (&runs, &again), actor, limit)
        })
        .map_err(Rejection::NotAnApprover)?;
    let plan = decision.plan;
    let ends: BTreeSet<StepIx> = again.union(&skip).copied().collect();
    close(decision, choices::RESUME, actor, |one| {
        is_of_the_pause(one) || concerns(plan, one, &ends)
    });
    let Actor { by, reason, .. } = actor.clone();
    let from_step = how.from_step.map(|step| decision.step_id(step));
    let deadline = bounds::deadline(plan, &decision.context);
    let resumed = WorkflowResumed { by, reason, from_step, input: how.input, deadline };
    decision.emit(EventBody::WorkflowResumed(resumed));
    for step in skip {
        emit_skip(decision, step, None, actor);
    }
    go_on(decision, actor);
    Ok(())
}
