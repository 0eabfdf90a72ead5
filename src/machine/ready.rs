//! What can go on: timers that are due, steps whose dependencies have ended, the thread's end.

use std::sync::Arc;

use super::bounds::stop_if_over;
use super::choice::{ABORT, COMPENSATE, RETRY, SKIP};
use super::draft::Draft;
use super::{Intervention, Who, undo, wait};
use crate::definition::PlanStep;
use crate::model::{
    Category, EventBody, Failure, InterventionEscalated, InterventionKind, InterventionOpened,
    Json, StepFailed, StepSkipped, StepStart, StepStatus, ThreadStatus, WorkflowComplete,
    WorkflowPaused, codes,
};

/// Who pauses a thread by policy, as its journal names it.
pub(super) const POLICY: &str = "rethread";

/// Whether steps may start: a thread that is failing only waits for its running attempts.
fn may_start(draft: &Draft<'_>) -> bool {
    draft.moment.may_start
        && matches!(draft.state.status, ThreadStatus::Queued | ThreadStatus::Running)
        && draft.state.error.is_none()
}

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

/// Ends waits and starts retries whose time has come.
pub(super) fn fire_timers(draft: &mut Draft<'_>) {
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
                    wait::time_is_up(draft, step, planned.phase(phase));
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

fn start_attempt(draft: &mut Draft<'_>, step: usize) {
    begin_attempt(draft, step, None);
}

fn begin_attempt(draft: &mut Draft<'_>, step: usize, who: Option<&Who>) {
    let plan = Arc::clone(&draft.state.plan);
    let Some(planned) = plan.steps.get(step) else { return };
    let Some(state) = draft.state.steps.get(step) else { return };
    let (fallback, attempt) = (state.fallback, state.attempts + 1);
    let planned = planned.phase(state.phase());
    draft.emit(EventBody::StepStart(crate::model::OnStep {
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
        wait::begin(draft, step, planned);
    }
}

/// Ends a step for which nothing stands in.
pub(super) fn fail_step(draft: &mut Draft<'_>, step: usize, error: Failure, duration_ms: u64) {
    let continued =
        draft.state.plan.steps.get(step).is_some_and(|planned| planned.continue_on_error);
    let data = StepFailed { error, continued, duration_ms };
    draft.emit_on(step, EventBody::StepFailed, data);
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

/// Ends a thread that has failed, or pauses it and asks a person where its workflow says so.
pub(super) fn fail_thread(draft: &mut Draft<'_>, error: Failure) {
    if draft.state.plan.pauses_on_failure {
        return ask_about(draft, &error);
    }
    undo::fail(draft, error);
}

/// How long ago the thread was accepted, in milliseconds.
fn age_ms(draft: &Draft<'_>) -> u64 {
    let elapsed = draft.moment.now.since(draft.state.created_at);
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// Pauses a thread that would fail, and asks a person.
fn ask_about(draft: &mut Draft<'_>, error: &Failure) {
    let steps = draft.state.plan.steps.iter().zip(&draft.state.steps);
    let failed: Vec<_> = steps
        .filter(|(_, state)| state.status == StepStatus::Failed && !state.continued)
        .map(|(planned, _)| planned.id.clone())
        .collect();
    let reason = Some(error.message.clone());
    let paused =
        WorkflowPaused { by: POLICY.to_owned(), reason, aborts_at: None, compensate: false };
    draft.emit(EventBody::WorkflowPaused(paused));
    // A thread that has had its time may have no step that has failed.
    let skippable = !failed.is_empty();
    let undoable = draft.state.next_to_undo(false).is_some();
    let offers = [(RETRY, true), (SKIP, skippable), (ABORT, true), (COMPENSATE, undoable)];
    let choices = offers.into_iter().filter(|(_, offered)| *offered).map(|(choice, _)| choice);
    let id = draft.state.next_intervention();
    draft.emit(EventBody::InterventionOpened(InterventionOpened {
        id,
        kind: InterventionKind::Failure,
        steps: failed,
        prompt: format!("{}: {}", error.code, error.message),
        choices: choices.map(str::to_owned).collect(),
        digest: None,
        expires_at: None,
        on_timeout: None,
        escalates_at: draft.escalates_at(),
        approvers: Vec::new(),
        not_by: None,
    }));
}

fn output(draft: &Draft<'_>) -> Result<Json, Failure> {
    let output = draft.state.plan.render_output(&*draft.state, draft.moment.max_event);
    output.map_err(|unfilled| unfilled.failure("output"))
}
