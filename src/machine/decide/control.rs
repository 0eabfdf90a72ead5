//! What people and clients ask of a whole thread.

use super::super::Rejection;
use super::super::draft::Draft;
use super::advance;
use crate::model::{EventBody, ThreadStatus, WorkflowAborted, WorkflowResumed};

pub(super) fn resume(
    draft: &mut Draft<'_>,
    by: String,
    reason: Option<String>,
) -> Result<(), Rejection> {
    match draft.state.status {
        ThreadStatus::Failed | ThreadStatus::Aborted | ThreadStatus::Paused => {
            draft.emit(EventBody::WorkflowResumed(WorkflowResumed { by, reason }));
            advance(draft);
            Ok(())
        }
        status @ (ThreadStatus::Queued
        | ThreadStatus::Running
        | ThreadStatus::Compensating
        | ThreadStatus::Completed) => Err(Rejection::WrongState(status)),
    }
}

pub(super) fn abort(
    draft: &mut Draft<'_>,
    by: String,
    reason: Option<String>,
) -> Result<(), Rejection> {
    if draft.state.status.is_terminal() {
        return Err(Rejection::WrongState(draft.state.status));
    }
    draft.emit(EventBody::WorkflowAborted(WorkflowAborted { by, reason }));
    Ok(())
}
