//! `GET /threads/{threadId}/checkpoints`: lists the events that a thread can go on from.

use axum::Json as JsonAnswer;
use axum::extract::State;

use crate::api::Api;
use crate::api::extract::ThreadPath;
use crate::api::problem::Problem;
use crate::api::query::{FromQuery, Params, QueryString};
use crate::contract::CheckpointList;
use crate::model::Seq;
use crate::runtime::CheckpointQuery;

/// The number of checkpoints per page without a `limit`: clients mostly look for the newest few.
const DEFAULT_CHECKPOINTS: usize = 10;

/// Which checkpoints to list.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct CheckpointsQuery {
    /// Only checkpoints whose operation starts with this.
    operation: Option<String>,
    /// Items per page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 10)]
    limit: usize,
    /// The `nextCursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Seq>,
}

impl FromQuery for CheckpointsQuery {
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
    params(("threadId" = String, Path, description = "The thread"), CheckpointsQuery),
    responses((status = 200, description = "A page of checkpoints", body = CheckpointList))
)]
pub(in crate::api) async fn list(
    State(api): State<Api>,
    ThreadPath(thread): ThreadPath,
    QueryString(query): QueryString<CheckpointsQuery>,
) -> Result<JsonAnswer<CheckpointList>, Problem> {
    let CheckpointsQuery { operation, limit, cursor } = query;
    let query = CheckpointQuery { operation, limit, before: cursor };
    Ok(JsonAnswer(api.handle.checkpoints(&thread, query).await?))
}
