//! Goes on from the history of another thread, as one of its own.
//!
//! The state that comes in was folded from that history under the new thread's id. Nobody was lost:
//! what was under way over there is simply made again here. Called by the runtime alone, before the
//! fork's first append; the steps that can start are started by whoever drives it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::attempt::ask_again;
use super::super::draft::Draft;
use super::super::interventions::close_for_fork;
use super::super::wait::deliver;
use super::super::{Moment, ThreadState, Who, approval, bounds, four_eyes};
use crate::definition::{Action, Plan};
use crate::model::{
    Event, EventBody, Json, StepEdited, StepId, StepStatus, ThreadStatus, WorkflowForked,
};

/// How a fork differs from the thread it is forked from. Steps are named by their position.
#[derive(Debug, Clone, PartialEq)]
pub struct Fork {
    /// Outputs in the place of those of completed steps.
    pub edits: Vec<(usize, Json)>,
    /// The input of whatever still has to run.
    pub input: Option<Json>,
    /// Who forks, and why.
    pub who: Who,
}

/// Why a thread cannot be forked like that. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForkRejection {
    /// There would be nothing to run, or what runs there is being undone.
    #[error("the thread is {}", .0.as_str())]
    WrongState(ThreadStatus),
    /// The step has no output yet that could be edited.
    #[error("step {0} is {status}", status = .1.as_str())]
    NotCompleted(StepId, StepStatus),
    /// It would answer an approval that somebody else has to answer.
    #[error("{0}")]
    NotAnApprover(String),
    /// The first step would run again, because of an edit, after the second one that depends on it.
    #[error("step {0} runs again, and step {1} depends on it")]
    Undone(StepId, StepId),
}

/// Decides how a fork goes on from the history it has, and folds it into `state`.
pub fn fork(
    state: &mut ThreadState,
    fork: Fork,
    moment: Moment,
) -> Result<Vec<Event>, ForkRejection> {
    let Fork { edits, input, who } = fork;
    match state.status {
        ThreadStatus::Completed if edits.is_empty() && input.is_none() => {
            return Err(ForkRejection::WrongState(state.status));
        }
        // Also where it was paused meanwhile.
        _ if state.undoing.is_some() => {
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
    allowed(state, (&edits, input.as_ref(), &again), (&who, moment.max_event))?;
    let lost = lost(&plan, state, &again);
    let mut draft = Draft::new(state, moment);
    close_for_fork(&mut draft, &who, &again);
    draft.emit(EventBody::WorkflowForked(WorkflowForked {
        by: who.by.clone(),
        reason: who.reason.clone(),
        steps: lost,
        again: again.iter().filter_map(|&step| draft.step_id(step)).collect(),
        input,
        deadline: bounds::deadline(&plan, &moment),
    }));
    for (step, output) in edits {
        let Who { by, reason, .. } = who.clone();
        draft.emit_on(step, EventBody::StepEdited, StepEdited { output, by, reason });
    }
    approval::withdraw_changed(&mut draft, &who);
    if draft.state.status == ThreadStatus::Running {
        ask_again(&mut draft);
    }
    take_signals(&mut draft);
    Ok(draft.into_events())
}

/// Whether whoever forks could give the approvals that are about what the fork changes.
fn allowed(
    state: &ThreadState,
    (edits, input, again): (&[(usize, Json)], Option<&Json>, &BTreeSet<usize>),
    (who, limit): (&Who, usize),
) -> Result<(), ForkRejection> {
    let again: BTreeSet<usize> = again.union(&state.run_again(None)).copied().collect();
    let edited = edits.iter().map(|(step, _)| *step);
    four_eyes::may_change_input(state, (input, &again), who, limit)
        .and_then(|()| four_eyes::may_change(state, edited, who, limit))
        .map_err(ForkRejection::NotAnApprover)
}

/// The steps that have begun, or were passed by, after one whose output is edited.
fn behind(
    plan: &Plan,
    state: &ThreadState,
    edits: &[(usize, Json)],
) -> Result<BTreeSet<usize>, ForkRejection> {
    let id = |step: usize| plan.steps.get(step).map(|step| step.id.clone());
    let edited: BTreeSet<usize> = edits.iter().map(|(step, _)| *step).collect();
    for &step in &edited {
        if let (Some(id), Some(found)) = (id(step), state.step(step))
            && found.status != StepStatus::Completed
        {
            return Err(ForkRejection::NotCompleted(id, found.status));
        }
    }
    let mut again: BTreeSet<usize> = edited.iter().flat_map(|&step| plan.after(step)).collect();
    again.retain(|step| !edited.contains(step));
    // What was undone over there is done again here, with all that comes after it.
    let redone = state.run_again(None);
    for (step, other) in plan.steps.iter().enumerate() {
        // Its output stands, so what it came from must, too.
        let undone = other.depends_on.iter().find(|at| again.contains(at) || redone.contains(at));
        if let (true, Some(undone)) = (edited.contains(&step), undone.and_then(|&at| id(at))) {
            return Err(ForkRejection::Undone(undone, other.id.clone()));
        }
    }
    again.retain(|&step| {
        let begun = |found: &super::super::StepState| {
            found.status != StepStatus::Pending || found.attempts > 0
        };
        state.step(step).is_some_and(begun)
    });
    Ok(again)
}

/// The steps that have to begin their attempt anew: those that ran, and questions that stand between
/// being asked, or answered, and what follows from it.
fn lost(plan: &Plan, state: &ThreadState, again: &BTreeSet<usize>) -> Vec<StepId> {
    let asks = |id: &StepId| state.open_interventions().any(|one| one.opened.steps.contains(id));
    let steps = plan.steps.iter().zip(&state.steps).enumerate();
    let lost = steps.filter(|(step, (planned, found))| {
        let approves = matches!(*planned.phase(found.phase()).action, Action::Approval { .. });
        let question = approves || found.held.is_some();
        let unheard = found.status == StepStatus::Waiting && question && !asks(&planned.id);
        !again.contains(step) && (found.status == StepStatus::Running || unheard)
    });
    lost.map(|(_, (planned, _))| planned.id.clone()).collect()
}

/// Gives steps what was sent for them: in the history, the step may not have taken it yet.
fn take_signals(draft: &mut Draft<'_>) {
    if draft.state.status.is_terminal() {
        return;
    }
    let waits: BTreeSet<String> =
        draft.state.steps.iter().filter_map(|step| step.signal.clone()).collect();
    for name in waits {
        // What depends on the steps that end with it is looked at by whoever drives the thread.
        deliver(draft, &name);
    }
}
