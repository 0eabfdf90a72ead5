//! `POST /threads/{threadId}/fork`: a new thread with the history of another.

use axum::extract::State;
use axum::response::Response;

use super::control::Change;
use super::invoke::answer_with;
use crate::api::Api;
use crate::api::extract::{Body, FromBody, ThreadPath};
use crate::api::problem::Problem;
use crate::contract::{ForkAnswer, ForkRequest, InvokeAnswer};
use crate::model::ForkPoint;

impl FromBody for ForkRequest {}

/// Fork a thread at an event
///
/// A new thread begins with the history of this one up to the event, and goes on from there: outputs
/// up to there are used again, attempts that were under way are made again, with idempotency keys of
/// the new thread. This thread is only read. A fork at or after its failure or abort goes on as after a
/// resume; one of a paused stretch is paused. The same `threadId` again with the same fork
/// answers with the thread as it stands.
#[utoipa::path(
    post, path = "/threads/{threadId}/fork", operation_id = "forkThread", tag = "control",
    security(("bearer" = ["own"])),
    params(
        ("threadId" = String, Path, description = "The thread to fork"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` the client acts on; 412 if the thread has changed since"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes repeats within 24 h one thread, if no `threadId` is given"),
    ),
    request_body(content = ForkRequest),
    responses(
        (status = 202, description = "The new thread is durable", body = ForkAnswer,
         headers(("Location" = String, description = "The new thread's status"),
                 ("Idempotent-Replayed" = Option<String>, description = "`true` if an earlier request made the thread"))),
        (status = 200, description = "The same fork exists already", body = ForkAnswer),
    )
)]
pub(in crate::api) async fn fork(
    State(api): State<Api>,
    ThreadPath(thread): ThreadPath,
    Change(control): Change,
    Body(request): Body<ForkRequest>,
) -> Result<Response, Problem> {
    let seq = request.at_seq;
    let forked = api.handle.fork(&thread, request, control).await?;
    let forked_from = ForkPoint { thread_id: thread, seq };
    let body = ForkAnswer { thread: InvokeAnswer::from(&forked), forked_from };
    Ok(answer_with(&forked, body))
}
