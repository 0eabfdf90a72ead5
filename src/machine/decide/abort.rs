//! Stops a thread for good.

use super::super::abort::abort_now;
use super::super::decision::Decision;
use super::super::{Abort, Actor, Rejection};
use crate::model::{EventBody, ThreadStatus, WorkflowPaused};

/// Ends the thread, at once or when the grace of the attempts under way is over.
pub(super) fn abort(
    decision: &mut Decision<'_>,
    how: Abort,
    actor: &Actor,
) -> Result<(), Rejection> {
    let Abort { grace, compensate } = how;
    let open = !decision.state.status.is_terminal();
    let compensation_reason = compensate && decision.state.status == ThreadStatus::Compensating;
    if grace.is_zero() || !open || compensation_reason || !decision.state.has_running() {
        return abort_now(decision, compensate, actor);
    }
    let Actor { by, reason, .. } = actor.clone();
    let aborts_at = Some(decision.context.now.plus(grace));
    decision.emit(EventBody::WorkflowPaused(WorkflowPaused { by, reason, aborts_at, compensate }));
    Ok(())
}
