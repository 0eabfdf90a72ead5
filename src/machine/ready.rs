//! What can go on: timers that are due, steps whose dependencies have ended, the thread's end.

use std::sync::Arc;

use super::draft::Draft;
use super::give_up::give_up;
use super::sleep::wake_time;
use crate::definition::{Action, PlanStep};
use crate::model::{
    Category, EventBody, Failure, Json, StepComplete, StepFailed, StepSkipped, StepStart,
    StepStatus, StepWaiting, ThreadStatus, WorkflowComplete, WorkflowFailed, codes,
};

/// Whether steps may start: a thread that is failing only waits for its running attempts.
fn may_start(draft: &Draft<'_>) -> bool {
    draft.moment.may_start
        && matches!(draft.state.status, ThreadStatus::Queued | ThreadStatus::Running)
        && draft.state.error.is_none()
}

/// Ends waits and starts retries whose time has come.
pub(super) fn fire_timers(draft: &mut Draft<'_>) {
    if !may_start(draft) {
        return;
    }
    for step in 0..draft.state.steps.len() {
        let Some(state) = draft.state.steps.get(step) else { continue };
        if state.wake_at.is_none_or(|due| due > draft.moment.now) {
            continue;
        }
        match state.status {
            StepStatus::Waiting => wake(draft, step),
            StepStatus::Retrying => start_attempt(draft, step),
            StepStatus::Pending
            | StepStatus::Running
            | StepStatus::Completed
            | StepStatus::Failed
            | StepStatus::Skipped
            | StepStatus::Compensated => {}
        }
    }
}

/// Looks at the steps in `check` and at whatever their outcome makes ready; then at the thread.
pub(super) fn settle(draft: &mut Draft<'_>, mut check: Vec<usize>) {
    check.reverse();
    while let Some(step) = check.pop() {
        if !may_start(draft) {
            break;
        }
        if draft.status_of(step) != Some(StepStatus::Pending) {
            continue;
        }
        let plan = Arc::clone(&draft.state.plan);
        let Some(planned) = plan.steps.get(step) else { continue };
        if let Some(skipped) = dependencies(draft, planned) {
            look_at(draft, step, planned, skipped);
            if draft.status_of(step).is_some_and(StepStatus::is_terminal) {
                check.extend(planned.dependents.iter().rev());
            }
        }
    }
    finish(draft);
}

/// Whether all dependencies were skipped, once all have ended.
fn dependencies(draft: &Draft<'_>, planned: &PlanStep) -> Option<bool> {
    let mut all_skipped = !planned.depends_on.is_empty();
    for &dependency in &planned.depends_on {
        let status = draft.status_of(dependency)?;
        if !status.is_terminal() {
            return None;
        }
        all_skipped &= status == StepStatus::Skipped;
    }
    Some(all_skipped)
}

/// Skips, fails or starts a step whose dependencies have ended.
fn look_at(draft: &mut Draft<'_>, step: usize, planned: &PlanStep, all_skipped: bool) {
    if all_skipped {
        return skip(draft, step, "dependencies");
    }
    // An attempt was made before: the condition was true, and what is recorded is not asked again.
    let asked_before = draft.state.steps.get(step).is_some_and(|state| state.attempts > 0);
    let answer = match &planned.when {
        Some(condition) if !asked_before => condition.evaluate(&*draft.state),
        _ => Ok(true),
    };
    match answer {
        Ok(true) => start_attempt(draft, step),
        Ok(false) => skip(draft, step, "condition"),
        Err(detail) => {
            let failure = Failure::permanent(codes::CONDITION_FAILED, Category::Validation, detail);
            fail_step(draft, step, failure.at(&planned.id, 0), 0);
        }
    }
}

fn skip(draft: &mut Draft<'_>, step: usize, reason: &str) {
    draft.emit_on(step, EventBody::StepSkipped, StepSkipped { reason: reason.to_owned() });
}

/// Starts an attempt if anything may start: what cannot is started as soon as something can.
pub(super) fn start_attempt_now(draft: &mut Draft<'_>, step: usize) {
    if may_start(draft) {
        start_attempt(draft, step);
    }
}

fn start_attempt(draft: &mut Draft<'_>, step: usize) {
    let plan = Arc::clone(&draft.state.plan);
    let Some(planned) = plan.steps.get(step) else { return };
    let (attempts, fallback) =
        draft.state.steps.get(step).map_or((0, false), |state| (state.attempts, state.fallback));
    let (planned, attempt) = (planned.phase(fallback), attempts + 1);
    draft.emit(EventBody::StepStart(crate::model::OnStep {
        step: planned.id.clone(),
        attempt,
        data: StepStart { kind: planned.action.kind().to_owned(), fallback },
    }));
    if matches!(*planned.action, Action::Sleep) {
        fall_asleep(draft, step, planned);
    }
}

fn fall_asleep(draft: &mut Draft<'_>, step: usize, planned: &PlanStep) {
    let rendered = planned.with.render(&*draft.state).map_err(|unresolved| {
        Failure::permanent(codes::TEMPLATE_UNRESOLVED, Category::Validation, unresolved.to_string())
    });
    match rendered.and_then(|with| wake_time(&with, draft.moment.now)) {
        Ok(until) => {
            let data = StepWaiting { reason: "timer".to_owned(), until };
            draft.emit_on(step, EventBody::StepWaiting, data);
            if until <= draft.moment.now {
                wake(draft, step);
            }
        }
        Err(failure) => {
            let attempt = draft.state.steps.get(step).map_or(0, |state| state.attempts);
            give_up(draft, step, failure.at(&planned.id, attempt), 0);
        }
    }
}

/// Ends a sleep. The steps that depend on it are looked at by whoever called.
fn wake(draft: &mut Draft<'_>, step: usize) {
    let began = draft.state.steps.get(step).and_then(|state| state.attempt_at);
    let slept = draft.moment.now.since(began.unwrap_or(draft.moment.now));
    let slept_ms = u64::try_from(slept.as_millis()).unwrap_or(u64::MAX);
    let output =
        Json::trusted(format!("{{\"sleptMs\":{slept_ms}}}")).unwrap_or_else(|_| Json::null());
    let fallback = draft.state.steps.get(step).is_some_and(|state| state.fallback);
    let data =
        StepComplete { output, duration_ms: slept_ms, session_id: None, fallback, error: None };
    draft.emit_on(step, EventBody::StepComplete, data);
}

/// Ends a step for which nothing stands in.
pub(super) fn fail_step(draft: &mut Draft<'_>, step: usize, error: Failure, duration_ms: u64) {
    let continued =
        draft.state.plan.steps.get(step).is_some_and(|planned| planned.continue_on_error);
    let data = StepFailed { error, continued, duration_ms };
    draft.emit_on(step, EventBody::StepFailed, data);
}

/// Ends the thread if nothing is left to do, or if it is failing and no attempt is under way.
fn finish(draft: &mut Draft<'_>) {
    let state = &*draft.state;
    if !matches!(state.status, ThreadStatus::Queued | ThreadStatus::Running) {
        return;
    }
    let elapsed = draft.moment.now.since(state.created_at);
    let duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    if let Some(error) = &state.error {
        if !state.has_running() {
            let error = error.clone();
            draft.emit(EventBody::WorkflowFailed(WorkflowFailed { error, duration_ms }));
        }
        return;
    }
    if !state.steps.iter().all(|step| step.status.is_terminal()) {
        return;
    }
    match output(draft) {
        Ok(output) => {
            draft.emit(EventBody::WorkflowComplete(WorkflowComplete { output, duration_ms }));
        }
        Err(error) => draft.emit(EventBody::WorkflowFailed(WorkflowFailed { error, duration_ms })),
    }
}

fn output(draft: &Draft<'_>) -> Result<Json, Failure> {
    let output = draft.state.plan.render_output(&*draft.state).map_err(|unresolved| {
        Failure::permanent(
            codes::TEMPLATE_UNRESOLVED,
            Category::Validation,
            format!("output: {unresolved}"),
        )
    })?;
    if output.as_str().len() <= draft.moment.max_event {
        return Ok(output);
    }
    let size = output.as_str().len();
    let limit = draft.moment.max_event;
    Err(Failure::permanent(
        codes::PAYLOAD_TOO_LARGE,
        Category::Resource,
        format!("the thread's output has {size} bytes; at most {limit} are kept"),
    ))
}
