//! Recovery under another incarnation. A thread that is lost with every replica that drives it is
//! set aside for a person instead.

use std::time::Duration;

use super::super::choices::{ABORT, POLICY, RESUME};
use super::super::decision::Decision;
use super::super::ready::advance;
use super::super::state::intervention_id;
use super::super::{Rejection, Takeover};
use crate::model::{
    EventBody, InterventionKind, InterventionOpened, Seq, StepId, ThreadId, ThreadStatus,
    WorkflowPaused, WorkflowRecovered,
};

/// Takes a thread over and goes on. Attempts that were under way are lost: the same append starts
/// the next attempt of their steps. A lost attempt does not count against the retry policy.
pub(super) fn recover(decision: &mut Decision<'_>, takeover: Takeover) {
    if decision.state.status.is_terminal() {
        return;
    }
    let lost = decision.state.running();
    if takeover.cause.is_loss() || !lost.is_empty() {
        take_over(decision, takeover, lost);
    }
    advance(decision);
}

/// Takes a thread over and pauses it: none of its steps runs until a person has decided.
pub(super) fn quarantine(
    decision: &mut Decision<'_>,
    takeover: Takeover,
    losses: u32,
) -> Result<(), Rejection> {
    match decision.state.status {
        // A failing thread starts nothing but compensations: taken over, it ends, or is judged by
        // those.
        ThreadStatus::Running if decision.state.is_failing() => {
            recover(decision, takeover);
            return Ok(());
        }
        // It is paused already, and goes on once a person resumes it; its attempts are lost.
        ThreadStatus::Paused => {
            recover(decision, takeover);
            return Ok(());
        }
        ThreadStatus::Queued | ThreadStatus::Running | ThreadStatus::Compensating => {}
        status @ (ThreadStatus::Completed | ThreadStatus::Failed | ThreadStatus::Aborted) => {
            return Err(Rejection::WrongState(status));
        }
    }
    let suspects = decision.state.running();
    take_over(decision, takeover, suspects.clone());
    let reason = format!(
        "{losses} replicas were lost while they drove this thread and no step completed in \
         between; under way at the last one: {}",
        listed(&suspects)
    );
    pause_for_person(decision, suspects, reason);
    Ok(())
}

/// Pauses a thread that kept a worker from going on. None of its steps is evaluated: the next
/// evaluation may be the one that a worker stands in.
pub(super) fn condemn(
    decision: &mut Decision<'_>,
    takeover: Option<Takeover>,
    stood: Duration,
) -> Result<(), Rejection> {
    let status = decision.state.status;
    if status.is_terminal() {
        return Err(Rejection::WrongState(status));
    }
    let running = decision.state.running();
    let suspects = if running.is_empty() { decision.state.next_steps() } else { running.clone() };
    if let Some(takeover) = takeover {
        take_over(decision, takeover, running);
    }
    if status == ThreadStatus::Paused {
        // It goes on once a person resumes it.
        return Ok(());
    }
    let reason = format!(
        "this thread kept a worker of its server from going on for {} s, and the server was ended \
         for it; under way or next: {}",
        stood.as_secs(),
        listed(&suspects)
    );
    pause_for_person(decision, suspects, reason);
    Ok(())
}

/// Returns the events that pause a thread and ask a person, without a look at the thread: its id and
/// the head of its journal are all that is known of it.
pub fn pause_unread(
    thread: &ThreadId,
    head: Seq,
    reason: String,
) -> (WorkflowPaused, InterventionOpened) {
    (paused(reason.clone()), opened(intervention_id(thread, head + 1), Vec::new(), reason))
}

fn listed(steps: &[StepId]) -> String {
    if steps.is_empty() {
        return "none".to_owned();
    }
    steps.iter().map(StepId::as_str).collect::<Vec<_>>().join(", ")
}

/// Pauses the thread and asks a person.
fn pause_for_person(decision: &mut Decision<'_>, suspects: Vec<StepId>, reason: String) {
    decision.emit(EventBody::WorkflowPaused(paused(reason.clone())));
    let id = decision.state.next_intervention();
    let escalates_at = decision.escalates_at();
    let opened = InterventionOpened { escalates_at, ..opened(id, suspects, reason) };
    decision.emit(EventBody::InterventionOpened(opened));
}

fn paused(reason: String) -> WorkflowPaused {
    let by = POLICY.to_owned();
    WorkflowPaused { by, reason: Some(reason), aborts_at: None, compensate: false }
}

fn opened(id: String, suspects: Vec<StepId>, reason: String) -> InterventionOpened {
    InterventionOpened {
        id,
        kind: InterventionKind::Poison,
        steps: suspects,
        prompt: reason,
        choices: [RESUME, ABORT].map(str::to_owned).into(),
        digest: None,
        expires_at: None,
        on_timeout: None,
        escalates_at: None,
        approvers: Vec::new(),
        not_by: None,
    }
}

fn take_over(decision: &mut Decision<'_>, takeover: Takeover, steps: Vec<StepId>) {
    let Takeover { cause, strategy, previous_owner } = takeover;
    let from_seq = decision.state.last_seq;
    decision.emit(EventBody::WorkflowRecovered(WorkflowRecovered {
        cause,
        strategy: Some(strategy),
        previous_owner,
        from_seq,
        steps,
    }));
}
