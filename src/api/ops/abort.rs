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
    /// Whether to undo the completed steps that say how (`compensate`), in the reverse order of their
    /// completion; `false` if absent.
    compensate: Option<bool>,
}

impl FromBody for AbortBody {
    const MEMBERS: &'static [&'static str] = &["reason", "compensate"];
    const OPTIONAL: bool = true;

    fn read(fields: &mut Fields<'_>) -> Self {
        Self { compensate: fields.boolean("compensate"), reason: reason(fields) }
    }
}

/// Stop a thread and cancel what it runs
///
/// Completed steps stay completed, unless they are to be compensated: then the thread ends `aborted`
/// once all are, and `failed` with what is left if some cannot be. On a thread that has failed or was
/// aborted, `compensate` tries what is left of it; 409 `nothing_to_compensate` if nothing is. The
/// thread can be resumed: what was undone is done again, with all that comes after it.
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
    let invoked = if body.compensate == Some(true) {
        api.handle.abort_and_compensate(&thread, control).await?
    } else {
        api.handle.abort(&thread, control).await?
    };
    let mut response = answer(&invoked);
    let ended = invoked.status.is_terminal();
    *response.status_mut() = if ended { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok(response)
}
