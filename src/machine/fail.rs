//! Fails a thread: a person is asked where its workflow says so, or it is undone and ends.

use super::choices::{ABORT, COMPENSATE, POLICY, RETRY, SKIP};
use super::decision::Decision;
use super::undo;
use crate::model::{EventBody, Failure, InterventionKind, InterventionOpened, WorkflowPaused};

/// Ends a thread that has failed, or pauses it and asks a person where its workflow says so.
pub(super) fn fail_thread(decision: &mut Decision<'_>, error: Failure) {
    if decision.plan.pauses_on_failure {
        return ask_about(decision, &error);
    }
    undo::fail(decision, error);
}

/// Pauses a thread that would fail, and asks a person.
fn ask_about(decision: &mut Decision<'_>, error: &Failure) {
    let failed: Vec<_> = decision
        .state
        .placed()
        .filter(|(_, _, state)| state.is_fatal())
        .map(|(_, planned, _)| planned.id.clone())
        .collect();
    let reason = Some(error.message.clone());
    let paused =
        WorkflowPaused { by: POLICY.to_owned(), reason, aborts_at: None, compensate: false };
    decision.emit(EventBody::WorkflowPaused(paused));
    // A thread past its deadline may have no failed step.
    let skippable = !failed.is_empty();
    let undoable = decision.state.next_to_undo(false).is_some();
    let offers = [(RETRY, true), (SKIP, skippable), (ABORT, true), (COMPENSATE, undoable)];
    let choices = offers.into_iter().filter(|(_, offered)| *offered).map(|(choice, _)| choice);
    let id = decision.state.next_intervention();
    decision.emit(EventBody::InterventionOpened(InterventionOpened {
        id,
        kind: InterventionKind::Failure,
        steps: failed,
        prompt: format!("{}: {}", error.code, error.message),
        choices: choices.map(str::to_owned).collect(),
        digest: None,
        expires_at: None,
        on_timeout: None,
        escalates_at: decision.escalates_at(),
        approvers: Vec::new(),
        not_by: None,
    }));
}
