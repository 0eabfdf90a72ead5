//! What becomes of a step that has used its attempts: its fallback stands in for it, or it fails.
//!
//! Which of the two phases a step is in is told by the journal: by the retry that hands over to the
//! fallback, and by every attempt that is the fallback's. Called by whatever ends an attempt.

use std::sync::Arc;

use super::draft::Draft;
use super::ready::{fail_step, start_attempt_now};
use super::state::ThreadState;
use crate::definition::{Fallback, Plan, Scope, StepView, Template};
use crate::model::{EventBody, Failure, Json, StepComplete, StepRetry, StepStatus, ThreadId};

/// Ends the last attempt of a step, which failed with `error` after `duration_ms`. The steps that
/// depend on it are looked at by whoever calls.
pub(super) fn give_up(draft: &mut Draft<'_>, step: usize, error: Failure, duration_ms: u64) {
    let plan = Arc::clone(&draft.state.plan);
    let planned = plan.steps.get(step);
    let took_over = draft.state.steps.get(step).is_none_or(|state| state.fallback);
    match planned.and_then(|planned| planned.fallback.as_ref()).filter(|_| !took_over) {
        None => fail_step(draft, step, error, duration_ms),
        Some(Fallback::Step(_)) => hand_over(draft, step, error),
        Some(Fallback::Output(template)) => {
            match stand_in(draft, (step, &plan), template, &error) {
                Ok(output) => {
                    let (session_id, error) = (None, Some(error));
                    let data =
                        StepComplete { output, duration_ms, session_id, fallback: true, error };
                    draft.emit_on(step, EventBody::StepComplete, data);
                }
                Err(failure) => fail_step(draft, step, failure, duration_ms),
            }
        }
    }
}

/// The fallback's first attempt follows at once, or as soon as anything may start.
fn hand_over(draft: &mut Draft<'_>, step: usize, error: Failure) {
    // The time of the event it stands in: see `Draft::emit`.
    let retry_at = draft.moment.now.max(draft.state.updated_at);
    let data = StepRetry { error, retry_at, delay_ms: 0, fallback: true, cancelled: false };
    draft.emit_on(step, EventBody::StepRetry, data);
    start_attempt_now(draft, step);
}

/// The output that stands in for the step.
fn stand_in(
    draft: &Draft<'_>,
    (step, plan): (usize, &Plan),
    template: &Template,
    error: &Failure,
) -> Result<Json, Failure> {
    let id = plan.steps.get(step).map_or("", |planned| planned.id.as_str());
    let scope = WithFailure { state: draft.state, id, error };
    template.render(&scope, draft.moment.max_event).map_err(|unfilled| {
        let failure = unfilled.failure("the fallback's output");
        let message = format!("{}, after: {}", failure.message, error.message);
        let (step_id, attempt) = (error.step_id.clone(), error.attempt);
        Failure { message, step_id, attempt, ..failure }
    })
}

/// A thread's data as they stand once a step has failed, which no event says where an output stands
/// in for it.
struct WithFailure<'a> {
    state: &'a ThreadState,
    id: &'a str,
    error: &'a Failure,
}

impl Scope for WithFailure<'_> {
    fn thread_id(&self) -> &ThreadId {
        &self.state.thread_id
    }

    fn input(&self) -> &Json {
        &self.state.input
    }

    fn step(&self, id: &str) -> Option<StepView<'_>> {
        let view = Scope::step(self.state, id)?;
        let failed = StepView { status: StepStatus::Failed, error: Some(self.error), ..view };
        Some(if id == self.id { failed } else { view })
    }

    fn step_ids(&self) -> Vec<&str> {
        self.state.step_ids()
    }

    fn secret(&self, _name: &str) -> Option<&str> {
        None
    }
}
