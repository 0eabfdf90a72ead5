//! `GET /threads/{threadId}/diagnostics`: everything that support needs to know about a thread.

use axum::Json as JsonAnswer;
use axum::extract::State;

use crate::api::Api;
use crate::api::extract::ThreadPath;
use crate::api::problem::Problem;
use crate::api::query::{NoParams, QueryString};
use crate::contract::Diagnostics;

/// Read everything about a thread in one bundle
///
/// Its status, what the store keeps beside the journal, its definition, the newest events,
/// checkpoints and failures, and the health and limits of the replica that answers. Bounded, and
/// without secrets. What cannot be read is named in `problems`.
#[utoipa::path(
    get, path = "/threads/{threadId}/diagnostics", operation_id = "getDiagnostics", tag = "threads",
    security(("bearer" = ["reader"])),
    params(("threadId" = String, Path, description = "The thread")),
    responses((status = 200, description = "The bundle", body = Diagnostics))
)]
pub(in crate::api) async fn get(
    State(api): State<Api>,
    ThreadPath(thread): ThreadPath,
    _: QueryString<NoParams>,
) -> Result<JsonAnswer<Diagnostics>, Problem> {
    Ok(JsonAnswer(api.handle.diagnostics(&thread).await?))
}
