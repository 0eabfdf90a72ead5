//! `POST /threads/{threadId}/abort`: stops a thread and cancels what runs.

use std::time::Duration;

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
use crate::runtime::AbortHow;

/// The longest grace: a client that wants to wait for longer pauses the thread.
const MAX_GRACE: Duration = Duration::from_hours(1);

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
    /// How long attempts under way may still take to end by themselves, their results being kept;
    /// none, unless it is said. At most an hour.
    #[schema(value_type = Option<Object>, example = "10s")]
    grace: Option<Duration>,
}

impl FromBody for AbortBody {
    const MEMBERS: &'static [&'static str] = &["reason", "compensate", "grace"];
    const OPTIONAL: bool = true;

    fn read(fields: &mut Fields<'_>) -> Self {
        let grace = fields.duration("grace");
        if grace.is_some_and(|grace| grace > MAX_GRACE) {
            fields.fault("grace", "is at most an hour; a pause has no end of its own");
        }
        Self { compensate: fields.boolean("compensate"), grace, reason: reason(fields) }
    }
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
    request_body(content = Option<AbortBody>, description = "May be left out"),
    responses(
        (status = 200, description = "The thread has ended", body = InvokeAnswer),
        (status = 202, description = "Attempts under way have their grace", body = InvokeAnswer),
    )
)]
pub(in crate::api) async fn abort(
    State(api): State<Api>,
    ThreadPath(thread): ThreadPath,
    change: Change,
    Body(body): Body<AbortBody>,
) -> Result<Response, Problem> {
    let control = change.because(body.reason);
    let how = AbortHow {
        grace: body.grace.unwrap_or_default(),
        compensate: body.compensate.unwrap_or_default(),
    };
    let invoked = api.handle.abort(&thread, how, control).await?;
    let mut response = answer(&invoked);
    let ended = invoked.status.is_terminal();
    *response.status_mut() = if ended { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok(response)
}
