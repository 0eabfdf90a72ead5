//! What people and clients ask of a whole thread.

use super::super::Rejection;
use super::super::draft::Draft;
use super::advance;
use crate::model::{
    EventBody, InterventionResolved, ThreadStatus, WorkflowAborted, WorkflowResumed,
};

pub(super) fn resume(
    draft: &mut Draft<'_>,
    by: String,
    reason: Option<String>,
) -> Result<(), Rejection> {
    match draft.state.status {
        ThreadStatus::Failed | ThreadStatus::Aborted | ThreadStatus::Paused => {
            close_interventions(draft, "resume", (&by, &reason));
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
    close_interventions(draft, "abort", (&by, &reason));
    draft.emit(EventBody::WorkflowAborted(WorkflowAborted { by, reason }));
    Ok(())
}

/// What somebody does to the whole thread answers what it was waiting for.
fn close_interventions(
    draft: &mut Draft<'_>,
    choice: &str,
    (by, comment): (&str, &Option<String>),
) {
    let open: Vec<String> =
        draft.state.open_interventions().map(|one| one.opened.id.clone()).collect();
    for id in open {
        draft.emit(EventBody::InterventionResolved(InterventionResolved {
            id,
            choice: choice.to_owned(),
            by: by.to_owned(),
            comment: comment.clone(),
        }));
    }
}
