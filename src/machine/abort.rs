//! Ends a thread that somebody aborts: at once or after a grace, with or without compensation.

use super::choices;
use super::decision::Decision;
use super::interventions::close;
use super::{AbortDeadline, Actor, Rejection, undo};
use crate::model::{EventBody, ThreadStatus, WorkflowResumed};

/// Ends a thread that is aborted with a grace, once no attempt is under way or the grace is over.
pub(super) fn stop_if_over(decision: &mut Decision<'_>) {
    let Some((actor, AbortDeadline { at, compensate })) = decision.state.abort_deadline() else {
        return;
    };
    // Compensation starts attempts: while nothing may start, the thread stays as it is.
    let may = decision.context.may_start || !compensate;
    if may && (at <= decision.context.now || !decision.state.has_running()) {
        let actor = actor.clone();
        // This cannot fail: a paused thread can be aborted.
        abort_now(decision, compensate, &actor).unwrap_or_default();
    }
}

/// Ends the thread, or starts its compensation if `compensate` is set. Attempts under way are
/// cancelled.
pub(super) fn abort_now(
    decision: &mut Decision<'_>,
    compensate: bool,
    actor: &Actor,
) -> Result<(), Rejection> {
    if compensate {
        return abort_and_undo(decision, actor);
    }
    if decision.state.status.is_terminal() {
        return Err(Rejection::WrongState(decision.state.status));
    }
    close(decision, choices::ABORT, actor, |_| true);
    undo::abort(decision, actor.clone());
    Ok(())
}

/// Aborts the thread and starts its compensation, which answers every open intervention.
pub(super) fn abort_and_undo(decision: &mut Decision<'_>, actor: &Actor) -> Result<(), Rejection> {
    match decision.state.status {
        ThreadStatus::Paused if decision.state.compensation_reason.is_some() => {
            go_on_undoing(decision, actor);
            return Ok(());
        }
        ThreadStatus::Queued | ThreadStatus::Running | ThreadStatus::Paused => {
            close(decision, choices::ABORT, actor, |_| true);
        }
        ThreadStatus::Compensating
        | ThreadStatus::Completed
        | ThreadStatus::Failed
        | ThreadStatus::Aborted => {}
    }
    undo::asked(decision, actor)
}

/// Continues a thread that was paused while it was being undone.
pub(super) fn go_on_undoing(decision: &mut Decision<'_>, actor: &Actor) {
    close(decision, choices::RESUME, actor, |_| true);
    let Actor { by, reason, .. } = actor.clone();
    let resumed = WorkflowResumed { by, reason, ..WorkflowResumed::default() };
    decision.emit(EventBody::WorkflowResumed(resumed));
    // Its interventions are closed and its steps have stopped: only its compensation can go on.
    undo::proceed(decision);
}
