//! Ends a thread that somebody aborts: now or when its grace is over, as it is or undone.

use super::decisions;
use super::draft::Draft;
use super::interventions::close;
use super::{Ending, Rejection, Who, undo};
use crate::model::{EventBody, ThreadStatus, WorkflowResumed};

/// Aborts a thread that is being aborted, once no attempt is under way or their grace is over.
pub(super) fn stop_if_over(draft: &mut Draft<'_>) {
    let Some((who, Ending { at, compensate })) = draft.state.ending() else { return };
    // To be undone, it has to start something: while nothing may it stays as it is.
    let may = draft.moment.may_start || !compensate;
    if may && (at <= draft.moment.now || !draft.state.has_running()) {
        let who = who.clone();
        // What is paused can be aborted.
        abort_now(draft, compensate, &who).unwrap_or_default();
    }
}

/// Ends the thread, and has it undone if that was asked. What is under way is cancelled.
pub(super) fn abort_now(
    draft: &mut Draft<'_>,
    compensate: bool,
    who: &Who,
) -> Result<(), Rejection> {
    if compensate {
        return abort_and_undo(draft, who);
    }
    if draft.state.status.is_terminal() {
        return Err(Rejection::WrongState(draft.state.status));
    }
    close(draft, decisions::ABORT, who, |_| true);
    undo::abort(draft, who.clone());
    Ok(())
}

/// Whatever waits for a person is answered with that.
pub(super) fn abort_and_undo(draft: &mut Draft<'_>, who: &Who) -> Result<(), Rejection> {
    match draft.state.status {
        ThreadStatus::Paused if draft.state.undoing.is_some() => {
            go_on_undoing(draft, who);
            return Ok(());
        }
        ThreadStatus::Queued | ThreadStatus::Running | ThreadStatus::Paused => {
            close(draft, decisions::ABORT, who, |_| true);
        }
        ThreadStatus::Compensating
        | ThreadStatus::Completed
        | ThreadStatus::Failed
        | ThreadStatus::Aborted => {}
    }
    undo::asked(draft, who)
}

/// Continues a thread that was paused while it was being undone.
pub(super) fn go_on_undoing(draft: &mut Draft<'_>, who: &Who) {
    close(draft, decisions::RESUME, who, |_| true);
    let Who { by, reason, .. } = who.clone();
    let resumed = WorkflowResumed { by, reason, ..WorkflowResumed::default() };
    draft.emit(EventBody::WorkflowResumed(resumed));
    // Its questions are closed and nothing else of it is open: only what undoes it can go on.
    undo::proceed(draft);
}
