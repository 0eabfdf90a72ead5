//! `POST /threads/{threadId}/resume`: sets a failed, aborted or paused thread going again.

use axum::extract::State;
use axum::response::Response;
use utoipa::ToSchema;

use super::control::{Change, reason};
use super::invoke::{InvokeAnswer, answer};
use crate::api::Api;
use crate::api::extract::{Body, FromBody, ThreadPath};
use crate::api::fields::Fields;
use crate::api::problem::Problem;

/// Why the thread goes on.
#[derive(Debug, ToSchema)]
#[schema(as = ResumeRequest)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct ResumeBody {
    /// Recorded in the journal.
    #[schema(max_length = 2048)]
    reason: Option<String>,
}

impl FromBody for ResumeBody {
    const MEMBERS: &'static [&'static str] = &["reason"];
    const OPTIONAL: bool = true;

    fn read(fields: &mut Fields<'_>) -> Self {
        Self { reason: reason(fields) }
    }
}

/// Continue a failed, aborted or paused thread
///
/// Completed steps never run again.
#[utoipa::path(
    post, path = "/threads/{threadId}/resume", operation_id = "resumeThread", tag = "control",
    params(
        ("threadId" = String, Path, description = "The thread"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` the client acts on; 412 if the thread has changed since"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes repeats one call"),
    ),
    request_body(content = Option<ResumeBody>, description = "May be left out"),
    responses(
        (status = 202, description = "The thread goes on", body = InvokeAnswer),
        (status = 200, description = "Nothing had to be changed", body = InvokeAnswer),
    )
)]
pub(in crate::api) async fn resume(
    State(api): State<Api>,
    ThreadPath(thread): ThreadPath,
    change: Change,
    Body(body): Body<ResumeBody>,
) -> Result<Response, Problem> {
    let control = change.because(body.reason);
    Ok(answer(&api.handle.resume(&thread, control).await?))
}
