//! Decides how a fork begins: a thread of its own that goes on from the history of another.
//!
//! The state that comes in was folded from that history under the new thread's id. No replica was
//! lost: attempts that are under way in the other thread are simply made again here. Called by the
//! runtime alone, before the fork's first append; the replica that drives the fork starts its
//! steps.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::attempt::{ask_again, deliver};
use super::super::decision::Decision;
use super::super::interventions::close_for_fork;
use super::super::{Actor, DecisionContext, ThreadState, approval, bounds, four_eyes};
use crate::definition::{self, Allowance, Plan, StepIx};
use crate::model::{
    Event, EventBody, Json, StepEdited, StepId, StepStatus, ThreadStatus, WorkflowForked,
};

/// The differences between a fork and the thread it is forked from.
#[derive(Debug, Clone, PartialEq)]
pub struct Fork {
    /// New outputs of completed steps.
    pub edits: Vec<(StepIx, Json)>,
    /// The new input, for steps that still have to run.
    pub input: Option<Json>,
    /// The actor who forks, and the reason.
    pub actor: Actor,
}

/// The reason for which a thread cannot be forked like that. A refused fork changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForkRejection {
    /// The fork would have nothing to run, or the thread is being undone.
    #[error("the thread is {}", .0.as_str())]
    WrongState(ThreadStatus),
    /// The step has no output yet that could be edited.
    #[error("step {0} is {status}", status = .1.as_str())]
    NotCompleted(StepId, StepStatus),
    /// The fork would answer an approval that somebody else has to answer.
    #[error("{0}")]
    NotAnApprover(String),
    /// The first step would run again, although the second one depends on it and keeps its edited
    /// output.
    #[error("step {0} runs again, and step {1} depends on it")]
    Undone(StepId, StepId),
}

/// Decides how a fork goes on from the history it has, and folds the events into `state`.
pub fn fork(
    state: &mut ThreadState,
    fork: Fork,
    context: DecisionContext,
) -> Result<Vec<Event>, ForkRejection> {
    definition::within(Allowance::DECISION, || decided(state, fork, context))
}

fn decided(
    state: &mut ThreadState,
    fork: Fork,
    context: DecisionContext,
) -> Result<Vec<Event>, ForkRejection> {
    let Fork { edits, input, actor } = fork;
    match state.status {
        ThreadStatus::Completed if edits.is_empty() && input.is_none() => {
            return Err(ForkRejection::WrongState(state.status));
        }
        // A thread that was paused during its compensation is refused as well.
        _ if state.compensation_reason.is_some() => {
            return Err(ForkRejection::WrongState(ThreadStatus::Compensating));
        }
        ThreadStatus::Queued
        | ThreadStatus::Running
        | ThreadStatus::Paused
        | ThreadStatus::Compensating
        | ThreadStatus::Completed
        | ThreadStatus::Failed
        | ThreadStatus::Aborted => {}
    }
    let plan = Arc::clone(&state.plan);
    let again = behind(&plan, state, &edits)?;
    allowed(state, (&edits, input.as_ref(), &again), (&actor, context.max_event))?;
    let lost = lost(state, &again);
    let mut decision = Decision::new(&plan, state, context);
    close_for_fork(&mut decision, &actor, &again);
    decision.emit(EventBody::WorkflowForked(WorkflowForked {
        by: actor.by.clone(),
        reason: actor.reason.clone(),
        steps: lost,
        again: again.iter().map(|&step| decision.step_id(step)).collect(),
        input,
        deadline: bounds::deadline(&plan, &context),
    }));
    for (step, output) in edits {
        let Actor { by, reason, .. } = actor.clone();
        decision.emit_on(step, EventBody::StepEdited, StepEdited { output, by, reason });
    }
    approval::withdraw_changed(&mut decision, &actor);
    if decision.state.status == ThreadStatus::Running {
        ask_again(&mut decision);
    }
    take_signals(&mut decision);
    Ok(decision.into_decided().events)
}

/// Checks that the actor could give the approvals that are about data which the fork changes, and those
/// that it goes on from.
fn allowed(
    state: &ThreadState,
    (edits, input, again): (&[(StepIx, Json)], Option<&Json>, &BTreeSet<StepIx>),
    (actor, limit): (&Actor, usize),
) -> Result<(), ForkRejection> {
    let again: BTreeSet<StepIx> = again.union(&state.run_again(None)).copied().collect();
    let edited = edits.iter().map(|(step, _)| *step);
    let ended = |status| matches!(status, StepStatus::Completed | StepStatus::Skipped);
    let runs =
        state.steps.placed().filter(|(at, step)| again.contains(at) || !ended(step.status()));
    let runs = runs.map(|(at, _)| at).collect();
    four_eyes::may_change_input(state, (input, &again), actor, limit)
        .and_then(|()| four_eyes::may_change(state, edited, actor, limit))
        .and_then(|()| four_eyes::may_repeat(state, (&runs, &again), actor, limit))
        .map_err(ForkRejection::NotAnApprover)
}

/// Returns the steps after an edited one that have begun or were passed by.
fn behind(
    plan: &Plan,
    state: &ThreadState,
    edits: &[(StepIx, Json)],
) -> Result<BTreeSet<StepIx>, ForkRejection> {
    let edited: BTreeSet<StepIx> = edits.iter().map(|(step, _)| *step).collect();
    for &step in &edited {
        let status = state.steps[step].status();
        if status != StepStatus::Completed {
            return Err(ForkRejection::NotCompleted(plan.steps[step].id.clone(), status));
        }
    }
    let mut again = plan.after_all(edited.iter().copied());
    again.retain(|step| !edited.contains(step));
    // Steps that were undone in the other thread run again here, with all steps after them.
    let redone = state.run_again(None);
    for &step in &edited {
        let other = &plan.steps[step];
        // Its output stands, so the steps that it came from must stand, too.
        let undone = other.depends_on.iter().find(|at| again.contains(at) || redone.contains(at));
        if let Some(&undone) = undone {
            return Err(ForkRejection::Undone(plan.steps[undone].id.clone(), other.id.clone()));
        }
    }
    again.retain(|&step| {
        let found = &state.steps[step];
        found.status() != StepStatus::Pending || found.own.attempts > 0
    });
    Ok(again)
}

/// Returns the steps that begin their attempt anew: those that ran, and those whose question is not
/// open at this point of the history (not asked yet, or answered without the events that follow).
fn lost(state: &ThreadState, again: &BTreeSet<StepIx>) -> Vec<StepId> {
    let asks = |id: &StepId| state.open_interventions().any(|one| one.opened.steps.contains(id));
    let lost = state.placed().filter(|(step, planned, found)| {
        let question = planned.work(found.work()).action.asks() || found.own.blocked().is_some();
        let unheard = found.status() == StepStatus::Waiting && question && !asks(&planned.id);
        !again.contains(step) && (found.status() == StepStatus::Running || unheard)
    });
    lost.map(|(_, planned, _)| planned.id.clone()).collect()
}

/// Delivers signals to the steps that wait for them: the history may end before a step took its
/// signal.
fn take_signals(decision: &mut Decision<'_>) {
    if decision.state.status.is_terminal() {
        return;
    }
    let waits: BTreeSet<String> = decision
        .state
        .steps
        .iter()
        .filter_map(|step| step.own.signal())
        .map(str::to_owned)
        .collect();
    for name in waits {
        // The replica that drives the thread looks at the steps that depend on those that end here.
        deliver(decision, &name);
    }
}
