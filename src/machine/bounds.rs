//! What ends a thread from outside its steps: its workflow's `timeout`, and the grace of an abort.
//!
//! Both instants are decided once and stand in the journal. Called before timers fire, and whenever
//! an attempt has ended.

use super::decide::abort_now;
use super::draft::Draft;
use super::ready::fail_thread;
use super::{Ending, Moment};
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

/// Aborts a thread that is being aborted, once no attempt is under way or their grace is over.
pub(super) fn stop_if_over(draft: &mut Draft<'_>) {
    let Some((who, Ending { at, compensate })) = draft.state.ending() else { return };
    // To be undone, it has to start something: while nothing may it stays as it is.
    let may = draft.moment.may_start || !compensate;
    if may && (at <= draft.moment.now || !draft.state.has_running()) {
        let who = who.clone();
        // What is paused can be aborted.
        abort_now(draft, compensate, &who).unwrap_or_default();
    }
}

fn too_late(draft: &Draft<'_>) -> Failure {
    let limit = draft.state.plan.timeout.unwrap_or_default().as_millis();
    let message = format!("the thread has not ended within its workflow's timeout of {limit} ms");
    Failure::permanent(codes::WORKFLOW_TIMEOUT, Category::Timeout, message)
}
