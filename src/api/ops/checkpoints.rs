//! `GET /threads/{threadId}/checkpoints`: lists the events that a thread can go on from.

use axum::Json as JsonAnswer;
use axum::extract::State;

use crate::api::Api;
use crate::api::extract::ThreadPath;
use crate::api::problem::Problem;
use crate::api::query::{FromQuery, Params, QueryString};
use crate::contract::{CheckpointList, CheckpointQuery};

/// The number of checkpoints per page without a `limit`: clients mostly look for the newest few.
const DEFAULT_CHECKPOINTS: usize = 10;

impl FromQuery for CheckpointQuery {
    fn read(query: &mut Params) -> Self {
        Self {
            operation: query.text("operation"),
            limit: query.limit(DEFAULT_CHECKPOINTS),
            cursor: query.seq("cursor"),
        }
    }
}

/// List a thread's checkpoints, newest first
///
/// Every event of the journal that the thread can go on from.
#[utoipa::path(
    get, path = "/threads/{threadId}/checkpoints", operation_id = "listCheckpoints", tag = "threads",
    security(("bearer" = ["reader"])),
    params(("threadId" = String, Path, description = "The thread"), CheckpointQuery),
    responses((status = 200, description = "A page of checkpoints", body = CheckpointList))
)]
pub(in crate::api) async fn list(
    State(api): State<Api>,
    ThreadPath(thread): ThreadPath,
    QueryString(query): QueryString<CheckpointQuery>,
) -> Result<JsonAnswer<CheckpointList>, Problem> {
    Ok(JsonAnswer(api.handle.checkpoints(&thread, query).await?))
}
