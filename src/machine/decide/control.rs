//! Requests of people and clients to a thread: each becomes one event with actor and reason, and
//! the events that follow from it.

use std::collections::BTreeSet;

use super::super::abort::{abort_and_undo, abort_now, go_on_undoing};
use super::super::attempt::{ask_again, deliver, start_attempt, succeed};
use super::super::decision::Decision;
use super::super::interventions::{close, concerns, is_of_the_pause};
use super::super::ready::{advance, settle, settle_dependents};
use super::super::{
    Abort, Actor, Effect, Rejection, Request, Resume, Signal, approval, bounds, check, choices,
    four_eyes, undo,
};
use crate::definition::StepIx;
use crate::model::{
    Category, EventBody, Failure, InterventionKind, InterventionResolved, Json, SignalReceived,
    StepEdited, StepRetry, StepSkipped, StepStatus, ThreadStatus, WorkflowPaused, WorkflowResumed,
    codes,
};

/// The number of signals that a thread keeps for steps that do not wait for them yet: more come
/// from a client in a loop.
const MAX_SIGNALS: usize = 1_000;
/// The size of a thread's untaken signals, in bytes (a larger one is kept alone): a replica that
/// loads the thread holds them all.
const MAX_SIGNAL_BYTES: usize = 4 << 20;
/// The reason for a skip where the person gave none.
const ASKED: &str = "asked";

pub(super) fn asked(
    decision: &mut Decision<'_>,
    ask: Request,
    actor: &Actor,
) -> Result<(), Rejection> {
    match ask {
        Request::Pause => pause(decision, actor),
        Request::Resume(how) => resume(decision, how, actor),
        Request::Abort(how) => abort(decision, how, actor),
        Request::Retry { step } => retry(decision, step, actor),
        Request::Skip { step, output } => skip(decision, step, output, actor),
        Request::Edit { step, output } => edit(decision, step, output, actor),
        Request::Signal { name, payload } => signal(decision, &name, payload, actor),
        Request::Resolve { id, choice, digest } => {
            let decided = resolution(decision, (id, choice), digest.as_deref(), actor)?;
            resolve(decision, decided, actor)
        }
    }
}

/// Pauses the thread. Attempts under way go on and their results are kept; nothing is started.
fn pause(decision: &mut Decision<'_>, actor: &Actor) -> Result<(), Rejection> {
    match decision.state.status {
        ThreadStatus::Queued | ThreadStatus::Running | ThreadStatus::Compensating => {
            let Actor { by, reason, .. } = actor.clone();
            let paused = WorkflowPaused { by, reason, aborts_at: None, compensate: false };
            decision.emit(EventBody::WorkflowPaused(paused));
            Ok(())
        }
        status @ (ThreadStatus::Paused
        | ThreadStatus::Completed
        | ThreadStatus::Failed
        | ThreadStatus::Aborted) => Err(Rejection::WrongState(status)),
    }
}

fn resume(decision: &mut Decision<'_>, how: Resume, actor: &Actor) -> Result<(), Rejection> {
    match decision.state.status {
        ThreadStatus::Failed | ThreadStatus::Aborted | ThreadStatus::Paused => {}
        status @ (ThreadStatus::Queued
        | ThreadStatus::Running
        | ThreadStatus::Compensating
        | ThreadStatus::Completed) => return Err(Rejection::WrongState(status)),
    }
    if decision.state.compensation_reason.is_some() {
        // The compensation goes on; to go forwards again, a person aborts the thread first.
        if how != Resume::default() {
            return Err(Rejection::Compensating);
        }
        go_on_undoing(decision, actor);
        return Ok(());
    }
    let again = decision.state.run_again(how.from_step);
    for &step in &again {
        // The result of its attempt may be a moment away; two attempts of one step never run side
        // by side.
        refuse_if(decision, step, |status| status == StepStatus::Running)?;
    }
    let skip: BTreeSet<StepIx> = how.skip.into_iter().collect();
    for &step in skip.difference(&again) {
        refuse_settled(decision, step)?;
    }
    let given = (how.input.as_ref(), &again);
    let limit = decision.context.max_event;
    four_eyes::may_change_input(decision.state, given, actor, limit)
        .and_then(|()| four_eyes::may_change(decision.state, skip.iter().copied(), actor, limit))
        .map_err(Rejection::NotAnApprover)?;
    let plan = decision.plan;
    let ends: BTreeSet<StepIx> = again.union(&skip).copied().collect();
    close(decision, choices::RESUME, actor, |one| {
        is_of_the_pause(one) || concerns(plan, one, &ends)
    });
    let Actor { by, reason, .. } = actor.clone();
    let from_step = how.from_step.map(|step| decision.step_id(step));
    let deadline = bounds::deadline(plan, &decision.context);
    let resumed = WorkflowResumed { by, reason, from_step, input: how.input, deadline };
    decision.emit(EventBody::WorkflowResumed(resumed));
    for step in skip {
        emit_skip(decision, step, None, actor);
    }
    go_on(decision, actor);
    Ok(())
}

/// Goes on with a resumed thread, asking changed questions anew.
fn go_on(decision: &mut Decision<'_>, actor: &Actor) {
    approval::withdraw_changed(decision, actor);
    ask_again(decision);
    advance(decision);
}

/// Ends the thread, at once or when the grace of the attempts under way is over.
fn abort(decision: &mut Decision<'_>, how: Abort, actor: &Actor) -> Result<(), Rejection> {
    let Abort { grace, compensate } = how;
    let open = !decision.state.status.is_terminal();
    let compensation_reason = compensate && decision.state.status == ThreadStatus::Compensating;
    if grace.is_zero() || !open || compensation_reason || !decision.state.has_running() {
        return abort_now(decision, compensate, actor);
    }
    let Actor { by, reason, .. } = actor.clone();
    let aborts_at = Some(decision.context.now.plus(grace));
    decision.emit(EventBody::WorkflowPaused(WorkflowPaused { by, reason, aborts_at, compensate }));
    Ok(())
}

/// Starts the next attempt of a step or of its compensation now, or continues the thread that the
/// step has failed.
fn retry(decision: &mut Decision<'_>, step: StepIx, actor: &Actor) -> Result<(), Rejection> {
    if decision.state.status == ThreadStatus::Compensating {
        return undo::retry_now(decision, step, actor);
    }
    refuse_while_undoing(decision)?;
    match (decision.state.status, decision.status_of(step)) {
        (ThreadStatus::Running, StepStatus::Retrying) if decision.state.error.is_none() => {
            start_attempt(decision, step, Some(actor));
            Ok(())
        }
        (ThreadStatus::Running, StepStatus::Running) if decision.state.error.is_none() => {
            give_attempt_up(decision, step, actor);
            start_attempt(decision, step, Some(actor));
            Ok(())
        }
        (ThreadStatus::Running, StepStatus::Waiting)
            if decision.state.steps[step].own.blocked().is_some() =>
        {
            let plan = decision.plan;
            close(decision, choices::RETRY, actor, |one| {
                concerns(plan, one, &BTreeSet::from([step]))
            });
            settle(decision, vec![step]);
            Ok(())
        }
        (ThreadStatus::Failed | ThreadStatus::Paused, StepStatus::Failed) => {
            refuse_settled(decision, step)?;
            resume(decision, Resume::default(), actor)
        }
        (
            status @ (ThreadStatus::Queued
            | ThreadStatus::Paused
            | ThreadStatus::Compensating
            | ThreadStatus::Completed
            | ThreadStatus::Failed
            | ThreadStatus::Aborted),
            _,
        ) => Err(Rejection::WrongState(status)),
        (ThreadStatus::Running, _) => refuse_if(decision, step, |_| true),
    }
}

/// Ends an attempt that a person does not want to wait for any longer.
fn give_attempt_up(decision: &mut Decision<'_>, step: StepIx, actor: &Actor) {
    cancel(decision, step);
    let message = format!("{} had the next attempt made", actor.by);
    let failure = Failure::recoverable(codes::CANCELLED, Category::Step, message);
    let data = StepRetry {
        error: failure.at(&decision.plan.steps[step].id, decision.state.steps[step].own.attempts),
        // The time of this event itself: see `Decision::emit`.
        retry_at: decision.context.now.max(decision.state.updated_at),
        delay_ms: 0,
        fallback: false,
        cancelled: true,
    };
    decision.emit_on(step, EventBody::StepRetry, data);
}

/// Ends a step without running it; an attempt under way is cancelled.
fn skip(
    decision: &mut Decision<'_>,
    step: StepIx,
    output: Option<Json>,
    actor: &Actor,
) -> Result<(), Rejection> {
    refuse_while_undoing(decision)?;
    refuse_settled(decision, step)?;
    four_eyes::may_change(decision.state, [step], actor, decision.context.max_event)
        .map_err(Rejection::NotAnApprover)?;
    let has_failed = decision.status_of(step) == StepStatus::Failed;
    match decision.state.status {
        // The step has failed its thread, which goes on without it.
        ThreadStatus::Paused | ThreadStatus::Failed if has_failed => {
            go_on_without(decision, step, output, actor);
            Ok(())
        }
        ThreadStatus::Queued | ThreadStatus::Running | ThreadStatus::Paused => {
            refuse_if(decision, step, |_| has_failed)?;
            emit_skip(decision, step, output, actor);
            advance(decision);
            Ok(())
        }
        status @ (ThreadStatus::Compensating
        | ThreadStatus::Completed
        | ThreadStatus::Failed
        | ThreadStatus::Aborted) => Err(Rejection::WrongState(status)),
    }
}

/// Continues a thread that a step has failed, without the step.
fn go_on_without(decision: &mut Decision<'_>, step: StepIx, output: Option<Json>, actor: &Actor) {
    close(decision, choices::SKIP, actor, is_of_the_pause);
    let Actor { by, reason, .. } = actor.clone();
    let deadline = bounds::deadline(decision.plan, &decision.context);
    let resumed = WorkflowResumed { by, reason, deadline, ..WorkflowResumed::default() };
    decision.emit(EventBody::WorkflowResumed(resumed));
    emit_skip(decision, step, output, actor);
    go_on(decision, actor);
}

fn edit(
    decision: &mut Decision<'_>,
    step: StepIx,
    output: Json,
    actor: &Actor,
) -> Result<(), Rejection> {
    if decision.state.status != ThreadStatus::Paused {
        return Err(Rejection::WrongState(decision.state.status));
    }
    refuse_if(decision, step, |status| status != StepStatus::Completed)?;
    four_eyes::may_change(decision.state, [step], actor, decision.context.max_event)
        .map_err(Rejection::NotAnApprover)?;
    let Actor { by, reason, .. } = actor.clone();
    decision.emit_on(step, EventBody::StepEdited, StepEdited { output, by, reason });
    // The questions are asked anew when the thread goes on: until then more may be changed.
    approval::withdraw_changed(decision, actor);
    Ok(())
}

/// Returns a person's resolution of an intervention, if that is open, has the digest that was seen,
/// offers the choice, and the person may make it.
fn resolution(
    decision: &Decision<'_>,
    (id, choice): (String, String),
    seen: Option<&str>,
    actor: &Actor,
) -> Result<InterventionResolved, Rejection> {
    let found = decision.state.intervention(&id);
    let found = found.ok_or(Rejection::NoIntervention)?;
    if let Some((decided, _)) = &found.resolved {
        let (choice, by) = (decided.choice.clone(), decided.by.clone());
        return Err(Rejection::Resolved { choice, by });
    }
    let same =
        |seen| found.opened.digest.as_ref().is_some_and(|digest| digest.eq_ignore_ascii_case(seen));
    if !seen.is_none_or(same) {
        return Err(Rejection::OtherDigest(found.opened.digest.clone()));
    }
    if !found.opened.choices.contains(&choice) {
        return Err(Rejection::NoSuchChoice(found.opened.choices.clone()));
    }
    let allowed = four_eyes::may_decide(decision.state, &found.opened, actor);
    allowed.map_err(Rejection::NotAnApprover)?;
    if choice == choices::SKIP {
        let plan = decision.plan;
        let steps = found.opened.steps.iter().filter_map(|id| plan.find(id.as_str()));
        four_eyes::may_change(decision.state, steps, actor, decision.context.max_event)
            .map_err(Rejection::NotAnApprover)?;
    }
    Ok(decision.settled(id, &choice, actor))
}

fn resolve(
    decision: &mut Decision<'_>,
    decided: InterventionResolved,
    actor: &Actor,
) -> Result<(), Rejection> {
    let asked = decision.state.intervention(&decided.id);
    let asked = asked.map(|one| (one.opened.kind, one.opened.steps.clone()));
    let (kind, steps) = asked.ok_or(Rejection::NoIntervention)?;
    let plan = decision.plan;
    let mut steps = steps.iter().filter_map(|id| plan.find(id.as_str()));
    match (kind, decided.choice.as_str()) {
        (InterventionKind::Approval, _) => {
            let step = steps.next().ok_or(Rejection::NoIntervention)?;
            decision.emit(EventBody::InterventionResolved(decided.clone()));
            let attempt = decision.current(step);
            succeed(decision, attempt, approval::output(&decided), None);
            settle_dependents(decision, step);
            Ok(())
        }
        (_, choices::ABORT) => {
            decision.emit(EventBody::InterventionResolved(decided));
            abort_now(decision, false, actor)
        }
        (InterventionKind::Poison | InterventionKind::Failure, choices::COMPENSATE) => {
            decision.emit(EventBody::InterventionResolved(decided));
            abort_and_undo(decision, actor)
        }
        (InterventionKind::Blocked, _) => {
            let step = steps.next().ok_or(Rejection::NoIntervention)?;
            settle_blocked(decision, step, decided, actor);
            Ok(())
        }
        (InterventionKind::Poison | InterventionKind::Failure, choices::SKIP) => {
            let skip = steps.collect();
            decision.emit(EventBody::InterventionResolved(decided));
            resume(decision, Resume { skip, ..Resume::default() }, actor)
        }
        (InterventionKind::Poison | InterventionKind::Failure, _) => {
            decision.emit(EventBody::InterventionResolved(decided));
            resume(decision, Resume::default(), actor)
        }
    }
}

/// Carries out a person's decision about a blocked output.
fn settle_blocked(
    decision: &mut Decision<'_>,
    step: StepIx,
    decided: InterventionResolved,
    actor: &Actor,
) {
    let choice = decided.choice.clone();
    decision.emit(EventBody::InterventionResolved(decided));
    match choice.as_str() {
        choices::ACCEPT => {
            check::accept(decision, step);
            settle_dependents(decision, step);
        }
        choices::SKIP => {
            emit_skip(decision, step, None, actor);
            advance(decision);
        }
        // On a retry the step is `pending` again, before its next attempt.
        _ => settle(decision, vec![step]),
    }
}

/// Takes a signal: a step that waits for it goes on, else the signal is kept.
fn signal(
    decision: &mut Decision<'_>,
    name: &str,
    payload: Json,
    actor: &Actor,
) -> Result<(), Rejection> {
    if decision.state.status.is_terminal() {
        return Err(Rejection::WrongState(decision.state.status));
    }
    let awaited = decision.state.steps.iter().any(|step| step.own.signal() == Some(name));
    let kept: usize = decision.state.signals.iter().map(Signal::weight).sum();
    let too_many = decision.state.signals.len() >= MAX_SIGNALS
        || (kept > 0 && kept.saturating_add(payload.as_str().len()) > MAX_SIGNAL_BYTES);
    if too_many && !awaited {
        return Err(Rejection::TooManySignals);
    }
    let Actor { by, reason, .. } = actor.clone();
    let received = SignalReceived { name: name.to_owned(), payload, by, reason };
    decision.emit(EventBody::SignalReceived(received));
    for step in deliver(decision, name) {
        settle_dependents(decision, step);
    }
    Ok(())
}

fn emit_skip(decision: &mut Decision<'_>, step: StepIx, output: Option<Json>, actor: &Actor) {
    cancel(decision, step);
    let plan = decision.plan;
    close(decision, choices::SKIP, actor, |one| concerns(plan, one, &BTreeSet::from([step])));
    let reason = actor.reason.clone().unwrap_or_else(|| ASKED.to_owned());
    let data = StepSkipped { reason, by: Some(actor.by.clone()), output };
    decision.emit_on(step, EventBody::StepSkipped, data);
}

/// Cancels the attempt of a step that is under way, if one is.
fn cancel(decision: &mut Decision<'_>, step: StepIx) {
    if decision.state.steps[step].own.is_running() {
        decision.cause(Effect::Cancel(decision.current(step)));
    }
}

/// Refuses to go forwards with a thread that was paused while it was being undone.
fn refuse_while_undoing(decision: &Decision<'_>) -> Result<(), Rejection> {
    let undone = decision.state.status == ThreadStatus::Paused
        && decision.state.compensation_reason.is_some();
    if undone { Err(Rejection::Compensating) } else { Ok(()) }
}

/// Refuses a request that comes too late for a step: others may have gone on from its end.
fn refuse_settled(decision: &Decision<'_>, step: StepIx) -> Result<(), Rejection> {
    let continued = decision.state.steps[step].is_continued();
    refuse_if(decision, step, |status| match status {
        StepStatus::Completed | StepStatus::Skipped | StepStatus::Compensated => true,
        StepStatus::Failed => continued,
        StepStatus::Pending | StepStatus::Running | StepStatus::Retrying | StepStatus::Waiting => {
            false
        }
    })
}

fn refuse_if(
    decision: &Decision<'_>,
    step: StepIx,
    refused: impl FnOnce(StepStatus) -> bool,
) -> Result<(), Rejection> {
    let status = decision.status_of(step);
    if refused(status) {
        return Err(Rejection::WrongStep(decision.step_id(step), status));
    }
    Ok(())
}
