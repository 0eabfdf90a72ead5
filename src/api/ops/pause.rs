//! `POST /threads/{threadId}/pause`: nothing more of a thread is started until it is resumed.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use utoipa::ToSchema;

use super::control::{Change, changed, reason};
use super::invoke::InvokeAnswer;
use crate::api::Api;
use crate::api::extract::{Body, FromBody, ThreadPath};
use crate::api::fields::Fields;
use crate::api::problem::Problem;

/// Why the thread is paused.
#[derive(Debug, ToSchema)]
#[schema(as = PauseRequest)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct PauseBody {
    /// Recorded in the journal.
    #[schema(max_length = 2048)]
    reason: Option<String>,
}

impl FromBody for PauseBody {
    const MEMBERS: &'static [&'static str] = &["reason"];
    const OPTIONAL: bool = true;

    fn read(fields: &mut Fields<'_>) -> Self {
        Self { reason: reason(fields) }
    }
}

/// Pause a thread
///
/// Attempts that are under way end by themselves, and their results are kept; nothing is started
/// until the thread is resumed.
#[utoipa::path(
    post, path = "/threads/{threadId}/pause", operation_id = "pauseThread", tag = "control",
    params(
        ("threadId" = String, Path, description = "The thread"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` the client acts on; 412 if the thread has changed since"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes repeats one call"),
    ),
    request_body(content = Option<PauseBody>, description = "May be left out"),
    responses((status = 200, description = "The thread is paused", body = InvokeAnswer))
)]
pub(in crate::api) async fn pause(
    State(api): State<Api>,
    ThreadPath(thread): ThreadPath,
    change: Change,
    Body(body): Body<PauseBody>,
) -> Result<Response, Problem> {
    let invoked = api.handle.pause(&thread, change.because(body.reason)).await?;
    Ok(changed(&invoked, StatusCode::OK))
}
