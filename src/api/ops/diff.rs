//! `GET /threads/{threadId}/diff/{otherId}`: compares two threads.

use axum::Json as JsonAnswer;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;

use crate::api::Api;
use crate::api::extract::{ThreadPath, thread_in_path};
use crate::api::problem::Problem;
use crate::api::query::{NoParams, QueryString};
use crate::contract::ThreadDiff;
use crate::model::ThreadId;

/// The other thread that the path names.
pub(in crate::api) struct OtherPath(ThreadId);

impl FromRequestParts<Api> for OtherPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        thread_in_path(parts, api, "otherId").await.map(Self)
    }
}

/// Compare two threads
///
/// Where their journals part, by what the events say and not by when, and what became of each step in
/// both. The threads may execute different workflows; steps are matched by their ids.
#[utoipa::path(
    get, path = "/threads/{threadId}/diff/{otherId}", operation_id = "diffThreads", tag = "threads",
    security(("bearer" = ["reader"])),
    params(
        ("threadId" = String, Path, description = "The first thread, `a`"),
        ("otherId" = String, Path, description = "The second thread, `b`"),
    ),
    responses((status = 200, description = "How they differ", body = ThreadDiff))
)]
pub(in crate::api) async fn diff(
    State(api): State<Api>,
    ThreadPath(a): ThreadPath,
    OtherPath(b): OtherPath,
    _: QueryString<NoParams>,
) -> Result<JsonAnswer<ThreadDiff>, Problem> {
    Ok(JsonAnswer(api.handle.diff(&a, &b).await?))
}
