//! Ends a thread that somebody aborts: now or when its grace is over, as it is or undone.

use super::choices;
use super::decision::Decision;
use super::interventions::close;
use super::{Ending, Rejection, Who, undo};
use crate::model::{EventBody, ThreadStatus, WorkflowResumed};

/// Aborts a thread that is being aborted, once no attempt is under way or their grace is over.
pub(super) fn stop_if_over(decision: &mut Decision<'_>) {
    let Some((who, Ending { at, compensate })) = decision.state.ending() else { return };
    // To be undone, it has to start something: while nothing may it stays as it is.
    let may = decision.moment.may_start || !compensate;
    if may && (at <= decision.moment.now || !decision.state.has_running()) {
        let who = who.clone();
        // What is paused can be aborted.
        abort_now(decision, compensate, &who).unwrap_or_default();
    }
}

/// Ends the thread, and has it undone if that was asked. What is under way is cancelled.
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

/// Whatever waits for a person is answered with that.
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
    // Its questions are closed and nothing else of it is open: only what undoes it can go on.
    undo::proceed(decision);
}
