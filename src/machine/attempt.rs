//! How a step's attempts begin, and what becomes of a step that has used them: its fallback stands in
//! for it, or it fails.
//!
//! Which of the two phases a step is in is told by the journal: by the retry that hands over to the
//! fallback, and by every attempt that is the fallback's. An attempt of a step that waits (for a time, a
//! signal or a person) begins with what it waits for. Called by whatever starts or ends an attempt.

use std::sync::Arc;

use super::draft::Draft;
use super::state::ThreadState;
use super::{Who, approval, wait};
use crate::definition::{Action, Fallback, Plan, PlanStep, Scope, StepView, Template};
use crate::model::{
    Category, EventBody, Failure, Json, OnStep, StepComplete, StepFailed, StepRetry, StepStart,
    StepStatus, ThreadId, ThreadStatus, codes,
};

/// Whether steps may start: a thread that is failing only waits for its running attempts.
pub(super) fn may_start(draft: &Draft<'_>) -> bool {
    draft.moment.may_start
        && matches!(draft.state.status, ThreadStatus::Queued | ThreadStatus::Running)
        && draft.state.error.is_none()
}

/// Starts the attempt that a step waits for before it is due.
pub(super) fn start_now(draft: &mut Draft<'_>, step: usize, who: &Who) {
    begin_attempt(draft, step, Some(who));
}

/// Starts an attempt if anything may start: what cannot is started as soon as something can.
pub(super) fn start_attempt_now(draft: &mut Draft<'_>, step: usize) {
    if may_start(draft) {
        start_attempt(draft, step);
    }
}

/// Starts the next attempt of a step.
pub(super) fn start_attempt(draft: &mut Draft<'_>, step: usize) {
    begin_attempt(draft, step, None);
}

fn begin_attempt(draft: &mut Draft<'_>, step: usize, who: Option<&Who>) {
    let plan = Arc::clone(&draft.state.plan);
    let Some(planned) = plan.steps.get(step) else { return };
    let Some(state) = draft.state.steps.get(step) else { return };
    let (fallback, attempt) = (state.fallback, state.attempts + 1);
    let planned = planned.phase(state.phase());
    draft.emit(EventBody::StepStart(OnStep {
        step: planned.id.clone(),
        attempt,
        data: StepStart {
            kind: planned.action.kind().to_owned(),
            fallback,
            by: who.map(|who| who.by.clone()),
            reason: who.and_then(|who| who.reason.clone()),
        },
    }));
    if planned.action.waits() {
        begin_waiting(draft, step, planned);
    }
}

/// Ends a step for which nothing stands in.
pub(super) fn fail_step(draft: &mut Draft<'_>, step: usize, error: Failure, duration_ms: u64) {
    let continued =
        draft.state.plan.steps.get(step).is_some_and(|planned| planned.continue_on_error);
    let data = StepFailed { error, continued, duration_ms };
    draft.emit_on(step, EventBody::StepFailed, data);
}

/// Begins to wait. What is there already is taken at once.
fn begin_waiting(draft: &mut Draft<'_>, step: usize, planned: &PlanStep) {
    let rendered = planned.with.render(&*draft.state, draft.moment.max_event);
    let rendered = rendered.map_err(|unfilled| unfilled.failure(""));
    let begun = rendered.and_then(|with| match &*planned.action {
        Action::Sleep => wait::fall_asleep(draft, step, &with),
        Action::Signal => wait::listen(draft, step, &with),
        Action::Approval { .. } => approval::ask(draft, step, planned, &with),
        Action::Http | Action::Exec { .. } | Action::Transform { .. } => Ok(()),
    });
    if let Err(failure) = begun {
        let attempt = draft.state.steps.get(step).map_or(0, |state| state.attempts);
        give_up(draft, step, failure.at(&planned.id, attempt), 0);
    }
}

/// Ends a wait whose time has come. The steps that depend on it are looked at by whoever called.
pub(super) fn time_is_up(draft: &mut Draft<'_>, step: usize, planned: &PlanStep) {
    let in_vain = match &*planned.action {
        Action::Sleep => {
            wait::wake(draft, step);
            None
        }
        Action::Signal => {
            let name = draft.state.steps.get(step).and_then(|state| state.signal.clone());
            Some(format!("nobody sent the signal {}", name.unwrap_or_default()))
        }
        Action::Approval { .. } => approval::expire(draft, step, planned),
        Action::Http | Action::Exec { .. } | Action::Transform { .. } => None,
    };
    if let Some(message) = in_vain {
        let attempt = draft.state.steps.get(step).map_or(0, |state| state.attempts);
        let failure = Failure::permanent(codes::WAIT_TIMEOUT, Category::Timeout, message);
        let waited = wait::waited_ms(draft, step);
        give_up(draft, step, failure.at(&planned.id, attempt), waited);
    }
}

/// Asks what was withdrawn, as it is now. The thread goes on: what cannot be asked fails its step.
pub(super) fn ask_again(draft: &mut Draft<'_>) {
    let plan = Arc::clone(&draft.state.plan);
    for step in approval::waiting(draft.state) {
        let Some(planned) = plan.steps.get(step) else { continue };
        if let Err(failure) = approval::ask_unless_open(draft, step, planned) {
            let attempt = draft.state.steps.get(step).map_or(0, |state| state.attempts);
            let waited = wait::waited_ms(draft, step);
            give_up(draft, step, failure.at(&planned.id, attempt), waited);
        }
    }
}

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
