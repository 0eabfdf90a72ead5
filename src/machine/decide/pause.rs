//! Pauses a thread.

use super::super::decision::Decision;
use super::super::{Actor, Rejection};
use crate::model::{EventBody, ThreadStatus, WorkflowPaused};

/// Pauses the thread. Attempts under way go on and their results are kept; nothing is started.
pub(super) fn pause(decision: &mut Decision<'_>, actor: &Actor) -> Result<(), Rejection> {
    match decision.state.status {
        ThreadStatus::Queued | ThreadStatus::Running | ThreadStatus::Compensating => {
            let Actor { by, reason, .. } = actor.clone();
            let paused = WorkflowPaused { by, reason, aborts_at: None, compensate: false };
            decision.emit(EventBody::WorkflowPaused(paused));
            Ok(())
        }
        status @ (ThreadStatus::Paused
        | ThreadStatus::Completed
        | ThreadStatus::Failed
        | ThreadStatus::Aborted) => Err(Rejection::WrongState(status)),
    }
}
