//! Does what can be done now: fires due timers, starts steps whose dependencies have ended, ends
//! the thread.

use super::abort::stop_if_over;
use super::attempt::{fail_step, may_start, start_attempt, time_is_up};
use super::decision::Decision;
use super::fail::fail_thread;
use super::{Intervention, Phase, bounds, undo};
use crate::definition::StepIx;
use crate::model::{
    Category, EventBody, Failure, InterventionEscalated, InterventionOpened, Json, StepSkipped,
    StepStatus, ThreadStatus, WorkflowComplete, codes,
};

/// Escalates each question once that waits for longer than the workflow has patience. Questions of
/// a paused thread are escalated as well, for most of them wait there.
fn escalate(decision: &mut Decision<'_>) {
    let now = decision.context.now;
    let due = |one: &&Intervention| one.escalates_at().is_some_and(|at| at <= now);
    let late: Vec<Intervention> =
        decision.state.open_interventions().filter(due).cloned().collect();
    for Intervention { opened, at, .. } in late {
        let InterventionOpened { id, kind, steps, prompt, choices, expires_at, .. } = opened;
        decision.emit(EventBody::InterventionEscalated(InterventionEscalated {
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

/// Does all work that can be done now.
pub(super) fn advance(decision: &mut Decision<'_>) {
    bounds::enforce(decision);
    fire_timers(decision);
    let all = decision.plan.steps.places().collect();
    settle(decision, all);
}

/// Ends waits and starts retries whose time has come.
fn fire_timers(decision: &mut Decision<'_>) {
    escalate(decision);
    for step in decision.plan.steps.places() {
        // A wait that ended in vain may have failed the thread.
        if !may_start(decision) || decision.leaves_the_rest() {
            return;
        }
        let state = &decision.state.steps[step];
        if state.own.wakes_at().is_none_or(|due| due > decision.context.now) {
            continue;
        }
        if state.own.is_retrying() {
            start_attempt(decision, step, None);
        } else {
            time_is_up(decision, step);
        }
    }
}

/// Looks at the steps in `check` and at those that their outcome makes ready; then at the thread.
pub(super) fn settle(decision: &mut Decision<'_>, mut check: Vec<StepIx>) {
    check.reverse();
    while let Some(step) = check.pop() {
        if !may_start(decision) || decision.leaves_the_rest() {
            break;
        }
        if decision.status_of(step) != StepStatus::Pending {
            continue;
        }
        if let Some(skipped) = dependencies(decision, step) {
            look_at(decision, step, skipped);
            if decision.status_of(step).is_terminal() {
                check.extend(decision.plan.steps[step].dependents.iter().rev());
            }
        }
    }
    finish(decision);
}

/// Looks at the steps that depend on one that has ended; then at the thread.
pub(super) fn settle_dependents(decision: &mut Decision<'_>, step: StepIx) {
    settle(decision, decision.plan.steps[step].dependents.clone());
}

/// Returns whether all dependencies were skipped; `None` until all have ended.
fn dependencies(decision: &Decision<'_>, step: StepIx) -> Option<bool> {
    let depends_on = &decision.plan.steps[step].depends_on;
    let mut all_skipped = !depends_on.is_empty();
    for &dependency in depends_on {
        let state = &decision.state.steps[dependency];
        if !state.status().is_terminal() {
            return None;
        }
        all_skipped &= matches!(state.own.phase, Phase::Skipped { bypassed: false });
    }
    Some(all_skipped)
}

/// Skips, fails or starts a step whose dependencies have ended.
fn look_at(decision: &mut Decision<'_>, step: StepIx, all_skipped: bool) {
    if all_skipped {
        return skip(decision, step, "dependencies");
    }
    let planned = &decision.plan.steps[step];
    // A condition whose answer is recorded is not evaluated again.
    let asked_before = decision.state.steps[step].admitted;
    let answer = match &planned.when {
        Some(condition) if !asked_before => condition.evaluate(&*decision.state),
        _ => Ok(true),
    };
    match answer {
        Ok(true) => start_attempt(decision, step, None),
        Ok(false) => skip(decision, step, "condition"),
        Err(detail) => {
            let failure = Failure::permanent(codes::CONDITION_FAILED, Category::Validation, detail);
            fail_step(decision, step, failure.at(&planned.id, 0), 0);
        }
    }
}

fn skip(decision: &mut Decision<'_>, step: StepIx, reason: &str) {
    let data = StepSkipped { reason: reason.to_owned(), by: None, output: None };
    decision.emit_on(step, EventBody::StepSkipped, data);
}

/// Ends the thread if nothing is left to do, or if it is failing and no attempt is under way. A
/// thread that is being undone goes on with its compensation.
fn finish(decision: &mut Decision<'_>) {
    stop_if_over(decision);
    let state = &*decision.state;
    match state.status {
        ThreadStatus::Queued | ThreadStatus::Running => {}
        ThreadStatus::Compensating => return undo::proceed(decision),
        ThreadStatus::Paused
        | ThreadStatus::Completed
        | ThreadStatus::Failed
        | ThreadStatus::Aborted => return,
    }
    let duration_ms = decision.age_ms();
    if let Some(error) = &state.error {
        if !state.has_running() {
            let error = error.clone();
            fail_thread(decision, error);
        }
        return;
    }
    if !state.steps.iter().all(|step| step.status().is_terminal()) {
        return;
    }
    match output(decision) {
        Ok(output) => {
            decision.emit(EventBody::WorkflowComplete(WorkflowComplete { output, duration_ms }));
        }
        Err(error) => undo::fail(decision, error),
    }
}

fn output(decision: &Decision<'_>) -> Result<Json, Failure> {
    let output = decision.state.plan.render_output(&*decision.state, decision.context.max_event);
    output.map_err(|unfilled| unfilled.failure("output"))
}
