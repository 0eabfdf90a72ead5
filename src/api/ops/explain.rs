//! `GET /threads/{threadId}/explain`: explains why a thread does not move.

use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::api::Api;
use crate::api::conditional::etag;
use crate::api::extract::ThreadPath;
use crate::api::problem::Problem;
use crate::api::query::{NoParams, QueryString};
use crate::contract::Explanation;

/// Ask why a thread does not move
///
/// Each way in which it stands still is a cause: what it waits for (a step, a person, a timer, a
/// lease, a circuit, a replica with room), since when, what ends that, and the one call that would
/// end it now. The first cause is the one to act on. There is always at least one: of a thread that
/// moves it is the attempt under way, of one that has ended its end. Any replica answers; of
/// circuits it knows only what it has seen itself.
#[utoipa::path(
    get, path = "/threads/{threadId}/explain", operation_id = "explainThread", tag = "threads",
    security(("bearer" = ["reader"])),
    params(("threadId" = String, Path, description = "The thread")),
    responses(
        (status = 200, description = "Why it stands where it stands", body = Explanation,
         headers(("ETag" = String, description = "The number of the last event, in quotes, for `If-Match`"))),
    )
)]
pub(in crate::api) async fn get(
    State(api): State<Api>,
    ThreadPath(thread): ThreadPath,
    _: QueryString<NoParams>,
) -> Result<Response, Problem> {
    let explanation = api.handle.explain(&thread).await?;
    let tag = etag(explanation.last_seq);
    let mut response = JsonAnswer(explanation).into_response();
    if let Some(tag) = tag {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}
