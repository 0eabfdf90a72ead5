//! `POST /threads/{threadId}/resume`: sets a failed, aborted or paused thread going again.

use axum::extract::State;
use axum::response::Response;

use super::control::Change;
use super::invoke::answer;
use crate::api::Api;
use crate::api::extract::{Body, FromBody, ThreadPath};
use crate::api::problem::Problem;
use crate::contract::{InvokeAnswer, ResumeRequest};

impl FromBody for ResumeRequest {
    const OPTIONAL: bool = true;
}

/// Continue a failed, aborted or paused thread
///
/// Completed steps never run again, unless `fromStep` says so: that step and all that comes after
/// it then stand before their first attempt, with the same idempotency keys.
#[utoipa::path(
    post, path = "/threads/{threadId}/resume", operation_id = "resumeThread", tag = "control",
    security(("bearer" = ["own"])),
    params(
        ("threadId" = String, Path, description = "The thread"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` the client acts on; 412 if the thread has changed since"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes repeats one call"),
    ),
    request_body(content = Option<ResumeRequest>, description = "May be left out"),
    responses(
        (status = 202, description = "The thread goes on", body = InvokeAnswer),
        (status = 200, description = "Nothing had to be changed", body = InvokeAnswer),
    )
)]
pub(in crate::api) async fn resume(
    State(api): State<Api>,
    ThreadPath(thread): ThreadPath,
    Change(control): Change,
    Body(request): Body<ResumeRequest>,
) -> Result<Response, Problem> {
    Ok(answer(&api.handle.resume(&thread, request, control).await?))
}
