//! What people and clients ask of a thread: each request is one event with who and why, and
//! whatever follows from it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::abort::{abort_and_undo, abort_now, go_on_undoing};
use super::super::attempt::{ask_again, start_now};
use super::super::draft::Draft;
use super::super::interventions::{close, concerns, is_of_the_pause};
use super::super::ready::{advance, settle, settle_dependents};
use super::super::wait::deliver;
use super::super::{
    Abort, Ask, Rejection, Resume, Signal, Who, approval, bounds, check, decisions, four_eyes, undo,
};
use crate::model::{
    Category, EventBody, Failure, InterventionKind, InterventionResolved, Json, SignalReceived,
    StepEdited, StepId, StepRetry, StepSkipped, StepStatus, ThreadStatus, WorkflowPaused,
    WorkflowResumed, codes,
};

/// Signals that a thread keeps for steps that do not wait for them yet: more are a loop of a client.
const MAX_SIGNALS: usize = 1_000;
/// Bytes that the signals of a thread may have that nobody has taken yet (a larger one is kept alone):
/// whoever loads the thread holds them all.
const MAX_SIGNAL_BYTES: usize = 4 << 20;
/// Why a step is skipped, where the person did not say.
const ASKED: &str = "asked";

pub(super) fn asked(draft: &mut Draft<'_>, ask: Ask, who: &Who) -> Result<(), Rejection> {
    match ask {
        Ask::Pause => pause(draft, who),
        Ask::Resume(how) => resume(draft, how, who),
        Ask::Abort(how) => abort(draft, how, who),
        Ask::Retry { step } => retry(draft, step, who),
        Ask::Skip { step, output } => skip(draft, step, output, who),
        Ask::Edit { step, output } => edit(draft, step, output, who),
        Ask::Signal { name, payload } => signal(draft, &name, payload, who),
        Ask::Resolve { id, choice, digest } => {
            let decided = decision(draft, (id, choice), digest.as_deref(), who)?;
            resolve(draft, decided, who)
        }
    }
}

/// Attempts under way go on and their results are kept; nothing is started.
fn pause(draft: &mut Draft<'_>, who: &Who) -> Result<(), Rejection> {
    match draft.state.status {
        ThreadStatus::Queued | ThreadStatus::Running | ThreadStatus::Compensating => {
            let Who { by, reason, .. } = who.clone();
            let paused = WorkflowPaused { by, reason, aborts_at: None, compensate: false };
            draft.emit(EventBody::WorkflowPaused(paused));
            Ok(())
        }
        status @ (ThreadStatus::Paused
        | ThreadStatus::Completed
        | ThreadStatus::Failed
        | ThreadStatus::Aborted) => Err(Rejection::WrongState(status)),
    }
}

fn resume(draft: &mut Draft<'_>, how: Resume, who: &Who) -> Result<(), Rejection> {
    match draft.state.status {
        ThreadStatus::Failed | ThreadStatus::Aborted | ThreadStatus::Paused => {}
        status @ (ThreadStatus::Queued
        | ThreadStatus::Running
        | ThreadStatus::Compensating
        | ThreadStatus::Completed) => return Err(Rejection::WrongState(status)),
    }
    if draft.state.undoing.is_some() {
        // What it was at goes on; whoever wants to go forwards again aborts it first.
        if how != Resume::default() {
            return Err(Rejection::Undoing);
        }
        go_on_undoing(draft, who);
        return Ok(());
    }
    let again = draft.state.run_again(how.from_step);
    for &step in &again {
        // Its result may be a moment away; two attempts of one step never run side by side.
        refuse_if(draft, step, |status| status == StepStatus::Running)?;
    }
    let skip: BTreeSet<usize> = how.skip.into_iter().collect();
    for &step in skip.difference(&again) {
        refuse_settled(draft, step)?;
    }
    let given = (how.input.as_ref(), &again);
    let limit = draft.moment.max_event;
    four_eyes::may_change_input(draft.state, given, who, limit)
        .and_then(|()| four_eyes::may_change(draft.state, skip.iter().copied(), who, limit))
        .map_err(Rejection::NotAnApprover)?;
    let plan = Arc::clone(&draft.state.plan);
    let ends: BTreeSet<usize> = again.union(&skip).copied().collect();
    close(draft, decisions::RESUME, who, |one| is_of_the_pause(one) || concerns(&plan, one, &ends));
    let Who { by, reason, .. } = who.clone();
    let from_step = how.from_step.and_then(|step| draft.step_id(step));
    let deadline = bounds::deadline(&plan, &draft.moment);
    let resumed = WorkflowResumed { by, reason, from_step, input: how.input, deadline };
    draft.emit(EventBody::WorkflowResumed(resumed));
    for step in skip {
        emit_skip(draft, step, None, who);
    }
    go_on(draft, who);
    Ok(())
}

/// Goes on with what a resumed thread is now.
fn go_on(draft: &mut Draft<'_>, who: &Who) {
    approval::withdraw_changed(draft, who);
    ask_again(draft);
    advance(draft);
}

/// Ends the thread, at once or when the attempts under way have had their grace.
fn abort(draft: &mut Draft<'_>, how: Abort, who: &Who) -> Result<(), Rejection> {
    let Abort { grace, compensate } = how;
    let open = !draft.state.status.is_terminal();
    let undoing = compensate && draft.state.status == ThreadStatus::Compensating;
    if grace.is_zero() || !open || undoing || !draft.state.has_running() {
        return abort_now(draft, compensate, who);
    }
    let Who { by, reason, .. } = who.clone();
    let aborts_at = Some(draft.moment.now.plus(grace));
    draft.emit(EventBody::WorkflowPaused(WorkflowPaused { by, reason, aborts_at, compensate }));
    Ok(())
}

/// Starts the attempt that a step, or what undoes it, waits for, or continues the thread that it has
/// failed.
fn retry(draft: &mut Draft<'_>, step: usize, who: &Who) -> Result<(), Rejection> {
    if draft.state.status == ThreadStatus::Compensating {
        return undo::retry_now(draft, step, who);
    }
    refuse_while_undoing(draft)?;
    match (draft.state.status, draft.status_of(step)) {
        (ThreadStatus::Running, Some(StepStatus::Retrying)) if draft.state.error.is_none() => {
            start_now(draft, step, who);
            Ok(())
        }
        (ThreadStatus::Running, Some(StepStatus::Running)) if draft.state.error.is_none() => {
            give_attempt_up(draft, step, who);
            start_now(draft, step, who);
            Ok(())
        }
        (ThreadStatus::Running, Some(StepStatus::Waiting))
            if draft.state.steps.get(step).is_some_and(|state| state.held.is_some()) =>
        {
            let plan = Arc::clone(&draft.state.plan);
            close(draft, decisions::RETRY, who, |one| {
                concerns(&plan, one, &BTreeSet::from([step]))
            });
            settle(draft, vec![step]);
            Ok(())
        }
        (ThreadStatus::Failed | ThreadStatus::Paused, Some(StepStatus::Failed)) => {
            refuse_settled(draft, step)?;
            resume(draft, Resume::default(), who)
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
        (ThreadStatus::Running, _) => refuse_if(draft, step, |_| true),
    }
}

/// Ends an attempt that a person does not want to wait for any longer.
fn give_attempt_up(draft: &mut Draft<'_>, step: usize, who: &Who) {
    let plan = Arc::clone(&draft.state.plan);
    let (Some(planned), Some(state)) = (plan.steps.get(step), draft.state.steps.get(step)) else {
        return;
    };
    let message = format!("{} had the next attempt made", who.by);
    let failure = Failure::recoverable(codes::CANCELLED, Category::Step, message);
    let data = StepRetry {
        error: failure.at(&planned.id, state.attempts),
        // The time of the event it stands in: see `Draft::emit`.
        retry_at: draft.moment.now.max(draft.state.updated_at),
        delay_ms: 0,
        fallback: false,
        cancelled: true,
    };
    draft.emit_on(step, EventBody::StepRetry, data);
}

/// Ends a step without running it; an attempt under way is cancelled.
fn skip(
    draft: &mut Draft<'_>,
    step: usize,
    output: Option<Json>,
    who: &Who,
) -> Result<(), Rejection> {
    refuse_while_undoing(draft)?;
    refuse_settled(draft, step)?;
    four_eyes::may_change(draft.state, [step], who, draft.moment.max_event)
        .map_err(Rejection::NotAnApprover)?;
    let has_failed = draft.status_of(step) == Some(StepStatus::Failed);
    match draft.state.status {
        // It has failed its thread, which goes on without it.
        ThreadStatus::Paused | ThreadStatus::Failed if has_failed => {
            go_on_without(draft, step, output, who);
            Ok(())
        }
        ThreadStatus::Queued | ThreadStatus::Running | ThreadStatus::Paused => {
            refuse_if(draft, step, |_| has_failed)?;
            emit_skip(draft, step, output, who);
            advance(draft);
            Ok(())
        }
        status @ (ThreadStatus::Compensating
        | ThreadStatus::Completed
        | ThreadStatus::Failed
        | ThreadStatus::Aborted) => Err(Rejection::WrongState(status)),
    }
}

/// Continues a thread that a step has failed, without the step.
fn go_on_without(draft: &mut Draft<'_>, step: usize, output: Option<Json>, who: &Who) {
    close(draft, decisions::SKIP, who, is_of_the_pause);
    let Who { by, reason, .. } = who.clone();
    let deadline = bounds::deadline(&draft.state.plan, &draft.moment);
    let resumed = WorkflowResumed { by, reason, deadline, ..WorkflowResumed::default() };
    draft.emit(EventBody::WorkflowResumed(resumed));
    emit_skip(draft, step, output, who);
    go_on(draft, who);
}

fn edit(draft: &mut Draft<'_>, step: usize, output: Json, who: &Who) -> Result<(), Rejection> {
    if draft.state.status != ThreadStatus::Paused {
        return Err(Rejection::WrongState(draft.state.status));
    }
    refuse_if(draft, step, |status| status != StepStatus::Completed)?;
    four_eyes::may_change(draft.state, [step], who, draft.moment.max_event)
        .map_err(Rejection::NotAnApprover)?;
    let Who { by, reason, .. } = who.clone();
    draft.emit_on(step, EventBody::StepEdited, StepEdited { output, by, reason });
    // They are asked anew when the thread goes on: until then more may be changed.
    approval::withdraw_changed(draft, who);
    Ok(())
}

/// What a person decides, if it can be decided and is about what was seen.
fn decision(
    draft: &Draft<'_>,
    (id, choice): (String, String),
    seen: Option<&str>,
    who: &Who,
) -> Result<InterventionResolved, Rejection> {
    let found = draft.state.interventions.iter().find(|one| one.opened.id == id);
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
    let allowed = four_eyes::may_decide(draft.state, &found.opened, who);
    allowed.map_err(Rejection::NotAnApprover)?;
    if choice == decisions::SKIP {
        let plan = &draft.state.plan;
        let steps = found.opened.steps.iter().filter_map(|id| plan.position(id.as_str()));
        four_eyes::may_change(draft.state, steps, who, draft.moment.max_event)
            .map_err(Rejection::NotAnApprover)?;
    }
    Ok(draft.settled(id, &choice, who))
}

fn resolve(
    draft: &mut Draft<'_>,
    decided: InterventionResolved,
    who: &Who,
) -> Result<(), Rejection> {
    let asked = draft.state.interventions.iter().find(|one| one.opened.id == decided.id);
    let asked = asked.map(|one| (one.opened.kind, one.opened.steps.clone()));
    let (kind, steps) = asked.ok_or(Rejection::NoIntervention)?;
    let plan = Arc::clone(&draft.state.plan);
    let mut steps = steps.iter().filter_map(|id| plan.position(id.as_str()));
    match (kind, decided.choice.as_str()) {
        (InterventionKind::Approval, _) => {
            let step = steps.next().ok_or(Rejection::NoIntervention)?;
            draft.emit(EventBody::InterventionResolved(decided.clone()));
            approval::decided(draft, step, &decided);
            settle_dependents(draft, step);
            Ok(())
        }
        (_, decisions::ABORT) => {
            draft.emit(EventBody::InterventionResolved(decided));
            abort_now(draft, false, who)
        }
        (InterventionKind::Poison | InterventionKind::Failure, decisions::COMPENSATE) => {
            draft.emit(EventBody::InterventionResolved(decided));
            abort_and_undo(draft, who)
        }
        (InterventionKind::Blocked, _) => {
            let step = steps.next().ok_or(Rejection::NoIntervention)?;
            settle_blocked(draft, step, decided, who);
            Ok(())
        }
        (InterventionKind::Poison | InterventionKind::Failure, decisions::SKIP) => {
            let skip = steps.collect();
            draft.emit(EventBody::InterventionResolved(decided));
            resume(draft, Resume { skip, ..Resume::default() }, who)
        }
        (InterventionKind::Poison | InterventionKind::Failure, _) => {
            draft.emit(EventBody::InterventionResolved(decided));
            resume(draft, Resume::default(), who)
        }
    }
}

/// What a person has decided about an output that was blocked.
fn settle_blocked(draft: &mut Draft<'_>, step: usize, decided: InterventionResolved, who: &Who) {
    let choice = decided.choice.clone();
    draft.emit(EventBody::InterventionResolved(decided));
    match choice.as_str() {
        decisions::ACCEPT => {
            check::accept(draft, step);
            settle_dependents(draft, step);
        }
        decisions::SKIP => {
            emit_skip(draft, step, None, who);
            advance(draft);
        }
        // The step stands before its next attempt.
        _ => settle(draft, vec![step]),
    }
}

/// Takes a signal: whoever waits for it goes on, else it is kept.
fn signal(draft: &mut Draft<'_>, name: &str, payload: Json, who: &Who) -> Result<(), Rejection> {
    if draft.state.status.is_terminal() {
        return Err(Rejection::WrongState(draft.state.status));
    }
    let awaited = draft.state.steps.iter().any(|step| step.signal.as_deref() == Some(name));
    let kept: usize = draft.state.signals.iter().map(Signal::weight).sum();
    let too_many = draft.state.signals.len() >= MAX_SIGNALS
        || (kept > 0 && kept.saturating_add(payload.as_str().len()) > MAX_SIGNAL_BYTES);
    if too_many && !awaited {
        return Err(Rejection::TooManySignals);
    }
    let Who { by, reason, .. } = who.clone();
    let received = SignalReceived { name: name.to_owned(), payload, by, reason };
    draft.emit(EventBody::SignalReceived(received));
    for step in deliver(draft, name) {
        settle_dependents(draft, step);
    }
    Ok(())
}

fn emit_skip(draft: &mut Draft<'_>, step: usize, output: Option<Json>, who: &Who) {
    let plan = Arc::clone(&draft.state.plan);
    close(draft, decisions::SKIP, who, |one| concerns(&plan, one, &BTreeSet::from([step])));
    let reason = who.reason.clone().unwrap_or_else(|| ASKED.to_owned());
    let data = StepSkipped { reason, by: Some(who.by.clone()), output };
    draft.emit_on(step, EventBody::StepSkipped, data);
}

/// Refuses what would have a thread go forwards that was paused while it was being undone.
fn refuse_while_undoing(draft: &Draft<'_>) -> Result<(), Rejection> {
    let undone = draft.state.status == ThreadStatus::Paused && draft.state.undoing.is_some();
    if undone { Err(Rejection::Undoing) } else { Ok(()) }
}

/// Refuses what comes too late for a step: others may have gone on from its end.
fn refuse_settled(draft: &Draft<'_>, step: usize) -> Result<(), Rejection> {
    let continued = draft.state.steps.get(step).is_some_and(|step| step.continued);
    refuse_if(draft, step, |status| match status {
        StepStatus::Completed | StepStatus::Skipped | StepStatus::Compensated => true,
        StepStatus::Failed => continued,
        StepStatus::Pending | StepStatus::Running | StepStatus::Retrying | StepStatus::Waiting => {
            false
        }
    })
}

fn refuse_if(
    draft: &Draft<'_>,
    step: usize,
    refused: impl FnOnce(StepStatus) -> bool,
) -> Result<(), Rejection> {
    let status = draft.status_of(step).ok_or(Rejection::Stale)?;
    let id: StepId = draft.step_id(step).ok_or(Rejection::Stale)?;
    if refused(status) { Err(Rejection::WrongStep(id, status)) } else { Ok(()) }
}
