//! Refuses requests that the state of a thread or a step does not allow.

use super::super::Rejection;
use super::super::decision::Decision;
use crate::definition::StepIx;
use crate::model::{StepStatus, ThreadStatus};

/// Refuses to go forwards with a thread that was paused while it was being undone.
pub(super) fn refuse_while_undoing(decision: &Decision<'_>) -> Result<(), Rejection> {
    let undone = decision.state.status == ThreadStatus::Paused
        && decision.state.compensation_reason.is_some();
    if undone { Err(Rejection::Compensating) } else { Ok(()) }
}

/// Refuses a request that comes too late for a step: others may have gone on from its end.
pub(super) fn refuse_settled(decision: &Decision<'_>, step: StepIx) -> Result<(), Rejection> {
    let continued = decision.state.steps[step].is_continued();
    refuse_if(decision, step, |status| match status {
        StepStatus::Completed | StepStatus::Skipped | StepStatus::Compensated => true,
        StepStatus::Failed => continued,
        StepStatus::Pending | StepStatus::Running | StepStatus::Retrying | StepStatus::Waiting => {
            false
        }
    })
}

pub(super) fn refuse_if(
    decision: &Decision<'_>,
    step: StepIx,
    refused: impl FnOnce(StepStatus) -> bool,
) -> Result<(), Rejection> {
    let status = decision.status_of(step);
    if refused(status) {
        return Err(Rejection::WrongStep(decision.step_id(step), status));
    }
    Ok(())
}
