//! `GET /threads/{threadId}/recoveries`: lists the recoveries of a thread from lost replicas.

use axum::Json as JsonAnswer;
use axum::extract::State;

use crate::api::Api;
use crate::api::extract::ThreadPath;
use crate::api::problem::Problem;
use crate::api::query::{DEFAULT_LIMIT, FromQuery, Params, QueryString};
use crate::contract::RecoveryList;
use crate::model::Epoch;

/// Which recoveries to list.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct RecoveriesQuery {
    /// Items per page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 50)]
    limit: usize,
    /// The `nextCursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Epoch>,
}

impl FromQuery for RecoveriesQuery {
    fn read(query: &mut Params) -> Self {
        Self {
            limit: query.limit(DEFAULT_LIMIT),
            cursor: query.parsed("cursor", |text| {
                text.parse().map_err(|_| "must be a cursor of this list".to_owned())
            }),
        }
    }
}

/// List the attempts to recover a thread, newest first
///
/// One item for each claim of the thread from a replica that was lost or had handed it over with a
/// step under way: why, how it was rebuilt, from which event to which, how long it took, and how it
/// ended.
#[utoipa::path(
    get, path = "/threads/{threadId}/recoveries", operation_id = "listRecoveries", tag = "threads",
    security(("bearer" = ["reader"])),
    params(("threadId" = String, Path, description = "The thread"), RecoveriesQuery),
    responses((status = 200, description = "A page of recoveries", body = RecoveryList))
)]
pub(in crate::api) async fn list(
    State(api): State<Api>,
    ThreadPath(thread): ThreadPath,
    QueryString(query): QueryString<RecoveriesQuery>,
) -> Result<JsonAnswer<RecoveryList>, Problem> {
    Ok(JsonAnswer(api.handle.recoveries(&thread, query.limit, query.cursor).await?))
}
