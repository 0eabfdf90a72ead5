//! What people and clients ask of a thread: each request is one event with who and why, and
//! whatever follows from it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::draft::Draft;
use super::super::ready::{POLICY, start_now};
use super::super::wait::{self, deliver};
use super::super::{Ask, Rejection, Resume, Who};
use super::advance;
use super::result::settle_dependents;
use crate::definition::Plan;
use crate::model::{
    EventBody, InterventionKind, InterventionOpened, InterventionResolved, Json, SignalReceived,
    StepEdited, StepId, StepSkipped, StepStatus, ThreadStatus, WorkflowAborted, WorkflowPaused,
    WorkflowResumed,
};

/// Signals that a thread keeps for steps that do not wait for them yet: more are a loop of a client.
const MAX_SIGNALS: usize = 1_000;
/// Why a step is skipped, where the person did not say.
const ASKED: &str = "asked";

pub(super) fn asked(draft: &mut Draft<'_>, ask: Ask, who: &Who) -> Result<(), Rejection> {
    match ask {
        Ask::Pause => pause(draft, who),
        Ask::Resume(how) => resume(draft, how, who),
        Ask::Abort => abort(draft, who),
        Ask::Retry { step } => retry(draft, step, who),
        Ask::Skip { step, output } => skip(draft, step, output, who),
        Ask::Edit { step, output } => edit(draft, step, output, who),
        Ask::Signal { name, payload } => signal(draft, &name, payload, who),
        Ask::Resolve { id, choice } => resolve(draft, (id, choice), who),
    }
}

/// Attempts under way go on and their results are kept; nothing is started.
fn pause(draft: &mut Draft<'_>, who: &Who) -> Result<(), Rejection> {
    match draft.state.status {
        ThreadStatus::Queued | ThreadStatus::Running => {
            let Who { by, reason } = who.clone();
            draft.emit(EventBody::WorkflowPaused(WorkflowPaused { by, reason }));
            Ok(())
        }
        status @ (ThreadStatus::Paused
        | ThreadStatus::Compensating
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
    let again = how.from_step.map(|step| draft.state.plan.after(step)).unwrap_or_default();
    for &step in &again {
        // Its result may be a moment away; two attempts of one step never run side by side.
        refuse_if(draft, step, |status| status == StepStatus::Running)?;
    }
    let skip: BTreeSet<usize> = how.skip.into_iter().collect();
    for &step in skip.difference(&again) {
        refuse_settled(draft, step)?;
    }
    let plan = Arc::clone(&draft.state.plan);
    let ends: BTreeSet<usize> = again.union(&skip).copied().collect();
    close(draft, "resume", who, |one| {
        one.kind != InterventionKind::Approval || concerns(&plan, one, &ends)
    });
    let Who { by, reason } = who.clone();
    let from_step = how.from_step.and_then(|step| draft.step_id(step));
    let resumed = WorkflowResumed { by, reason, from_step, input: how.input };
    draft.emit(EventBody::WorkflowResumed(resumed));
    for step in skip {
        emit_skip(draft, step, None, who);
    }
    advance(draft);
    Ok(())
}

fn abort(draft: &mut Draft<'_>, who: &Who) -> Result<(), Rejection> {
    if draft.state.status.is_terminal() {
        return Err(Rejection::WrongState(draft.state.status));
    }
    close(draft, "abort", who, |_| true);
    let Who { by, reason } = who.clone();
    draft.emit(EventBody::WorkflowAborted(WorkflowAborted { by, reason }));
    Ok(())
}

/// Starts the attempt that a step waits for, or continues the thread that it has failed.
fn retry(draft: &mut Draft<'_>, step: usize, who: &Who) -> Result<(), Rejection> {
    match (draft.state.status, draft.status_of(step)) {
        (ThreadStatus::Running, Some(StepStatus::Retrying)) if draft.state.error.is_none() => {
            start_now(draft, step, who);
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

/// Ends a step without running it; an attempt under way is cancelled.
fn skip(
    draft: &mut Draft<'_>,
    step: usize,
    output: Option<Json>,
    who: &Who,
) -> Result<(), Rejection> {
    refuse_settled(draft, step)?;
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
    close(draft, "skip", who, |one| one.kind != InterventionKind::Approval);
    let Who { by, reason } = who.clone();
    let resumed = WorkflowResumed { by, reason, ..WorkflowResumed::default() };
    draft.emit(EventBody::WorkflowResumed(resumed));
    emit_skip(draft, step, output, who);
    advance(draft);
}

fn edit(draft: &mut Draft<'_>, step: usize, output: Json, who: &Who) -> Result<(), Rejection> {
    if draft.state.status != ThreadStatus::Paused {
        return Err(Rejection::WrongState(draft.state.status));
    }
    refuse_if(draft, step, |status| status != StepStatus::Completed)?;
    let Who { by, reason } = who.clone();
    draft.emit_on(step, EventBody::StepEdited, StepEdited { output, by, reason });
    Ok(())
}

fn resolve(
    draft: &mut Draft<'_>,
    (id, choice): (String, String),
    who: &Who,
) -> Result<(), Rejection> {
    let found = draft.state.interventions.iter().find(|one| one.opened.id == id);
    let found = found.ok_or(Rejection::NoIntervention)?;
    if let Some((decided, _)) = &found.resolved {
        let (choice, by) = (decided.choice.clone(), decided.by.clone());
        return Err(Rejection::Resolved { choice, by });
    }
    if !found.opened.choices.contains(&choice) {
        return Err(Rejection::NoSuchChoice(found.opened.choices.clone()));
    }
    let (kind, steps) = (found.opened.kind, found.opened.steps.clone());
    let Who { by, reason } = who.clone();
    let decided = InterventionResolved { id, choice, by, comment: reason };
    match (kind, decided.choice.as_str()) {
        (InterventionKind::Approval, _) => {
            let step = steps.iter().find_map(|id| draft.state.plan.position(id.as_str()));
            let step = step.ok_or(Rejection::NoIntervention)?;
            draft.emit(EventBody::InterventionResolved(decided.clone()));
            wait::decided(draft, step, &decided);
            settle_dependents(draft, step);
            Ok(())
        }
        (InterventionKind::Poison | InterventionKind::Failure, "abort") => {
            draft.emit(EventBody::InterventionResolved(decided));
            abort(draft, who)
        }
        (InterventionKind::Poison | InterventionKind::Failure, "skip") => {
            let skip = steps.iter().filter_map(|id| draft.state.plan.position(id.as_str()));
            let skip = skip.collect();
            draft.emit(EventBody::InterventionResolved(decided));
            resume(draft, Resume { skip, ..Resume::default() }, who)
        }
        (InterventionKind::Poison | InterventionKind::Failure, _) => {
            draft.emit(EventBody::InterventionResolved(decided));
            resume(draft, Resume::default(), who)
        }
    }
}

/// Takes a signal: whoever waits for it goes on, else it is kept.
fn signal(draft: &mut Draft<'_>, name: &str, payload: Json, who: &Who) -> Result<(), Rejection> {
    if draft.state.status.is_terminal() {
        return Err(Rejection::WrongState(draft.state.status));
    }
    if draft.state.signals.len() >= MAX_SIGNALS {
        return Err(Rejection::TooManySignals);
    }
    let Who { by, reason } = who.clone();
    let received = SignalReceived { name: name.to_owned(), payload, by, reason };
    draft.emit(EventBody::SignalReceived(received));
    for step in deliver(draft, name) {
        settle_dependents(draft, step);
    }
    Ok(())
}

/// What a thread that fails was waiting for is not decided any more.
pub(in crate::machine) fn withdraw(draft: &mut Draft<'_>) {
    let who = Who { by: POLICY.to_owned(), reason: Some("the thread has failed".to_owned()) };
    close(draft, "withdrawn", &who, |_| true);
}

/// What somebody does to a thread answers what it was waiting for.
fn close(
    draft: &mut Draft<'_>,
    choice: &str,
    who: &Who,
    concerned: impl Fn(&InterventionOpened) -> bool,
) {
    let open = draft.state.open_interventions().filter(|one| concerned(&one.opened));
    let open: Vec<String> = open.map(|one| one.opened.id.clone()).collect();
    for id in open {
        draft.emit(EventBody::InterventionResolved(InterventionResolved {
            id,
            choice: choice.to_owned(),
            by: who.by.clone(),
            comment: who.reason.clone(),
        }));
    }
}

/// Nobody has to decide any more what is asked about these steps.
pub(super) fn close_about(draft: &mut Draft<'_>, choice: &str, who: &Who, steps: &BTreeSet<usize>) {
    let plan = Arc::clone(&draft.state.plan);
    close(draft, choice, who, |one| concerns(&plan, one, steps));
}

/// Whether an intervention is about one of these steps.
fn concerns(plan: &Plan, one: &InterventionOpened, steps: &BTreeSet<usize>) -> bool {
    let mut positions = one.steps.iter().filter_map(|id| plan.position(id.as_str()));
    positions.any(|step| steps.contains(&step))
}

fn emit_skip(draft: &mut Draft<'_>, step: usize, output: Option<Json>, who: &Who) {
    let plan = Arc::clone(&draft.state.plan);
    close(draft, "skip", who, |one| concerns(&plan, one, &BTreeSet::from([step])));
    let reason = who.reason.clone().unwrap_or_else(|| ASKED.to_owned());
    let data = StepSkipped { reason, by: Some(who.by.clone()), output };
    draft.emit_on(step, EventBody::StepSkipped, data);
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
