//! How a thread fails: a person is asked where its workflow says so, or it is undone and ends.

use super::decisions::{ABORT, COMPENSATE, POLICY, RETRY, SKIP};
use super::draft::Draft;
use super::undo;
use crate::model::{
    EventBody, Failure, InterventionKind, InterventionOpened, StepStatus, WorkflowPaused,
};

/// Ends a thread that has failed, or pauses it and asks a person where its workflow says so.
pub(super) fn fail_thread(draft: &mut Draft<'_>, error: Failure) {
    if draft.state.plan.pauses_on_failure {
        return ask_about(draft, &error);
    }
    undo::fail(draft, error);
}

/// Pauses a thread that would fail, and asks a person.
fn ask_about(draft: &mut Draft<'_>, error: &Failure) {
    let steps = draft.state.plan.steps.iter().zip(&draft.state.steps);
    let failed: Vec<_> = steps
        .filter(|(_, state)| state.status == StepStatus::Failed && !state.continued)
        .map(|(planned, _)| planned.id.clone())
        .collect();
    let reason = Some(error.message.clone());
    let paused =
        WorkflowPaused { by: POLICY.to_owned(), reason, aborts_at: None, compensate: false };
    draft.emit(EventBody::WorkflowPaused(paused));
    // A thread that has had its time may have no step that has failed.
    let skippable = !failed.is_empty();
    let undoable = draft.state.next_to_undo(false).is_some();
    let offers = [(RETRY, true), (SKIP, skippable), (ABORT, true), (COMPENSATE, undoable)];
    let choices = offers.into_iter().filter(|(_, offered)| *offered).map(|(choice, _)| choice);
    let id = draft.state.next_intervention();
    draft.emit(EventBody::InterventionOpened(InterventionOpened {
        id,
        kind: InterventionKind::Failure,
        steps: failed,
        prompt: format!("{}: {}", error.code, error.message),
        choices: choices.map(str::to_owned).collect(),
        digest: None,
        expires_at: None,
        on_timeout: None,
        escalates_at: draft.escalates_at(),
        approvers: Vec::new(),
        not_by: None,
    }));
}
