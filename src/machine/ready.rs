//! What can go on: timers that are due, steps whose dependencies have ended, the thread's end.

use std::sync::Arc;

use super::abort::stop_if_over;
use super::attempt::{fail_step, may_start, start_attempt, time_is_up};
use super::draft::Draft;
use super::fail::fail_thread;
use super::{Intervention, bounds, undo};
use crate::definition::PlanStep;
use crate::model::{
    Category, EventBody, Failure, InterventionEscalated, InterventionOpened, Json, StepSkipped,
    StepStatus, ThreadStatus, WorkflowComplete, codes,
};

/// Tells once of each question that waits for longer than the workflow has patience: of a thread
/// that is paused as well, for that is where most of them wait.
fn escalate(draft: &mut Draft<'_>) {
    let now = draft.moment.now;
    let due = |one: &&Intervention| one.escalates_at().is_some_and(|at| at <= now);
    let late: Vec<Intervention> = draft.state.open_interventions().filter(due).cloned().collect();
    for Intervention { opened, at, .. } in late {
        let InterventionOpened { id, kind, steps, prompt, choices, expires_at, .. } = opened;
        draft.emit(EventBody::InterventionEscalated(InterventionEscalated {
            id,
            kind,
            steps,
            prompt,
            choices,
            opened_at: at,
            expires_at,
        }));
    }
}

/// Does whatever can be done now.
pub(super) fn advance(draft: &mut Draft<'_>) {
    bounds::enforce(draft);
    fire_timers(draft);
    let all = (0..draft.state.steps.len()).collect();
    settle(draft, all);
}

/// Ends waits and starts retries whose time has come.
fn fire_timers(draft: &mut Draft<'_>) {
    escalate(draft);
    for step in 0..draft.state.steps.len() {
        // A wait that was in vain may have failed the thread.
        if !may_start(draft) {
            return;
        }
        let Some(state) = draft.state.steps.get(step) else { continue };
        if state.wake_at.is_none_or(|due| due > draft.moment.now) {
            continue;
        }
        match state.status {
            StepStatus::Waiting => {
                let plan = Arc::clone(&draft.state.plan);
                let phase = state.phase();
                if let Some(planned) = plan.steps.get(step) {
                    time_is_up(draft, step, planned.phase(phase));
                }
            }
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

/// Looks at the steps that depend on one that has ended; then at the thread.
pub(super) fn settle_dependents(draft: &mut Draft<'_>, step: usize) {
    let dependents = draft.state.plan.steps.get(step).map(|step| step.dependents.clone());
    settle(draft, dependents.unwrap_or_default());
}

/// Whether all dependencies were skipped, once all have ended.
fn dependencies(draft: &Draft<'_>, planned: &PlanStep) -> Option<bool> {
    let mut all_skipped = !planned.depends_on.is_empty();
    for &dependency in &planned.depends_on {
        let status = draft.status_of(dependency)?;
        if !status.is_terminal() {
            return None;
        }
        let bypassed = draft.state.steps.get(dependency).is_some_and(|step| step.bypassed);
        all_skipped &= status == StepStatus::Skipped && !bypassed;
    }
    Some(all_skipped)
}

/// Skips, fails or starts a step whose dependencies have ended.
fn look_at(draft: &mut Draft<'_>, step: usize, planned: &PlanStep, all_skipped: bool) {
    if all_skipped {
        return skip(draft, step, "dependencies");
    }
    // What is recorded is not asked again.
    let asked_before = draft.state.steps.get(step).is_some_and(|state| state.admitted);
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
    let data = StepSkipped { reason: reason.to_owned(), by: None, output: None };
    draft.emit_on(step, EventBody::StepSkipped, data);
}

/// Ends the thread if nothing is left to do, or if it is failing and no attempt is under way. One
/// that is being undone goes on with that.
fn finish(draft: &mut Draft<'_>) {
    stop_if_over(draft);
    let state = &*draft.state;
    match state.status {
        ThreadStatus::Queued | ThreadStatus::Running => {}
        ThreadStatus::Compensating => return undo::proceed(draft),
        ThreadStatus::Paused
        | ThreadStatus::Completed
        | ThreadStatus::Failed
        | ThreadStatus::Aborted => return,
    }
    let duration_ms = age_ms(draft);
    if let Some(error) = &state.error {
        if !state.has_running() {
            let error = error.clone();
            fail_thread(draft, error);
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
        Err(error) => undo::fail(draft, error),
    }
}

/// How long ago the thread was accepted, in milliseconds.
fn age_ms(draft: &Draft<'_>) -> u64 {
    let elapsed = draft.moment.now.since(draft.state.created_at);
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

fn output(draft: &Draft<'_>) -> Result<Json, Failure> {
    let output = draft.state.plan.render_output(&*draft.state, draft.moment.max_event);
    output.map_err(|unfilled| unfilled.failure("output"))
}
