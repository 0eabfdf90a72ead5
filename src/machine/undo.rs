//! Undoes a thread that has failed or was aborted: completed steps that have a compensation are
//! compensated, one at a time, the one that completed last first.
//!
//! The first `compensation_start` is the turn: everything else that was under way ends with it, and
//! no step starts any more. A compensation that has used its attempts is left, and the others go
//! on. A step that did not complete is never compensated. Called by code that ends attempts and
//! threads.

use super::decision::Decision;
use super::interventions::withdraw;
use super::state::{StepState, ThreadState};
use super::{Actor, AttemptId, CompensationReason, Effect, Phase, Rejection, Track};
use crate::definition::{Fallback, PlanStep, StepIx, Work};
use crate::model::{
    Category, Compensation, CompensationStart, EventBody, Failure, NotCompensated, StepStatus,
    ThreadStatus, WorkflowAborted, WorkflowFailed, codes,
};

impl ThreadState {
    /// Returns the steps that were undone and those that are left; `None` if no compensation was
    /// tried.
    pub fn compensation(&self) -> Option<Compensation> {
        if self.steps.iter().all(|step| step.undo_status().is_none()) {
            return None;
        }
        let all = self.plan.steps.iter().zip(&self.steps);
        let mut all: Vec<_> =
            all.filter(|(planned, step)| self.is_undoable(planned, step)).collect();
        all.sort_by_key(|(_, step)| std::cmp::Reverse(step.own.completed_seq()));
        let (undone, left): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(_, step)| step.status() == StepStatus::Compensated);
        Some(Compensation {
            completed: undone.into_iter().map(|(planned, _)| planned.id.clone()).collect(),
            left: left
                .into_iter()
                .map(|(planned, step)| NotCompensated {
                    step_id: planned.id.clone(),
                    error: step.compensation.error.clone(),
                })
                .collect(),
        })
    }

    /// Returns the step that is undone next; with `again`, compensations that have failed are tried
    /// once more.
    pub(super) fn next_to_undo(&self, again: bool) -> Option<StepIx> {
        let all = self.placed();
        let open = all.filter(|(_, planned, step)| {
            step.status() == StepStatus::Completed
                && self.is_undoable(planned, step)
                && (again || !matches!(step.compensation.phase, Phase::Failed { .. }))
        });
        open.max_by_key(|(_, _, step)| step.own.completed_seq()).map(|(at, ..)| at)
    }

    /// Returns whether a step has, or had, an effect that its compensation undoes.
    fn is_undoable(&self, planned: &PlanStep, step: &StepState) -> bool {
        // An output that takes the place of a failed step is not an effect.
        let stood_in = step.fallback && matches!(planned.fallback, Some(Fallback::Output(_)));
        // A step that completed before a fork belongs to the other thread, which may build on it.
        let since = self.forked_from.as_ref().map_or(0, |from| from.seq);
        step.own.completed_seq().is_some_and(|seq| seq > since)
            && planned.compensate.is_some()
            && !stood_in
    }

    /// Returns the step whose compensation runs or waits for its next attempt.
    fn undone_now(&self) -> Option<(StepIx, &Track)> {
        let all = self.steps.placed().map(|(at, step)| (at, &step.compensation));
        all.into_iter().find(|(_, track)| track.is_running() || track.is_retrying())
    }
}

/// Ends a thread that has failed with `error` and has no attempt under way, once its completed
/// steps are undone. Where a person is asked first, only that person can have it undone.
pub(super) fn fail(decision: &mut Decision<'_>, error: Failure) {
    let next = decision.state.next_to_undo(false).filter(|_| !decision.plan.pauses_on_failure);
    let Some(step) = next else {
        withdraw(decision);
        return end_failed(decision, error);
    };
    // While nothing may start, the thread stays as it is for the next replica that drives it.
    if decision.context.may_start {
        withdraw(decision);
        let unsaid = decision.state.error.is_none().then_some(error);
        start(decision, step, None, unsaid);
    }
}

/// Goes on with a thread that is being undone: the next attempt, or its end.
pub(super) fn proceed(decision: &mut Decision<'_>) {
    if decision.state.status != ThreadStatus::Compensating {
        return;
    }
    let now = decision.context.now;
    let step = match decision.state.undone_now() {
        Some((step, track)) if track.wakes_at().is_some_and(|due| due <= now) => Some(step),
        Some(_) => return,
        None => decision.state.next_to_undo(false),
    };
    match step {
        Some(step) if decision.context.may_start => start(decision, step, None, None),
        Some(_) => {}
        None => end(decision),
    }
}

/// Undoes a thread that a person aborts, or tries compensations again that have failed.
pub(super) fn asked(decision: &mut Decision<'_>, actor: &Actor) -> Result<(), Rejection> {
    let ended = match decision.state.status {
        ThreadStatus::Queued | ThreadStatus::Running | ThreadStatus::Paused => false,
        ThreadStatus::Failed | ThreadStatus::Aborted => true,
        status @ (ThreadStatus::Compensating | ThreadStatus::Completed) => {
            return Err(Rejection::WrongState(status));
        }
    };
    match decision.state.next_to_undo(true) {
        Some(step) => start(decision, step, Some(actor), None),
        None if ended => return Err(Rejection::NothingToCompensate),
        None => abort(decision, actor.clone()),
    }
    Ok(())
}

/// Starts the next attempt of a step's compensation before it is due.
pub(super) fn retry_now(
    decision: &mut Decision<'_>,
    step: StepIx,
    actor: &Actor,
) -> Result<(), Rejection> {
    match decision.state.undone_now() {
        Some((waiting, track)) if waiting == step && track.is_retrying() => {
            start(decision, step, Some(actor), None);
            Ok(())
        }
        _ => Err(Rejection::WrongStep(decision.step_id(step), decision.status_of(step))),
    }
}

/// Aborts a thread as it is.
pub(super) fn abort(decision: &mut Decision<'_>, actor: Actor) {
    let Actor { by, reason, .. } = actor;
    let compensation = decision.state.compensation();
    decision.emit(EventBody::WorkflowAborted(WorkflowAborted { by, reason, compensation }));
}

fn start(decision: &mut Decision<'_>, step: StepIx, actor: Option<&Actor>, error: Option<Failure>) {
    let planned = &decision.plan.steps[step];
    let number = decision.state.steps[step].compensation.attempts + 1;
    let data = CompensationStart {
        kind: planned.work(Work::Compensation).action.kind().to_owned(),
        by: actor.map(|actor| actor.by.clone()),
        reason: actor.and_then(|actor| actor.reason.clone()),
        error,
    };
    let attempt = AttemptId { step, work: Work::Compensation, number };
    // The first one ends everything else; later ones find no attempt under way.
    decision.cause(Effect::CancelAll);
    decision.emit_of(attempt, EventBody::CompensationStart, data);
    decision.cause(Effect::Run(attempt));
}

/// Ends a thread that has been undone as far as it could be.
fn end(decision: &mut Decision<'_>) {
    let left = decision.state.compensation().map(|all| all.left).unwrap_or_default();
    match (&decision.state.compensation_reason, &decision.state.error) {
        (Some(CompensationReason::Abort(actor)), _) if left.is_empty() => {
            let actor = actor.clone();
            abort(decision, actor);
        }
        (_, Some(error)) => {
            let error = error.clone();
            end_failed(decision, error);
        }
        (_, None) => {
            let named: Vec<&str> = left.iter().map(|one| one.step_id.as_str()).collect();
            let message = format!("could not be compensated: {}", named.join(", "));
            let error = Failure {
                step_id: left.first().map(|one| one.step_id.clone()),
                ..Failure::recoverable(codes::COMPENSATION_FAILED, Category::Step, message)
            };
            end_failed(decision, error);
        }
    }
}

fn end_failed(decision: &mut Decision<'_>, error: Failure) {
    let duration_ms = decision.age_ms();
    let compensation = decision.state.compensation();
    let data = WorkflowFailed { error, duration_ms, compensation };
    decision.emit(EventBody::WorkflowFailed(data));
}
