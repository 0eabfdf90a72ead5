//! Replaces the output of a completed step, while the thread is paused.

use super::super::decision::Decision;
use super::super::{Actor, Rejection, approval, four_eyes};
use super::refuse::refuse_if;
use crate::definition::StepIx;
use crate::model::{EventBody, Json, StepEdited, StepStatus, ThreadStatus};

pub(super) fn edit(
    decision: &mut Decision<'_>,
    step: StepIx,
    output: Json,
    actor: &Actor,
) -> Result<(), Rejection> {
    if decision.state.status != ThreadStatus::Paused {
        return Err(Rejection::WrongState(decision.state.status));
    }
    refuse_if(decision, step, |status| status != StepStatus::Completed)?;
    four_eyes::may_change(decision.state, [step], actor, decision.context.max_event)
        .map_err(Rejection::NotAnApprover)?;
    let Actor { by, reason, .. } = actor.clone();
    decision.emit_on(step, EventBody::StepEdited, StepEdited { output, by, reason });
    // The questions are asked anew when the thread goes on: until then more may be changed.
    approval::withdraw_changed(decision, actor);
    Ok(())
}
