//! `POST /threads/{threadId}/pause`: starts nothing more of a thread until it is resumed.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::control::{Change, changed};
use crate::api::Api;
use crate::api::extract::{Body, ThreadPath};
use crate::api::problem::Problem;
use crate::contract::{InvokeAnswer, ReasonRequest};

/// Pause a thread
///
/// Attempts that are under way end by themselves, and their results are kept; nothing is started
/// until the thread is resumed.
#[utoipa::path(
    post, path = "/threads/{threadId}/pause", operation_id = "pauseThread", tag = "control",
    security(("bearer" = ["own"])),
    params(
        ("threadId" = String, Path, description = "The thread"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` the client acts on; 412 if the thread has changed since"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes repeats one call"),
    ),
    request_body(content = Option<ReasonRequest>, description = "May be left out"),
    responses((status = 200, description = "The thread is paused", body = InvokeAnswer))
)]
pub(in crate::api) async fn pause(
    State(api): State<Api>,
    ThreadPath(thread): ThreadPath,
    Change(control): Change,
    Body(request): Body<ReasonRequest>,
) -> Result<Response, Problem> {
    let invoked = api.handle.pause(&thread, request, control).await?;
    Ok(changed(&invoked, StatusCode::OK))
}
