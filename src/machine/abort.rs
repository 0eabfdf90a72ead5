//! Ends a thread that somebody aborts: at once or after a grace, with or without compensation.

use super::choices;
use super::decision::Decision;
use super::interventions::close;
use super::{Ending, Rejection, Who, undo};
use crate::model::{EventBody, ThreadStatus, WorkflowResumed};

/// Ends a thread that is aborted with a grace, once no attempt is under way or the grace is over.
pub(super) fn stop_if_over(decision: &mut Decision<'_>) {
    let Some((who, Ending { at, compensate })) = decision.state.ending() else { return };
    // Compensation starts attempts: while nothing may start, the thread stays as it is.
    let may = decision.moment.may_start || !compensate;
    if may && (at <= decision.moment.now || !decision.state.has_running()) {
        let who = who.clone();
        // This cannot fail: a paused thread can be aborted.
        abort_now(decision, compensate, &who).unwrap_or_default();
    }
}

/// Ends the thread, or starts its compensation if `compensate` is set. Attempts under way are
/// cancelled.
pub(super) fn abort_now(
    decision: &mut Decision<'_>,
    compensate: bool,
    who: &Who,
) -> Result<(), Rejection> {
    if compensate {
        return abort_and_undo(decision, who);
    }
    if decision.state.status.is_terminal() {
        return Err(Rejection::WrongState(decision.state.status));
    }
    close(decision, choices::ABORT, who, |_| true);
    undo::abort(decision, who.clone());
    Ok(())
}

/// Aborts the thread and starts its compensation, which answers every open intervention.
pub(super) fn abort_and_undo(decision: &mut Decision<'_>, who: &Who) -> Result<(), Rejection> {
    match decision.state.status {
        ThreadStatus::Paused if decision.state.undoing.is_some() => {
            go_on_undoing(decision, who);
            return Ok(());
        }
        ThreadStatus::Queued | ThreadStatus::Running | ThreadStatus::Paused => {
            close(decision, choices::ABORT, who, |_| true);
        }
        ThreadStatus::Compensating
        | ThreadStatus::Completed
        | ThreadStatus::Failed
        | ThreadStatus::Aborted => {}
    }
    undo::asked(decision, who)
}

/// Continues a thread that was paused while it was being undone.
pub(super) fn go_on_undoing(decision: &mut Decision<'_>, who: &Who) {
    close(decision, choices::RESUME, who, |_| true);
    let Who { by, reason, .. } = who.clone();
    let resumed = WorkflowResumed { by, reason, ..WorkflowResumed::default() };
    decision.emit(EventBody::WorkflowResumed(resumed));
    // Its interventions are closed and its steps have stopped: only its compensation can go on.
    undo::proceed(decision);
}
