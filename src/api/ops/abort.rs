//! `POST /threads/{threadId}/abort`: stops a thread and cancels what runs.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use utoipa::ToSchema;

use super::control::{Change, reason};
use super::invoke::{InvokeAnswer, answer};
use crate::api::Api;
use crate::api::extract::{Body, FromBody, ThreadPath};
use crate::api::fields::Fields;
use crate::api::problem::Problem;

/// Why the thread is stopped.
#[derive(Debug, ToSchema)]
#[schema(as = AbortRequest)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct AbortBody {
    /// Recorded in the journal.
    #[schema(max_length = 2048)]
    reason: Option<String>,
    /// Whether to undo completed steps; this version takes `false` alone.
    #[expect(dead_code, reason = "checked while it is read")]
    compensate: Option<bool>,
}

impl FromBody for AbortBody {
    const MEMBERS: &'static [&'static str] = &["reason", "compensate"];
    const OPTIONAL: bool = true;

    fn read(fields: &mut Fields<'_>) -> Self {
        let compensate = fields.boolean("compensate");
        if compensate == Some(true) {
            fields.fault("compensate", "this version does not undo steps; only false is taken");
        }
        Self { reason: reason(fields), compensate }
    }
}

/// Stop a thread and cancel what it runs
///
/// Completed steps stay completed; the thread can be resumed.
#[utoipa::path(
    post, path = "/threads/{threadId}/abort", operation_id = "abortThread", tag = "control",
    params(
        ("threadId" = String, Path, description = "The thread"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` the client acts on; 412 if the thread has changed since"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes repeats one call"),
    ),
    request_body(content = Option<AbortBody>, description = "May be left out"),
    responses(
        (status = 200, description = "The thread has ended", body = InvokeAnswer),
        (status = 202, description = "The thread will be stopped", body = InvokeAnswer),
    )
)]
pub(in crate::api) async fn abort(
    State(api): State<Api>,
    ThreadPath(thread): ThreadPath,
    change: Change,
    Body(body): Body<AbortBody>,
) -> Result<Response, Problem> {
    let control = change.because(body.reason);
    let invoked = api.handle.abort(&thread, control).await?;
    let mut response = answer(&invoked);
    let ended = invoked.status.is_terminal();
    *response.status_mut() = if ended { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok(response)
}
