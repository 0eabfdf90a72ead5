//! Invokes that meet an existing thread: by its id, or by an idempotency key.

use std::sync::Arc;

use super::control;
use super::patience::{persistently, unavailable};
use super::query::started_by;
use super::request_hash::thread_hash;
use crate::contract::{Invoked, ResumeRequest, StoredName, WorkflowSource};
use crate::machine::Rejection;
use crate::model::{Fault, Json, Role, ThreadId, ThreadStatus};
use crate::runtime::core::Core;
use crate::runtime::drive::load;
use crate::runtime::types::{Control, Invoke, RuntimeError};
use crate::store::ThreadRow;

/// Answers an invoke that names a thread but no workflow.
pub(in crate::runtime) async fn alone(
    core: &Arc<Core>,
    invoke: &Invoke,
) -> Result<Invoked, RuntimeError> {
    let missing = || {
        let detail = "a workflow, or the name of a stored one, is required";
        RuntimeError::Invalid(vec![Fault {
            pointer: "/workflow".to_owned(),
            detail: detail.to_owned(),
        }])
    };
    let thread = invoke.request.thread_id.as_ref().ok_or_else(missing)?;
    match existing(core, thread, invoke, None).await {
        Err(RuntimeError::ThreadNotFound) => Err(missing()),
        answer => answer,
    }
}

/// Reports the thread of that id, and resumes it if it has ended without completing.
pub(in crate::runtime) async fn existing(
    core: &Arc<Core>,
    thread: &ThreadId,
    invoke: &Invoke,
    request_hash: Option<&str>,
) -> Result<Invoked, RuntimeError> {
    let row = persistently(core, || async { Ok(core.store().thread(thread).await?) }).await?;
    let row = row.ok_or(RuntimeError::ThreadNotFound)?;
    let same = match (request_hash, &invoke.request.input) {
        (Some(asked), _) if row.request_hash == asked => true,
        // The workflow may have a newer version by now; the thread goes on with the one it began
        // with.
        (Some(_), input) if names_its_workflow(invoke, &row) => {
            let input = input.clone().unwrap_or_else(Json::null);
            row.request_hash == own_hash(core, &row, &input).await?
        }
        (Some(_), _) => false,
        (None, Some(input)) => row.request_hash == own_hash(core, &row, input).await?,
        (None, None) => true,
    };
    if !same {
        return Err(RuntimeError::ThreadConflict);
    }
    let answer = Invoked {
        thread_id: thread.clone(),
        status: row.summary.status,
        created: false,
        resumed: false,
        replayed: false,
        estimated_duration: core.estimate(&thread.namespace(), &row.workflow).await,
        last_seq: row.last_seq,
    };
    match row.summary.status {
        ThreadStatus::Queued
        | ThreadStatus::Running
        | ThreadStatus::Compensating
        | ThreadStatus::Completed => Ok(answer),
        ThreadStatus::Failed | ThreadStatus::Aborted | ThreadStatus::Paused => {
            let controls_all = invoke.role.is_none_or(|role| role >= Role::Operator);
            if !controls_all && started_by(core, thread).await? != invoke.by {
                return Err(RuntimeError::NotStarter);
            }
            let control = Control {
                by: invoke.by.clone(),
                on_behalf_of: None,
                role: invoke.role,
                reason: None,
                if_match: Some(row.last_seq),
                idempotency_key: None,
            };
            let reason = Some("invoked again".to_owned());
            let request = ResumeRequest { reason, ..ResumeRequest::default() };
            match control::resume(core, thread, request, control).await {
                Ok(resumed) => Ok(resumed),
                // Somebody else resumed it first: report its state now.
                Err(
                    RuntimeError::PreconditionFailed { .. }
                    | RuntimeError::Refused { rejection: Rejection::WrongState(_), .. },
                ) => {
                    let row =
                        persistently(core, || async { Ok(core.store().thread(thread).await?) })
                            .await?;
                    let row = row.ok_or(RuntimeError::ThreadNotFound)?;
                    Ok(Invoked { status: row.summary.status, last_seq: row.last_seq, ..answer })
                }
                Err(error) => Err(error),
            }
        }
    }
}

/// Returns whether the invoke names the stored workflow of this thread, without a version.
fn names_its_workflow(invoke: &Invoke, row: &ThreadRow) -> bool {
    let named = matches!(
        &invoke.request.workflow,
        Some(WorkflowSource::Stored(StoredName { name, version: None })) if *name == row.workflow
    );
    named && row.workflow_version.is_some()
}

/// Returns the hash of an invoke of this thread's own workflow with an input.
async fn own_hash(core: &Core, row: &ThreadRow, input: &Json) -> Result<String, RuntimeError> {
    let namespace = row.thread_id.namespace();
    let plan =
        persistently(core, || async { Ok(load::plan(core, &namespace, &row.definition).await?) });
    let plan = plan.await?;
    Ok(thread_hash(&plan.meaning, input))
}

/// Answers a repeat of an idempotency key (in its stored form) with the thread that the first
/// request made.
pub(in crate::runtime) async fn replay(
    core: &Arc<Core>,
    key: &str,
    key_hash: Option<&String>,
) -> Result<Invoked, RuntimeError> {
    let known =
        persistently(core, || async { Ok(core.store().by_idempotency_key(key).await?) }).await?;
    // The thread was deleted in between: the client may try again.
    let (thread, hash) =
        known.ok_or_else(|| unavailable("the thread of this key was deleted meanwhile"))?;
    if key_hash != Some(&hash) {
        return Err(RuntimeError::IdempotencyMismatch);
    }
    let row = persistently(core, || async { Ok(core.store().thread(&thread).await?) }).await?;
    let row = row.ok_or(RuntimeError::ThreadNotFound)?;
    Ok(Invoked {
        estimated_duration: core.estimate(&thread.namespace(), &row.workflow).await,
        thread_id: thread,
        status: row.summary.status,
        created: false,
        resumed: false,
        replayed: true,
        last_seq: row.last_seq,
    })
}
