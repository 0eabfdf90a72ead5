//! `POST /threads/{threadId}/steps/{stepId}/…`: retries, skips or edits one step.

use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;

use super::control::{Change, changed};
use crate::api::Api;
use crate::api::extract::{Body, FromBody, ThreadPath, path_parameter};
use crate::api::problem::{Problem, STEP_NOT_FOUND};
use crate::contract::{EditRequest, InvokeAnswer, ReasonRequest, SkipRequest};
use crate::model::StepId;

/// The step that the path names.
pub(in crate::api) struct StepPath(StepId);

impl FromRequestParts<Api> for StepPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        let text = path_parameter(parts, "stepId").await?;
        // A text that is not an id names no step.
        let id = StepId::parse(&text);
        id.map(Self)
            .map_err(|_| Problem::new(&STEP_NOT_FOUND, format!("there is no step {text:?}")))
    }
}

impl FromBody for SkipRequest {
    const OPTIONAL: bool = true;
}

impl FromBody for EditRequest {}

/// Run a step's next attempt now
///
/// A step that waits for its retry is tried at once; one that has failed its thread is tried again,
/// and the thread goes on.
#[utoipa::path(
    post, path = "/threads/{threadId}/steps/{stepId}/retry", operation_id = "retryStep", tag = "control",
    security(("bearer" = ["own"])),
    params(
        ("threadId" = String, Path, description = "The thread"),
        ("stepId" = String, Path, description = "The step"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` the client acts on; 412 if the thread has changed since"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes repeats one call"),
    ),
    request_body(content = Option<ReasonRequest>, description = "May be left out"),
    responses((status = 202, description = "The step runs again", body = InvokeAnswer))
)]
pub(in crate::api) async fn retry(
    State(api): State<Api>,
    ThreadPath(thread): ThreadPath,
    StepPath(step): StepPath,
    Change(control): Change,
    Body(request): Body<ReasonRequest>,
) -> Result<Response, Problem> {
    let invoked = api.handle.retry_step(&thread, step, request, control).await?;
    Ok(changed(&invoked, StatusCode::ACCEPTED))
}

/// Do without a step
///
/// It ends `skipped`, and what depends on it runs and sees the output given here, or `null`. An
/// attempt under way is cancelled. A thread that the step has failed goes on.
#[utoipa::path(
    post, path = "/threads/{threadId}/steps/{stepId}/skip", operation_id = "skipStep", tag = "control",
    security(("bearer" = ["own"])),
    params(
        ("threadId" = String, Path, description = "The thread"),
        ("stepId" = String, Path, description = "The step"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` the client acts on; 412 if the thread has changed since"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes repeats one call"),
    ),
    request_body(content = Option<SkipRequest>, description = "May be left out"),
    responses((status = 200, description = "The step is skipped", body = InvokeAnswer))
)]
pub(in crate::api) async fn skip(
    State(api): State<Api>,
    ThreadPath(thread): ThreadPath,
    StepPath(step): StepPath,
    Change(control): Change,
    Body(request): Body<SkipRequest>,
) -> Result<Response, Problem> {
    let invoked = api.handle.skip_step(&thread, step, request, control).await?;
    Ok(changed(&invoked, StatusCode::OK))
}

/// Edit the output of a completed step
///
/// Only while the thread is paused. The journal keeps both: the completion and the edit, with who
/// and why. Steps that have run already are not run again.
#[utoipa::path(
    post, path = "/threads/{threadId}/steps/{stepId}/output", operation_id = "editStepOutput", tag = "control",
    security(("bearer" = ["own"])),
    params(
        ("threadId" = String, Path, description = "The thread"),
        ("stepId" = String, Path, description = "The step"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` the client acts on; 412 if the thread has changed since"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes repeats one call"),
    ),
    request_body(content = EditRequest),
    responses((status = 200, description = "The output is edited", body = InvokeAnswer))
)]
pub(in crate::api) async fn edit(
    State(api): State<Api>,
    ThreadPath(thread): ThreadPath,
    StepPath(step): StepPath,
    Change(control): Change,
    Body(request): Body<EditRequest>,
) -> Result<Response, Problem> {
    let invoked = api.handle.edit_step(&thread, step, request, control).await?;
    Ok(changed(&invoked, StatusCode::OK))
}
