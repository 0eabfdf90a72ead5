//! Bounds that end a thread from outside its steps: its workflow's `timeout`, and the grace of an
//! abort.
//!
//! Both instants are decided once and recorded in the journal. Called before timers fire.

use super::DecisionContext;
use super::abort::stop_if_over;
use super::decision::Decision;
use super::fail::fail_thread;
use crate::definition::Plan;
use crate::model::{Category, Failure, ThreadStatus, Timestamp, codes};

/// Returns the deadline of a thread that starts, or goes on, now.
pub(super) fn deadline(plan: &Plan, context: &DecisionContext) -> Option<Timestamp> {
    plan.timeout.map(|timeout| context.now.plus(context.timeouts.of(timeout)))
}

/// Ends a thread whose time is over; its running attempts are cancelled with it.
pub(super) fn enforce(decision: &mut Decision<'_>) {
    stop_if_over(decision);
    let open = matches!(decision.state.status, ThreadStatus::Queued | ThreadStatus::Running);
    let late = decision.state.deadline.is_some_and(|deadline| deadline <= decision.context.now);
    if open && late {
        let why = decision.state.error.clone().unwrap_or_else(|| too_late(decision));
        fail_thread(decision, why);
    }
}

fn too_late(decision: &Decision<'_>) -> Failure {
    let limit = decision.plan.timeout.unwrap_or_default().as_millis();
    let message = format!("the thread has not ended within its workflow's timeout of {limit} ms");
    Failure::permanent(codes::WORKFLOW_TIMEOUT, Category::Timeout, message)
}
