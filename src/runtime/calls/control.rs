//! Control calls: a durable message to the thread, and the answer of its driver.
//!
//! The message is a row before anything else happens, so that the call means the same on every
//! replica and survives a takeover; the thread's owner takes it in the same append that acts on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::patience::{patiently, persistently, unavailable};
use super::workflows::check_input;
use crate::contract::{
    AbortRequest, EditRequest, Invoked, ReasonRequest, ResolveRequest, ResumeRequest, SkipRequest,
};
use crate::machine::{Abort, Actor, Rejection, Request, Resume};
use crate::model::{Backoff, Json, Namespace, Seq, StepId, ThreadId};
use crate::runtime::core::Core;
use crate::runtime::drive::inbox::{Answer, MessageBody};
use crate::runtime::drive::load;
use crate::runtime::settings::{RETRY_AFTER, STORE_PATIENCE};
use crate::runtime::types::{Control, RuntimeError, Signal};
use crate::store::{Message, Posted};

/// The shortest and the longest pause between two looks for the answer.
const LOOKS: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

/// Pauses a thread: running attempts may end, and nothing more is started.
pub(in crate::runtime) async fn pause(
    core: &Arc<Core>,
    thread: &ThreadId,
    request: ReasonRequest,
    control: Control,
) -> Result<Invoked, RuntimeError> {
    ask(core, thread, Request::Pause, control.because(request.reason)).await
}

/// Resumes a thread that has ended without completing, or is paused.
pub(in crate::runtime) async fn resume(
    core: &Arc<Core>,
    thread: &ThreadId,
    request: ResumeRequest,
    control: Control,
) -> Result<Invoked, RuntimeError> {
    let ResumeRequest { from_step, skip, input, reason } = request;
    if let Some(input) = &input {
        let plan = persistently(core, || async {
            let row = core.store().thread(thread).await?.ok_or(RuntimeError::ThreadNotFound)?;
            Ok(load::plan(core, &thread.namespace(), &row.definition).await?)
        });
        check_input(core, &thread.namespace(), (&*plan.await?, input)).await?;
    }
    let request = Request::Resume(Resume { from_step, skip, input });
    let invoked = ask(core, thread, request, control.because(reason)).await?;
    Ok(Invoked { resumed: true, ..invoked })
}

/// Aborts a thread for good.
pub(in crate::runtime) async fn abort(
    core: &Arc<Core>,
    thread: &ThreadId,
    request: AbortRequest,
    control: Control,
) -> Result<Invoked, RuntimeError> {
    let AbortRequest { grace, compensate, reason } = request;
    let request = Request::Abort(Abort { grace, compensate });
    ask(core, thread, request, control.because(reason)).await
}

/// Starts the next attempt of a step now.
pub(in crate::runtime) async fn retry_step(
    core: &Arc<Core>,
    thread: &ThreadId,
    step: StepId,
    (request, control): (ReasonRequest, Control),
) -> Result<Invoked, RuntimeError> {
    ask(core, thread, Request::Retry { step }, control.because(request.reason)).await
}

/// Skips a step.
pub(in crate::runtime) async fn skip_step(
    core: &Arc<Core>,
    thread: &ThreadId,
    step: StepId,
    (request, control): (SkipRequest, Control),
) -> Result<Invoked, RuntimeError> {
    let SkipRequest { output, reason } = request;
    output.as_ref().map_or(Ok(()), |output| fits(core, output))?;
    ask(core, thread, Request::Skip { step, output }, control.because(reason)).await
}

/// Replaces the output of a step.
pub(in crate::runtime) async fn edit_step(
    core: &Arc<Core>,
    thread: &ThreadId,
    step: StepId,
    (request, control): (EditRequest, Control),
) -> Result<Invoked, RuntimeError> {
    let EditRequest { output, reason } = request;
    fits(core, &output)?;
    ask(core, thread, Request::Edit { step, output }, control.because(reason)).await
}

/// Sends a thread a signal; with an idempotency key, a signal of that name is sent once.
pub(in crate::runtime) async fn signal(
    core: &Arc<Core>,
    thread: &ThreadId,
    signal: Signal,
    control: Control,
) -> Result<Invoked, RuntimeError> {
    let Signal { name, payload } = signal;
    fits(core, &payload)?;
    let idempotency_key = control.idempotency_key.map(|key| format!("{name}:{key}"));
    let control = Control { idempotency_key, ..control };
    ask(core, thread, Request::Signal { name, payload }, control).await
}

/// Decides an intervention; its id names the thread.
pub(in crate::runtime) async fn resolve(
    core: &Arc<Core>,
    (namespace, id): (&Namespace, String),
    request: ResolveRequest,
    control: Control,
) -> Result<Invoked, RuntimeError> {
    let ResolveRequest { choice, digest, comment, by } = request;
    let mut control = control.because(comment);
    if let Some(person) = by.filter(|person| !person.is_empty()) {
        match control.role {
            // A body never proves an identity.
            Some(_) => control.on_behalf_of = Some(person),
            None => control.by = person,
        }
    }
    let thread = id.rsplit_once('~').map(|(thread, _)| ThreadId::within(namespace, thread));
    let thread = thread.and_then(Result::ok);
    let thread = thread.ok_or_else(no_intervention)?;
    match ask(core, &thread, Request::Resolve { id, choice, digest }, control).await {
        Err(RuntimeError::ThreadNotFound) => Err(no_intervention()),
        answer => answer,
    }
}

const fn no_intervention() -> RuntimeError {
    RuntimeError::Refused { rejection: Rejection::NoIntervention, action: "resolved" }
}

/// Deletes a thread that has ended.
pub(in crate::runtime) async fn delete(
    core: &Arc<Core>,
    thread: &ThreadId,
    if_match: Option<Seq>,
) -> Result<(), RuntimeError> {
    patiently(async {
        let row = core.store().thread(thread).await?.ok_or(RuntimeError::ThreadNotFound)?;
        if if_match.is_some_and(|seen| seen != row.last_seq) {
            return Err(RuntimeError::PreconditionFailed { last_seq: row.last_seq });
        }
        if core.store().delete(thread, if_match).await? {
            return Ok(());
        }
        let row = core.store().thread(thread).await?.ok_or(RuntimeError::ThreadNotFound)?;
        if if_match.is_some_and(|seen| seen != row.last_seq) {
            return Err(RuntimeError::PreconditionFailed { last_seq: row.last_seq });
        }
        let rejection = Rejection::WrongState(row.summary.status);
        Err(RuntimeError::Refused { rejection, action: "deleted" })
    })
    .await
}

/// Refuses a value larger than an event may be: the journal would keep it for ever.
fn fits(core: &Core, given: &Json) -> Result<(), RuntimeError> {
    let (size, limit) = (given.as_str().len(), core.parts.settings.max_event);
    if size > limit { Err(RuntimeError::TooLarge { size, limit }) } else { Ok(()) }
}

async fn ask(
    core: &Arc<Core>,
    thread: &ThreadId,
    request: Request<StepId>,
    control: Control,
) -> Result<Invoked, RuntimeError> {
    let Control { by, on_behalf_of, role, reason, if_match, idempotency_key } = control;
    let action = request.participle();
    let actor = Actor { by, reason, on_behalf_of, role };
    let body = MessageBody::Request { request, actor, if_match };
    let key = match idempotency_key {
        Some(key) => format!("{action}:{key}"),
        None => core.parts.entropy.uuid(core.parts.clock.now()).to_string(),
    };
    let body = Json::of(&body).map_err(|_| RuntimeError::Internal)?;
    let message = Message { key: key.clone(), body };
    let tries = AtomicUsize::new(0);
    let namespace = thread.namespace();
    let posted = persistently(core, || async {
        let _place = core.posts.take(&namespace).await;
        tries.fetch_add(1, Ordering::Relaxed);
        Ok(core.store().post(thread, &message).await?)
    })
    .await?;
    // A second try finds the message of the first one if only its answer was lost.
    let replayed = posted == Posted::Duplicate && tries.into_inner() == 1;
    match posted {
        Posted::NoThread => return Err(RuntimeError::ThreadNotFound),
        Posted::Full if action == "signalled" => {
            return Err(RuntimeError::Refused { rejection: Rejection::TooManySignals, action });
        }
        Posted::Full => return Err(RuntimeError::Overloaded { retry_after: RETRY_AFTER }),
        Posted::Stored { .. } | Posted::Duplicate => {}
    }
    if !core.driven.wake(thread) {
        core.nudge.notify_one();
        tell_owner(core, thread, posted);
    }
    match answered(core, thread, &key).await? {
        Answer::Done { status, last_seq } => Ok(Invoked {
            thread_id: thread.clone(),
            status,
            created: false,
            resumed: false,
            replayed,
            estimated_duration: None,
            last_seq,
        }),
        Answer::Refused(rejection) => Err(RuntimeError::Refused { rejection, action }),
        Answer::Changed { last_seq } => Err(RuntimeError::PreconditionFailed { last_seq }),
        Answer::Unreadable => Err(RuntimeError::Internal),
    }
}

/// Publishes a hint to the thread's driver, or to other replicas if nobody drives it and this one
/// is full.
fn tell_owner(core: &Core, thread: &ThreadId, posted: Posted) {
    match posted {
        Posted::Stored { owner: 0 } if core.room() > 0 => {}
        Posted::Stored { owner: 0 } => core.feed.hints.work(),
        Posted::Stored { .. } | Posted::Duplicate => core.feed.hints.mail(thread),
        Posted::NoThread | Posted::Full => {}
    }
}

/// Waits for the owner's answer. If that takes too long, the message stays durable and will be
/// acted on, and the caller may ask again with the same key.
async fn answered(core: &Core, thread: &ThreadId, key: &str) -> Result<Answer, RuntimeError> {
    // Whether the store answered the last look: if so, only a driver is missing.
    let reached = AtomicBool::new(false);
    let look = async {
        let mut looks = Backoff::new(LOOKS.0, LOOKS.1);
        loop {
            let pause = looks.advance();
            reached.store(false, Ordering::Relaxed);
            let answer = core.store().answer(thread, key).await;
            reached.store(answer.is_ok(), Ordering::Relaxed);
            match answer {
                Ok(Some(answer)) => {
                    return answer.decode::<Answer>().map_err(|_| RuntimeError::Internal);
                }
                Err(error) if !error.is_transient() => return Err(error.into()),
                // The thread may have been deleted, and the message with it.
                Ok(None)
                    if pause == LOOKS.1
                        && matches!(core.store().thread(thread).await, Ok(None)) =>
                {
                    return Err(RuntimeError::ThreadNotFound);
                }
                Ok(None) | Err(_) => tokio::time::sleep(pause).await,
            }
        }
    };
    let answer = tokio::time::timeout(STORE_PATIENCE, look).await;
    answer.unwrap_or_else(|_late| {
        Err(if reached.load(Ordering::Relaxed) {
            RuntimeError::NotTaken { retry_after: RETRY_AFTER }
        } else {
            unavailable("the store has not answered the last look at the call")
        })
    })
}
