//! What ends a thread from outside its steps: its workflow's `timeout`, and the grace of an abort.
//!
//! Both instants are decided once and stand in the journal. Called before timers fire.

use super::Moment;
use super::abort::stop_if_over;
use super::draft::Draft;
use super::fail::fail_thread;
use crate::definition::Plan;
use crate::model::{Category, Failure, ThreadStatus, Timestamp, codes};

/// When a thread that starts, or goes on, has had its time.
pub(super) fn deadline(plan: &Plan, moment: &Moment) -> Option<Timestamp> {
    plan.timeout.map(|timeout| moment.now.plus(moment.timeouts.of(timeout)))
}

/// Ends a thread whose time is over; what runs of it is cancelled with it.
pub(super) fn enforce(draft: &mut Draft<'_>) {
    stop_if_over(draft);
    let open = matches!(draft.state.status, ThreadStatus::Queued | ThreadStatus::Running);
    let late = draft.state.deadline.is_some_and(|deadline| deadline <= draft.moment.now);
    if open && late {
        let why = draft.state.error.clone().unwrap_or_else(|| too_late(draft));
        fail_thread(draft, why);
    }
}

fn too_late(draft: &Draft<'_>) -> Failure {
    let limit = draft.state.plan.timeout.unwrap_or_default().as_millis();
    let message = format!("the thread has not ended within its workflow's timeout of {limit} ms");
    Failure::permanent(codes::WORKFLOW_TIMEOUT, Category::Timeout, message)
}
