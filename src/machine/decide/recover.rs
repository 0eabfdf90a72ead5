//! Going on under another incarnation, or not: a thread that is lost with every replica that
//! drives it is set aside for a person.

use std::time::Duration;

use super::super::decisions::{ABORT, POLICY, RESUME};
use super::super::draft::Draft;
use super::super::ready::advance;
use super::super::{Rejection, Takeover};
use crate::model::{
    EventBody, InterventionKind, InterventionOpened, StepId, ThreadStatus, WorkflowPaused,
    WorkflowRecovered,
};

/// Attempts that were under way are lost: their steps stand before their next attempt again, which
/// the same append starts. A lost attempt does not count against the retry policy.
pub(super) fn recover(draft: &mut Draft<'_>, takeover: Takeover) {
    if draft.state.status.is_terminal() {
        return;
    }
    let lost = draft.state.running();
    if takeover.cause.is_loss() || !lost.is_empty() {
        take_over(draft, takeover, lost);
    }
    advance(draft);
}

/// Takes a thread over and pauses it: none of its steps runs until a person has decided.
pub(super) fn quarantine(
    draft: &mut Draft<'_>,
    takeover: Takeover,
    losses: u32,
) -> Result<(), Rejection> {
    match draft.state.status {
        // It starts nothing any more but what undoes it: taken over, it ends, or is judged by that.
        ThreadStatus::Running if draft.state.is_failing() => {
            recover(draft, takeover);
            return Ok(());
        }
        // It is set aside already, and goes on once a person says so; its attempts are lost.
        ThreadStatus::Paused => {
            recover(draft, takeover);
            return Ok(());
        }
        ThreadStatus::Queued | ThreadStatus::Running | ThreadStatus::Compensating => {}
        status @ (ThreadStatus::Completed | ThreadStatus::Failed | ThreadStatus::Aborted) => {
            return Err(Rejection::WrongState(status));
        }
    }
    let suspects = draft.state.running();
    take_over(draft, takeover, suspects.clone());
    let reason = format!(
        "{losses} replicas were lost while they drove this thread and no step completed in \
         between; under way at the last one: {}",
        listed(&suspects)
    );
    set_aside(draft, suspects, reason);
    Ok(())
}

/// Pauses a thread that kept a worker from going on. Nothing of it is looked at: whatever it would do
/// next may be what a worker stands in.
pub(super) fn condemn(
    draft: &mut Draft<'_>,
    takeover: Option<Takeover>,
    stood: Duration,
) -> Result<(), Rejection> {
    let status = draft.state.status;
    if status.is_terminal() {
        return Err(Rejection::WrongState(status));
    }
    let running = draft.state.running();
    let suspects = if running.is_empty() { draft.state.next_steps() } else { running.clone() };
    if let Some(takeover) = takeover {
        take_over(draft, takeover, running);
    }
    if status == ThreadStatus::Paused {
        // It goes on once a person says so.
        return Ok(());
    }
    let reason = format!(
        "this thread kept a worker of its server from going on for {} s, and the server was ended \
         for it; under way or next: {}",
        stood.as_secs(),
        listed(&suspects)
    );
    set_aside(draft, suspects, reason);
    Ok(())
}

fn listed(steps: &[StepId]) -> String {
    if steps.is_empty() {
        return "none".to_owned();
    }
    steps.iter().map(StepId::as_str).collect::<Vec<_>>().join(", ")
}

/// Pauses the thread and asks a person.
fn set_aside(draft: &mut Draft<'_>, suspects: Vec<StepId>, reason: String) {
    let (by, why) = (POLICY.to_owned(), Some(reason.clone()));
    let paused = WorkflowPaused { by, reason: why, aborts_at: None, compensate: false };
    draft.emit(EventBody::WorkflowPaused(paused));
    let id = draft.state.next_intervention();
    draft.emit(EventBody::InterventionOpened(InterventionOpened {
        id,
        kind: InterventionKind::Poison,
        steps: suspects,
        prompt: reason,
        choices: [RESUME, ABORT].map(str::to_owned).into(),
        digest: None,
        expires_at: None,
        on_timeout: None,
        escalates_at: draft.escalates_at(),
        approvers: Vec::new(),
        not_by: None,
    }));
}

fn take_over(draft: &mut Draft<'_>, takeover: Takeover, steps: Vec<StepId>) {
    let Takeover { cause, strategy, previous_owner } = takeover;
    let from_seq = draft.state.last_seq;
    draft.emit(EventBody::WorkflowRecovered(WorkflowRecovered {
        cause,
        strategy: Some(strategy),
        previous_owner,
        from_seq,
        steps,
    }));
}
