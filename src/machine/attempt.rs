//! How a step's attempts begin, and what becomes of a step that has used them: its fallback stands in
//! for it, or it fails.
//!
//! Which of the two works a step is at is told by the journal: by the retry that hands over to the
//! fallback, and by every attempt that is the fallback's. An attempt of a step that waits (for a time, a
//! signal or a person) begins with what it waits for. Called by whatever starts or ends an attempt.

use super::decision::Decision;
use super::state::ThreadState;
use super::{Who, approval, wait};
use crate::definition::{Action, Fallback, PlanStep, Scope, StepIx, StepView, Template};
use crate::model::{
    Category, EventBody, Failure, Json, OnStep, StepComplete, StepFailed, StepRetry, StepStart,
    StepStatus, ThreadId, ThreadStatus, codes,
};

/// Whether steps may start: a thread that is failing only waits for its running attempts.
pub(super) fn may_start(decision: &Decision<'_>) -> bool {
    decision.moment.may_start
        && matches!(decision.state.status, ThreadStatus::Queued | ThreadStatus::Running)
        && decision.state.error.is_none()
}

/// Starts the attempt that a step waits for before it is due.
pub(super) fn start_now(decision: &mut Decision<'_>, step: StepIx, who: &Who) {
    begin_attempt(decision, step, Some(who));
}

/// Starts an attempt if anything may start: what cannot is started as soon as something can.
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
    let (fallback, attempt) = (state.fallback, state.own.attempts + 1);
    decision.emit(EventBody::StepStart(OnStep {
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
        begin_waiting(decision, step, planned);
    }
}

/// Ends a step for which nothing stands in.
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

/// Begins to wait. What is there already is taken at once.
fn begin_waiting(decision: &mut Decision<'_>, step: StepIx, planned: &PlanStep) {
    let rendered = planned.with.render(&*decision.state, decision.moment.max_event);
    let rendered = rendered.map_err(|unfilled| unfilled.failure(""));
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

/// Ends a wait whose time has come. The steps that depend on it are looked at by whoever called.
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

/// Asks what was withdrawn, as it is now. The thread goes on: what cannot be asked fails its step.
pub(super) fn ask_again(decision: &mut Decision<'_>) {
    for step in approval::waiting(decision.state) {
        if let Err(failure) = approval::ask_unless_open(decision, step) {
            let (id, attempt) = (decision.step_id(step), decision.state.steps[step].own.attempts);
            let waited = wait::waited_ms(decision, step);
            give_up(decision, step, failure.at(&id, attempt), waited);
        }
    }
}

/// Ends the last attempt of a step, which failed with `error` after `duration_ms`. The steps that
/// depend on it are looked at by whoever calls.
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

/// The fallback's first attempt follows at once, or as soon as anything may start.
fn hand_over(decision: &mut Decision<'_>, step: StepIx, error: Failure) {
    // The time of the event it stands in: see `Decision::emit`.
    let retry_at = decision.moment.now.max(decision.state.updated_at);
    let data = StepRetry { error, retry_at, delay_ms: 0, fallback: true, cancelled: false };
    decision.emit_on(step, EventBody::StepRetry, data);
    start_attempt_now(decision, step);
}

/// The output that stands in for the step.
fn stand_in(
    decision: &Decision<'_>,
    step: StepIx,
    template: &Template,
    error: &Failure,
) -> Result<Json, Failure> {
    let id = decision.plan.steps[step].id.as_str();
    let scope = WithFailure { state: decision.state, id, error };
    template.render(&scope, decision.moment.max_event).map_err(|unfilled| {
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
