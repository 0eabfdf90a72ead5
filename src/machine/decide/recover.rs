//! Going on under another incarnation.

use super::super::draft::Draft;
use super::advance;
use crate::model::{EventBody, Incarnation, RecoveryCause, StepStatus, WorkflowRecovered};

/// Attempts that were under way are lost: their steps stand before their next attempt again, which
/// the same append starts. A lost attempt does not count against the retry policy.
pub(super) fn recover(draft: &mut Draft<'_>, cause: RecoveryCause, previous_owner: Incarnation) {
    if draft.state.status.is_terminal() {
        return;
    }
    let steps = draft.state.with_status(&[StepStatus::Running]);
    if cause == RecoveryCause::ReplicaLost || !steps.is_empty() {
        let from_seq = draft.state.last_seq;
        let data = WorkflowRecovered { cause, previous_owner, from_seq, steps };
        draft.emit(EventBody::WorkflowRecovered(data));
    }
    advance(draft);
}
