//! Begins the attempts of a step, and ends a step that has used them: its fallback takes over, or
//! it fails.
//!
//! The journal tells which of its two works a step is at: the retry that hands over to the fallback
//! is marked, and so is every attempt of the fallback. An attempt of a step that waits (for a time,
//! a signal or a person) begins with its wait. Called by code that starts or ends an attempt.

use super::decision::Decision;
use super::state::ThreadState;
use super::{AttemptId, Effect, Moment, Who, approval, wait};
use crate::definition::{Action, Fallback, PlanStep, Scope, StepIx, StepView, Template};
use crate::model::{
    Category, EventBody, Failure, Json, StepComplete, StepFailed, StepRetry, StepStart, StepStatus,
    ThreadId, ThreadStatus, codes,
};

/// Returns whether steps may start: a failing thread only waits for its running attempts.
pub(super) fn may_start(decision: &Decision<'_>) -> bool {
    decision.moment.may_start
        && matches!(decision.state.status, ThreadStatus::Queued | ThreadStatus::Running)
        && decision.state.error.is_none()
}

/// Starts the next attempt of a step before it is due.
pub(super) fn start_now(decision: &mut Decision<'_>, step: StepIx, who: &Who) {
    begin_attempt(decision, step, Some(who));
}

/// Starts an attempt if steps may start; otherwise it is started as soon as they may.
pub(super) fn start_attempt_now(decision: &mut Decision<'_>, step: StepIx) {
    if may_start(decision) {
        start_attempt(decision, step);
    }
}

/// Starts the next attempt of a step.
pub(super) fn start_attempt(decision: &mut Decision<'_>, step: StepIx) {
    begin_attempt(decision, step, None);
}

fn begin_attempt(decision: &mut Decision<'_>, step: StepIx, who: Option<&Who>) {
    let planned = decision.planned(step);
    let state = &decision.state.steps[step];
    let attempt = AttemptId { step, work: state.work(), number: state.own.attempts + 1 };
    let data = StepStart {
        kind: planned.action.kind().to_owned(),
        fallback: state.fallback,
        by: who.map(|who| who.by.clone()),
        reason: who.and_then(|who| who.reason.clone()),
    };
    decision.emit_of(attempt, EventBody::StepStart, data);
    if planned.action.waits() {
        begin_waiting(decision, step, planned);
    } else {
        decision.cause(Effect::Run(attempt));
    }
}

/// Fails a step; no fallback takes over from it.
pub(super) fn fail_step(
    decision: &mut Decision<'_>,
    step: StepIx,
    error: Failure,
    duration_ms: u64,
) {
    let continued = decision.plan.steps[step].continue_on_error;
    let data = StepFailed { error, continued, duration_ms };
    decision.emit_on(step, EventBody::StepFailed, data);
}

/// Begins the wait of a step. A signal that is there already, or a time that has come, ends it at
/// once.
fn begin_waiting(decision: &mut Decision<'_>, step: StepIx, planned: &PlanStep) {
    let rendered = wait::filled_in(planned, &*decision.state, &decision.moment);
    let begun = rendered.and_then(|with| match &*planned.action {
        Action::Sleep => wait::fall_asleep(decision, step, &with),
        Action::Signal => wait::listen(decision, step, &with),
        Action::Approval { .. } => approval::ask(decision, step, planned, &with),
        Action::Http | Action::Exec { .. } | Action::Transform { .. } => Ok(()),
    });
    if let Err(failure) = begun {
        let attempt = decision.state.steps[step].own.attempts;
        give_up(decision, step, failure.at(&planned.id, attempt), 0);
    }
}

/// Ends a wait whose time has come. The caller looks at the steps that depend on it.
pub(super) fn time_is_up(decision: &mut Decision<'_>, step: StepIx) {
    let planned = decision.planned(step);
    let in_vain = match &*planned.action {
        Action::Sleep => {
            wait::wake(decision, step);
            None
        }
        Action::Signal => {
            let name = decision.state.steps[step].signal.clone();
            Some(format!("nobody sent the signal {}", name.unwrap_or_default()))
        }
        Action::Approval { .. } => approval::expire(decision, step, planned),
        Action::Http | Action::Exec { .. } | Action::Transform { .. } => None,
    };
    if let Some(message) = in_vain {
        let attempt = decision.state.steps[step].own.attempts;
        let failure = Failure::permanent(codes::WAIT_TIMEOUT, Category::Timeout, message);
        let waited = wait::waited_ms(decision, step);
        give_up(decision, step, failure.at(&planned.id, attempt), waited);
    }
}

/// Asks withdrawn questions again, with the thread's data as they are now. The thread goes on: a
/// question that cannot be asked fails its step.
pub(super) fn ask_again(decision: &mut Decision<'_>) {
    for step in approval::waiting(decision.state) {
        if let Err(failure) = approval::ask_unless_open(decision, step) {
            let (id, attempt) = (decision.step_id(step), decision.state.steps[step].own.attempts);
            let waited = wait::waited_ms(decision, step);
            give_up(decision, step, failure.at(&id, attempt), waited);
        }
    }
}

/// Ends the last attempt of a step, which failed with `error` after `duration_ms`. The caller looks
/// at the steps that depend on it.
pub(super) fn give_up(decision: &mut Decision<'_>, step: StepIx, error: Failure, duration_ms: u64) {
    let took_over = decision.state.steps[step].fallback;
    match decision.plan.steps[step].fallback.as_ref().filter(|_| !took_over) {
        None => fail_step(decision, step, error, duration_ms),
        Some(Fallback::Step(_)) => hand_over(decision, step, error),
        Some(Fallback::Output(template)) => match stand_in(decision, step, template, &error) {
            Ok(output) => {
                let (session_id, error) = (None, Some(error));
                let data = StepComplete { output, duration_ms, session_id, fallback: true, error };
                decision.emit_on(step, EventBody::StepComplete, data);
            }
            Err(failure) => fail_step(decision, step, failure, duration_ms),
        },
    }
}

/// Hands a step over to its fallback, whose first attempt starts at once, or as soon as steps may
/// start.
fn hand_over(decision: &mut Decision<'_>, step: StepIx, error: Failure) {
    // The time of this event itself: see `Decision::emit`.
    let retry_at = decision.moment.now.max(decision.state.updated_at);
    let data = StepRetry { error, retry_at, delay_ms: 0, fallback: true, cancelled: false };
    decision.emit_on(step, EventBody::StepRetry, data);
    start_attempt_now(decision, step);
}

/// Renders the fallback's output, which takes the place of the step's.
fn stand_in(
    decision: &Decision<'_>,
    step: StepIx,
    template: &Template,
    error: &Failure,
) -> Result<Json, Failure> {
    let id = decision.plan.steps[step].id.as_str();
    let scope = WithFailure { state: decision.state, id, error };
    let Moment { max_event, max_thread, .. } = decision.moment;
    let rendered = template
        .render(&scope, max_event)
        .map_err(|unfilled| unfilled.failure("the fallback's output"));
    let taken = decision.state.weight();
    let affordable = rendered.and_then(|output| {
        let fits = taken.saturating_add(output.as_str().len()) <= max_thread;
        fits.then_some(output).ok_or_else(|| too_much(max_thread))
    });
    affordable.map_err(|failure| {
        let message = format!("{}, after: {}", failure.message, error.message);
        let (step_id, attempt) = (error.step_id.clone(), error.attempt);
        Failure { message, step_id, attempt, ..failure }
    })
}

/// The failure of an attempt, or of a fallback, whose output would make a thread take more than `most`
/// bytes: whoever drives it next has to hold all of it as well.
pub fn too_much(most: usize) -> Failure {
    let message = format!(
        "the outputs of this thread have more than {most} bytes in all, which is the most that this \
         server holds of one thread (RETHREAD_MEMORY_LIMIT)"
    );
    Failure::permanent(codes::PAYLOAD_TOO_LARGE, Category::Resource, message)
}

/// A thread's data with one step shown as failed. Where an output takes its place, no event says
/// that the step has failed.
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
