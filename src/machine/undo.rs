//! Undoing a thread that has failed or was aborted: the completed steps that say how are
//! compensated, one at a time, and the one that completed last is the first.
//!
//! The first `compensation_start` is the turn: whatever else was under way ends with it, and nothing
//! is started any more. A compensation that has used its attempts is left, and the others go on. It
//! never touches a step that did not complete. Called by whatever ends attempts and threads.

use std::sync::Arc;

use super::draft::Draft;
use super::interventions::withdraw;
use super::state::{StepState, ThreadState};
use super::{Rejection, Undoing, Who};
use crate::definition::{Fallback, Phase, PlanStep};
use crate::model::{
    Category, Compensation, CompensationStart, EventBody, Failure, NotCompensated, OnStep, StepId,
    StepStatus, ThreadStatus, WorkflowAborted, WorkflowFailed, codes,
};

/// A step and the number of one of the attempts of its compensation.
pub(super) type AttemptRef = (usize, u32);

impl ThreadState {
    /// What was undone and what is left; `None` where nothing was tried.
    pub fn compensation(&self) -> Option<Compensation> {
        if self.steps.iter().all(|step| step.undo.is_none()) {
            return None;
        }
        let all = self.plan.steps.iter().zip(&self.steps);
        let mut all: Vec<_> =
            all.filter(|(planned, step)| self.is_undoable(planned, step)).collect();
        all.sort_by_key(|(_, step)| std::cmp::Reverse(step.completed_seq));
        let (undone, left): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(_, step)| step.status == StepStatus::Compensated);
        Some(Compensation {
            completed: undone.into_iter().map(|(planned, _)| planned.id.clone()).collect(),
            left: left
                .into_iter()
                .map(|(planned, step)| NotCompensated {
                    step_id: planned.id.clone(),
                    error: step.undo.as_ref().and_then(|undo| undo.error.clone()),
                })
                .collect(),
        })
    }

    /// The step that is undone next; with `again`, those that could not be are tried once more.
    pub(super) fn next_to_undo(&self, again: bool) -> Option<usize> {
        let all = self.plan.steps.iter().zip(&self.steps).enumerate();
        let open = all.filter(|(_, (planned, step))| {
            step.status == StepStatus::Completed
                && self.is_undoable(planned, step)
                && (again || step.undo_status() != Some(StepStatus::Failed))
        });
        open.max_by_key(|(_, (_, step))| step.completed_seq).map(|(at, _)| at)
    }

    /// Whether a step has done what its compensation would undo, or had.
    fn is_undoable(&self, planned: &PlanStep, step: &StepState) -> bool {
        // An output that stands in for a step that has failed is nothing that was done.
        let stood_in = step.fallback && matches!(planned.fallback, Some(Fallback::Output(_)));
        // What completed before a fork is the doing of the other thread, which may build on it.
        let own = self.forked_from.as_ref().is_none_or(|from| step.completed_seq > from.seq);
        matches!(step.status, StepStatus::Completed | StepStatus::Compensated)
            && planned.compensate.is_some()
            && own
            && !stood_in
    }

    /// The step whose compensation runs or waits for its next attempt.
    fn undone_now(&self) -> Option<(usize, StepStatus)> {
        self.steps.iter().enumerate().find_map(|(at, step)| {
            let status = step.undo_status()?;
            matches!(status, StepStatus::Running | StepStatus::Retrying).then_some((at, status))
        })
    }
}

/// Ends a thread that has failed with `error` and of which no attempt is under way, once what it has
/// done is undone. Where a person is asked first, that person has it undone.
pub(super) fn fail(draft: &mut Draft<'_>, error: Failure) {
    let next = draft.state.next_to_undo(false).filter(|_| !draft.state.plan.pauses_on_failure);
    let Some(step) = next else {
        withdraw(draft);
        return end_failed(draft, error);
    };
    // While nothing may start it stays as it is, for whoever drives it next.
    if draft.moment.may_start {
        withdraw(draft);
        let unsaid = draft.state.error.is_none().then_some(error);
        start(draft, step, None, unsaid);
    }
}

/// Goes on with a thread that is being undone: the next attempt, or its end.
pub(super) fn proceed(draft: &mut Draft<'_>) {
    if draft.state.status != ThreadStatus::Compensating {
        return;
    }
    let step = match draft.state.undone_now() {
        Some((step, StepStatus::Retrying)) if is_due(draft, step) => Some(step),
        Some(_) => return,
        None => draft.state.next_to_undo(false),
    };
    match step {
        Some(step) if draft.moment.may_start => start(draft, step, None, None),
        Some(_) => {}
        None => end(draft),
    }
}

fn is_due(draft: &Draft<'_>, step: usize) -> bool {
    let undo = draft.state.steps.get(step).and_then(|step| step.undo.as_ref());
    undo.and_then(|undo| undo.wake_at).is_some_and(|due| due <= draft.moment.now)
}

/// Has a thread undone that a person aborts, or tries again what could not be.
pub(super) fn asked(draft: &mut Draft<'_>, who: &Who) -> Result<(), Rejection> {
    let ended = match draft.state.status {
        ThreadStatus::Queued | ThreadStatus::Running | ThreadStatus::Paused => false,
        ThreadStatus::Failed | ThreadStatus::Aborted => true,
        status @ (ThreadStatus::Compensating | ThreadStatus::Completed) => {
            return Err(Rejection::WrongState(status));
        }
    };
    match draft.state.next_to_undo(true) {
        Some(step) => start(draft, step, Some(who), None),
        None if ended => return Err(Rejection::NothingToCompensate),
        None => abort(draft, who.clone()),
    }
    Ok(())
}

/// Makes the attempt now that the compensation of a step waits for.
pub(super) fn retry_now(draft: &mut Draft<'_>, step: usize, who: &Who) -> Result<(), Rejection> {
    match draft.state.undone_now() {
        Some((waiting, StepStatus::Retrying)) if waiting == step => {
            start(draft, step, Some(who), None);
            Ok(())
        }
        _ => {
            let id = draft.step_id(step).ok_or(Rejection::Stale)?;
            let status = draft.status_of(step).ok_or(Rejection::Stale)?;
            Err(Rejection::WrongStep(id, status))
        }
    }
}

/// Aborts a thread as it is.
pub(super) fn abort(draft: &mut Draft<'_>, who: Who) {
    let Who { by, reason, .. } = who;
    let compensation = draft.state.compensation();
    draft.emit(EventBody::WorkflowAborted(WorkflowAborted { by, reason, compensation }));
}

fn start(draft: &mut Draft<'_>, step: usize, who: Option<&Who>, error: Option<Failure>) {
    let plan = Arc::clone(&draft.state.plan);
    let (Some(planned), Some(state)) = (plan.steps.get(step), draft.state.steps.get(step)) else {
        return;
    };
    let attempt = state.undo_attempts + 1;
    let data = CompensationStart {
        kind: planned.phase(Phase::Compensation).action.kind().to_owned(),
        by: who.map(|who| who.by.clone()),
        reason: who.and_then(|who| who.reason.clone()),
        error,
    };
    emit_on(draft, (step, attempt), EventBody::CompensationStart, data);
}

/// The thread has been undone as far as it could be.
fn end(draft: &mut Draft<'_>) {
    let left = draft.state.compensation().map(|all| all.left).unwrap_or_default();
    match (&draft.state.undoing, &draft.state.error) {
        (Some(Undoing::Abort(who)), _) if left.is_empty() => {
            let who = who.clone();
            abort(draft, who);
        }
        (_, Some(error)) => {
            let error = error.clone();
            end_failed(draft, error);
        }
        (_, None) => {
            let named: Vec<&str> = left.iter().map(|one| one.step_id.as_str()).collect();
            let message = format!("could not be compensated: {}", named.join(", "));
            let error = Failure {
                step_id: left.first().map(|one| one.step_id.clone()),
                ..Failure::recoverable(codes::COMPENSATION_FAILED, Category::Step, message)
            };
            end_failed(draft, error);
        }
    }
}

fn end_failed(draft: &mut Draft<'_>, error: Failure) {
    let elapsed = draft.moment.now.since(draft.state.created_at);
    let duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let compensation = draft.state.compensation();
    let data = WorkflowFailed { error, duration_ms, compensation };
    draft.emit(EventBody::WorkflowFailed(data));
}

/// Adds a fact about an attempt of a compensation, which are numbered by themselves.
pub(super) fn emit_on<T>(
    draft: &mut Draft<'_>,
    (step, attempt): AttemptRef,
    wrap: impl FnOnce(OnStep<T>) -> EventBody,
    data: T,
) {
    let id: Option<StepId> = draft.step_id(step);
    if let Some(step) = id {
        draft.emit(wrap(OnStep { step, attempt, data }));
    }
}
