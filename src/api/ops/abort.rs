//! `POST /threads/{threadId}/abort`: stops a thread and cancels what runs.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::control::Change;
use super::invoke::answer;
use crate::api::Api;
use crate::api::extract::{Body, FromBody, ThreadPath};
use crate::api::problem::Problem;
use crate::contract::{AbortRequest, InvokeAnswer};

impl FromBody for AbortRequest {
    const OPTIONAL: bool = true;
}

/// Stop a thread and cancel what it runs
///
/// Completed steps stay completed, unless they are to be compensated: then the thread ends `aborted`
/// once all are, and `failed` with what is left if some cannot be. On a thread that has failed or was
/// aborted, `compensate` tries what is left of it; 409 `nothing_to_compensate` if nothing is. The
/// thread can be resumed: what was undone is done again, with all that comes after it. With a `grace` the thread is paused
/// until no attempt is under way or the grace is over, and aborted then; a resume before that takes
/// the abort back.
#[utoipa::path(
    post, path = "/threads/{threadId}/abort", operation_id = "abortThread", tag = "control",
    security(("bearer" = ["own"])),
    params(
        ("threadId" = String, Path, description = "The thread"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` the client acts on; 412 if the thread has changed since"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes repeats one call"),
    ),
    request_body(content = Option<AbortRequest>, description = "May be left out"),
    responses(
        (status = 200, description = "The thread has ended", body = InvokeAnswer),
        (status = 202, description = "Attempts under way have their grace", body = InvokeAnswer),
    )
)]
pub(in crate::api) async fn abort(
    State(api): State<Api>,
    ThreadPath(thread): ThreadPath,
    Change(control): Change,
    Body(request): Body<AbortRequest>,
) -> Result<Response, Problem> {
    let invoked = api.handle.abort(&thread, request, control).await?;
    let mut response = answer(&invoked);
    let ended = invoked.status.is_terminal();
    *response.status_mut() = if ended { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok(response)
}
