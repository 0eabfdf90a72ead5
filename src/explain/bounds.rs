//! Causes of a thread whose end is near: it is being undone, is aborted with a grace, or has a
//! deadline.

use serde_json::{Value, json};

use super::case::Case;
use super::format::{at, failure, list, since};
use crate::contract::{Advice, Cause, CauseKind, Operation};
use crate::definition::Work;
use crate::machine::{ThreadState, Track};
use crate::model::{StepId, ThreadStatus};

/// Explains how completed steps are being undone. There is always such a cause for a thread that is
/// compensating.
pub(super) fn compensating(case: &Case<'_>) -> Cause {
    let state = case.state;
    let now = state.placed().find_map(|(_, planned, step)| {
        let track = &step.compensation;
        if track.is_running() {
            return Some(undoes(case, &planned.id, track));
        }
        let retries = || retries(case, &planned.id, track).by_itself(track.wakes_at());
        track.is_retrying().then(retries)
    });
    now.unwrap_or_else(|| next(case).by_itself(None))
}

/// Explains that an attempt of a compensation is under way, also while the thread is paused.
pub(super) fn undoes(case: &Case<'_>, id: &StepId, undo: &Track) -> Cause {
    let sentence = format!(
        "What step {id} has done is being undone: an attempt of its compensation is under way{}.",
        since(undo.attempt_at, case.facts.now)
    );
    Cause::new(CauseKind::Compensating, sentence, "its end; then the next step is undone")
        .about(id)
        .since(undo.attempt_at)
        .by_itself(None)
        .advice(Some(leave(case)))
        .detail(detail(case.state))
}

/// Explains that a compensation waits for its next attempt.
fn retries(case: &Case<'_>, id: &StepId, undo: &Track) -> Cause {
    let state = case.state;
    let planned = state.plan.find(id.as_str()).map(|at| &state.plan.steps[at]);
    let most = planned.map_or(0, |step| step.work(Work::Compensation).retry.max_attempts);
    let said = undo.error.as_ref().map(failure).unwrap_or_default();
    let due = undo.wakes_at().map_or_else(String::new, |due| at(due, case.facts.now));
    let refused = refused(case, id);
    let circuit = refused.map_or_else(String::new, |key| {
        format!(
            " The circuit of {key} refuses attempts on replica {} now.",
            case.facts.replica.name
        )
    });
    let sentence = format!(
        "The compensation of step {id} has failed {} of {most} times ({said}) and is tried again \
         {due}.{circuit}",
        undo.failures
    );
    let advice = if refused.is_some() {
        leave(case)
    } else {
        let now = "makes the next attempt of the compensation now";
        Advice::new(&case.facts.thread_id, Operation::Retry { step: id.clone() }, now)
    };
    Cause::new(CauseKind::Compensating, sentence, "its next attempt")
        .about(id)
        .since(Some(state.updated_at))
        .advice(Some(advice))
        .detail(detail(state))
}

/// Returns the circuit that would refuse an attempt of a compensation now, as far as this replica
/// knows: a refused attempt is lost.
fn refused<'a>(case: &'a Case<'_>, id: &StepId) -> Option<&'a str> {
    let known = case.facts.circuits.get(&case.state.plan.find(id.as_str())?)?;
    let refuses = known.state == Some("open") || known.cools_until.is_some();
    refuses.then_some(known.key.as_str())
}

/// Explains that the next step is about to be undone.
fn next(case: &Case<'_>) -> Cause {
    let sentence = "What its completed steps did is being undone.".to_owned();
    Cause::new(CauseKind::Compensating, sentence, "the last compensation")
        .since(Some(case.state.updated_at))
        .advice(Some(leave(case)))
        .detail(detail(case.state))
}

fn leave(case: &Case<'_>) -> Advice {
    let does = "ends the thread as it is: what has not been undone is left, and can be tried again";
    Advice::new(&case.facts.thread_id, Operation::Abort { compensate: None }, does)
}

fn detail(state: &ThreadState) -> Value {
    json!({ "compensation": state.compensation(), "error": state.error })
}

/// Explains that somebody has aborted the thread with a grace that is not over.
pub(super) fn stopping(case: &Case<'_>) -> Option<Cause> {
    let (actor, abort_deadline) = case.state.abort_deadline()?;
    let running = case.state.running();
    let names: Vec<&str> = running.iter().map(StepId::as_str).collect();
    let undone =
        if abort_deadline.compensate { ", and its completed steps are undone" } else { "" };
    let reason = actor.reason.as_deref();
    let why = reason.map_or_else(String::new, |why| format!(" ({why})"));
    let sentence = format!(
        "{} has aborted it{why}: the attempts of {} may end by themselves, and are cancelled {}{undone}.",
        actor.by,
        list(&names),
        at(abort_deadline.at, case.facts.now)
    );
    let does = "cancels them and ends the thread now";
    let abort = Operation::Abort { compensate: Some(abort_deadline.compensate) };
    Some(
        Cause::new(CauseKind::Stopping, sentence, "the end of those attempts, or of their grace")
            .since(case.state.paused_by.as_ref().map(|paused_by| paused_by.at))
            .by_itself(Some(abort_deadline.at))
            .advice(Some(Advice::new(&case.facts.thread_id, abort, does)))
            .detail(json!({
                "by": actor.by, "reason": actor.reason, "compensate": abort_deadline.compensate,
                "waitsFor": running,
            })),
    )
}

/// Explains that the `timeout` of the workflow ends the thread.
pub(super) fn deadline(case: &Case<'_>) -> Option<Cause> {
    let state = case.state;
    let runs = matches!(state.status, ThreadStatus::Queued | ThreadStatus::Running);
    let due = state.deadline.filter(|_| runs)?;
    let asks = state.plan.pauses_on_failure;
    let what = if asks { "is paused and a person is asked" } else { "fails" };
    let sentence = format!(
        "If it has not ended by then it {what} {}: its workflow has a timeout.",
        at(due, case.facts.now)
    );
    Some(
        Cause::new(CauseKind::Deadline, sentence, "its end, or that time")
            .by_itself(Some(due))
            .detail(json!({ "deadline": due })),
    )
}
