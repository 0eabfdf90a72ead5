//! Control calls: a durable message to the thread, and the answer of its driver.
//!
//! The message is a row before anything else happens, so that the call means the same on every
//! replica and survives a takeover; the thread's owner takes it in the same append that acts on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::query::{patiently, persistently};
use super::workflows::check_input;
use crate::contract::{
    AbortRequest, EditRequest, Invoked, ReasonRequest, ResolveRequest, ResumeRequest, SkipRequest,
};
use crate::model::{Backoff, Json, Namespace, Seq, StepId, ThreadId, millis};
use crate::runtime::core::Core;
use crate::runtime::drive::inbox::{Answer, InboxMessage, InboxRequest};
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
    ask(core, thread, (InboxRequest::Pause, "paused"), control.because(request.reason)).await
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
    let plain = from_step.is_none() && skip.is_empty() && input.is_none();
    let asked = if plain {
        InboxRequest::Resume
    } else {
        InboxRequest::ResumeWith { from_step, skip, input }
    };
    let invoked = ask(core, thread, (asked, "resumed"), control.because(reason)).await?;
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
    let grace_ms = millis(grace);
    let asked = InboxRequest::AbortWith { grace_ms, compensate };
    let action = if compensate { "compensated" } else { "aborted" };
    ask(core, thread, (asked, action), control.because(reason)).await
}

/// Starts the next attempt of a step now.
pub(in crate::runtime) async fn retry_step(
    core: &Arc<Core>,
    thread: &ThreadId,
    step: StepId,
    (request, control): (ReasonRequest, Control),
) -> Result<Invoked, RuntimeError> {
    let asked = (InboxRequest::Retry { step }, "retried");
    ask(core, thread, asked, control.because(request.reason)).await
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
    let asked = (InboxRequest::Skip { step, output }, "skipped");
    ask(core, thread, asked, control.because(reason)).await
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
    let asked = (InboxRequest::Edit { step, output }, "edited");
    ask(core, thread, asked, control.because(reason)).await
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
    ask(core, thread, (InboxRequest::Signal { name, payload }, "signalled"), control).await
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
    let thread = thread.ok_or(RuntimeError::InterventionNotFound)?;
    let asked =
        ask(core, &thread, (InboxRequest::Resolve { id, choice, digest }, "resolved"), control)
            .await;
    match asked {
        Err(RuntimeError::ThreadNotFound) => Err(RuntimeError::InterventionNotFound),
        answer => answer,
    }
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
        Err(RuntimeError::WrongState { status: row.summary.status, action: "deleted" })
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
    (ask, action): (InboxRequest, &'static str),
    control: Control,
) -> Result<Invoked, RuntimeError> {
    let Control { by, on_behalf_of, role, reason, if_match, idempotency_key } = control;
    let letter = InboxMessage { ask, by, reason, if_match, on_behalf_of, role };
    let key = match idempotency_key {
        Some(key) => format!("{action}:{key}"),
        None => core.parts.entropy.uuid(core.parts.clock.now()).to_string(),
    };
    let body = Json::of(&letter).map_err(|_| RuntimeError::Internal)?;
    let message = Message { key: key.clone(), body };
    let tries = AtomicUsize::new(0);
    let posted = persistently(core, || async {
        tries.fetch_add(1, Ordering::Relaxed);
        Ok(core.store().post(thread, &message).await?)
    })
    .await?;
    // A second try finds the message of the first one if only its answer was lost.
    let replayed = posted == Posted::Duplicate && tries.into_inner() == 1;
    match posted {
        Posted::NoThread => return Err(RuntimeError::ThreadNotFound),
        Posted::Full if action == "signalled" => return Err(RuntimeError::TooManySignals),
        Posted::Full => return Err(RuntimeError::Overloaded { retry_after: RETRY_AFTER }),
        Posted::Stored { .. } | Posted::Duplicate => {}
    }
    if !core.poke(thread) {
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
        Answer::WrongState { status } => Err(RuntimeError::WrongState { status, action }),
        Answer::Changed { last_seq } => Err(RuntimeError::PreconditionFailed { last_seq }),
        Answer::NoStep { step } => Err(RuntimeError::StepNotFound { step }),
        Answer::WrongStep { step, status } => Err(RuntimeError::WrongStep { step, status, action }),
        Answer::NoIntervention => Err(RuntimeError::InterventionNotFound),
        Answer::Resolved { choice, by } => Err(RuntimeError::InterventionResolved { choice, by }),
        Answer::NothingToCompensate => Err(RuntimeError::NothingToCompensate),
        Answer::Compensating => Err(RuntimeError::Compensating { action }),
        Answer::OtherDigest { digest } => Err(RuntimeError::OtherDigest { digest }),
        Answer::TooManySignals => Err(RuntimeError::TooManySignals),
        Answer::NotAnApprover { why } => Err(RuntimeError::NotAnApprover { why }),
        Answer::NoSuchChoice { choices } => Err(RuntimeError::NoSuchChoice { choices }),
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
            RuntimeError::Unavailable { retry_after: RETRY_AFTER }
        })
    })
}
