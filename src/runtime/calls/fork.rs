//! Forks: a new thread that begins with the history of another, up to one of its events.
//!
//! The other thread is only read; nothing is ever written to its journal. The fork gets all of its
//! history in one start, under its own id, and is then claimed like any waiting thread: no replica
//! was lost, so this is no recovery.

mod history;

use std::sync::Arc;

use self::history::{Begun, History};
use super::existing;
use super::invoke::{DELETED_RETRY, Made, enqueue, generated, has_room, other_start};
use super::patience::persistently;
use super::request_hash::hash;
use super::workflows::check_input;
use crate::contract::{ForkRequest, Invoked};
use crate::definition::Plan;
use crate::machine::{Actor, DecisionContext, Fork, ForkRejection, Rejection, fork as decide_fork};
use crate::model::{
    Fault, Faults, ForkedFrom, Json, Namespace, Pointer, StepId, ThreadId, ThreadStatus,
};
use crate::observe::Overloaded;
use crate::runtime::core::Core;
use crate::runtime::settings::{RETRY_AFTER, STORE_PATIENCE};
use crate::runtime::types::{Control, RuntimeError};
use crate::store::{IdempotencyKey, ThreadRow};

/// Makes the fork, or answers with the one that the same request has made already.
pub(in crate::runtime) async fn fork(
    core: &Arc<Core>,
    origin: &ThreadId,
    mut how: ForkRequest,
    control: Control,
) -> Result<Invoked, RuntimeError> {
    let mut control = control.because(how.reason.take());
    how.thread_id = how.thread_id.map(|id| id.beside(origin));
    let key = control.idempotency_key.take();
    control.idempotency_key = key.map(|key| IdempotencyKey::scoped(&origin.namespace(), &key));
    let request = request_hash(origin, &how);
    if let Some(made) = made_before(core, &how, &control, &request).await? {
        return Ok(made);
    }
    let place = core.forks.take_within(&origin.namespace(), STORE_PATIENCE).await;
    let _place = place.ok_or(Overloaded)?;
    make(core, origin, (how, &request), control).await
}

/// Returns the hash that tells a repeat from another request.
fn request_hash(origin: &ThreadId, how: &ForkRequest) -> String {
    let seq = how.at_seq.to_string();
    let input = how.input.as_ref().map_or("", Json::as_str);
    let mut parts = vec!["fork", origin.as_str(), &seq, input];
    let mut edits: Vec<_> = how.edits.iter().collect();
    edits.sort_by(|one, other| one.0.cmp(&other.0));
    parts.extend(edits.iter().flat_map(|(step, output)| [step.as_str(), output.as_str()]));
    hash(&parts)
}

/// Answers a request that was made before, found by its thread id or by its key.
async fn made_before(
    core: &Arc<Core>,
    how: &ForkRequest,
    control: &Control,
    request: &String,
) -> Result<Option<Invoked>, RuntimeError> {
    if let Some(thread) = &how.thread_id {
        let row = persistently(core, || async { Ok(core.store().thread(thread).await?) }).await?;
        let Some(row) = row else { return Ok(None) };
        return same(core, row, request).await.map(Some);
    }
    let Some(key) = &control.idempotency_key else { return Ok(None) };
    let known =
        persistently(core, || async { Ok(core.store().by_idempotency_key(key).await?) }).await?;
    match known {
        None => Ok(None),
        Some(_) => existing::replay(core, key, Some(request)).await.map(Some),
    }
}

/// Reports a thread, if it was made by the same request.
async fn same(core: &Core, row: ThreadRow, request: &str) -> Result<Invoked, RuntimeError> {
    if row.request_hash != request {
        return Err(RuntimeError::ThreadConflict);
    }
    Ok(Invoked {
        estimated_duration: core.estimate(&row.thread_id.namespace(), &row.workflow).await,
        thread_id: row.thread_id,
        status: row.summary.status,
        created: false,
        resumed: false,
        replayed: false,
        last_seq: row.last_seq,
    })
}

async fn make(
    core: &Arc<Core>,
    origin: &ThreadId,
    (how, request): (ForkRequest, &String),
    control: Control,
) -> Result<Invoked, RuntimeError> {
    let row = persistently(core, || async { Ok(core.store().thread(origin).await?) }).await?;
    let row = row.ok_or(RuntimeError::ThreadNotFound)?;
    let last_seq = row.last_seq;
    if control.if_match.is_some_and(|seen| seen != last_seq) {
        return Err(RuntimeError::PreconditionFailed { last_seq });
    }
    if how.at_seq < 1 || how.at_seq > last_seq {
        return Err(RuntimeError::SeqOutOfRange { last_seq });
    }
    // Fails if the fork may not even be queued; it is not driven from here.
    has_room(core, &origin.namespace())?;
    let chosen = how.thread_id.clone();
    let thread = match &chosen {
        Some(chosen) => chosen.clone(),
        None => generated(core, &origin.namespace())?,
    };
    let Some(place) = core.driven.begin_start(&thread) else {
        other_start(core, &thread).await?;
        return exists(core, &thread, request).await;
    };
    let context = core.context();
    // Times in a journal never go back, even if the clock has.
    let context = DecisionContext { now: context.now.max(row.updated_at), ..context };
    let Control { by, on_behalf_of, role, reason, idempotency_key, if_match: _ } = control;
    let from = ForkedFrom {
        thread_id: origin.clone(),
        seq: how.at_seq,
        at: context.now,
        by: by.clone(),
        reason: reason.clone(),
    };
    let mut history = History::read(core, &thread, from).await?;
    let actor = Actor { by, reason, on_behalf_of, role };
    let how = checked(core, (&origin.namespace(), &history.state.plan), how, actor).await?;
    let decide = || decide_fork(&mut history.state, how, context);
    let decided = core.aside.try_run(&origin.namespace(), decide).await;
    let not_now = |_refused| RuntimeError::Overloaded { retry_after: RETRY_AFTER };
    let events = decided.map_err(not_now)?.map_err(refused)?;
    history.add_own(core, &events);
    let key = idempotency_key.filter(|_| chosen.is_none());
    let plan = Arc::clone(&history.state.plan);
    let status = history.state.status;
    let workflow_version = row.workflow_version;
    let begun = Begun { origin, workflow_version, request, key: key.clone() };
    let write = history.into_start(core, begun)?;
    let made = enqueue(core, write, &plan).await?;
    drop(place);
    match made {
        Made::Started { last_seq, .. } => Ok(Invoked {
            thread_id: thread,
            status,
            created: true,
            resumed: false,
            replayed: false,
            estimated_duration: core.estimate(&origin.namespace(), &plan.name).await,
            last_seq,
        }),
        Made::ThreadExists => exists(core, &thread, request).await,
        Made::KeyExists => existing::replay(core, &key.unwrap_or_default(), Some(request)).await,
    }
}

/// Answers when somebody else made a thread of that id meanwhile.
async fn exists(core: &Core, thread: &ThreadId, request: &str) -> Result<Invoked, RuntimeError> {
    let row = persistently(core, || async { Ok(core.store().thread(thread).await?) }).await?;
    // A thread that was deleted takes its id until all of it is removed.
    let row = row.ok_or(RuntimeError::ThreadDeleting { retry_after: DELETED_RETRY })?;
    same(core, row, request).await
}

/// Checks the changes of a fork against the plan, its schema and the limits.
async fn checked(
    core: &Core,
    (namespace, plan): (&Namespace, &Plan),
    how: ForkRequest,
    actor: Actor,
) -> Result<Fork, RuntimeError> {
    if let Some(input) = &how.input {
        check_input(core, namespace, (plan, input)).await?;
    }
    let limit = core.parts.settings.max_event;
    let too_large = how.edits.iter().filter(|(_, output)| output.as_str().len() > limit);
    let mut faults = Faults::default();
    faults.extend(too_large.map(|(step, output)| {
        let size = output.as_str().len();
        fault(step, format!("the output has {size} bytes; at most {limit} are kept"))
    }));
    if !faults.is_empty() {
        return Err(RuntimeError::Invalid(faults.into_vec()));
    }
    let place = |(step, output): (StepId, Json)| match plan.find(step.as_str()) {
        Some(at) => Ok((at, output)),
        None => Err(RuntimeError::Refused { rejection: Rejection::NoStep(step), action: "edited" }),
    };
    let mut edits = how.edits.into_iter().map(place).collect::<Result<Vec<_>, _>>()?;
    edits.sort_by_key(|(at, _)| *at);
    Ok(Fork { edits, input: how.input, actor })
}

fn fault(step: &StepId, detail: String) -> Fault {
    Fault::new(&Pointer::root().key("edits").key(step.as_str()), detail)
}

fn refused(rejection: ForkRejection) -> RuntimeError {
    let (rejection, action) = match rejection {
        ForkRejection::WrongState(status @ ThreadStatus::Completed) => {
            (Rejection::WrongState(status), "forked at its end without edits or an input")
        }
        ForkRejection::WrongState(status) => (Rejection::WrongState(status), "forked there"),
        ForkRejection::NotCompleted(step, status) => (Rejection::WrongStep(step, status), "edited"),
        ForkRejection::NotAnApprover(why) => (Rejection::NotAnApprover(why), "forked"),
        ForkRejection::Undone(again, edited) => {
            let detail =
                format!("{again}, which it depends on, would run again: edit that as well");
            return RuntimeError::Invalid(vec![fault(&edited, detail)]);
        }
    };
    RuntimeError::Refused { rejection, action }
}
