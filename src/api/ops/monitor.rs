//! `GET /monitor`: lists the active threads at a glance.

use axum::Json as JsonAnswer;
use axum::extract::State;

use crate::api::Api;
use crate::api::extract::Within;
use crate::api::problem::Problem;
use crate::api::query::{DEFAULT_LIMIT, FromQuery, Params, QueryString};
use crate::contract::Monitor;

/// How much to show.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct MonitorQuery {
    /// Most threads in the answer.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 50)]
    limit: usize,
}

impl FromQuery for MonitorQuery {
    fn read(query: &mut Params) -> Self {
        Self { limit: query.limit(DEFAULT_LIMIT) }
    }
}

/// See which threads are active and which look stuck
///
/// Threads that have not ended, newest first, with the time since their last event.
#[utoipa::path(
    get, path = "/monitor", operation_id = "monitor", tag = "operations",
    security(("bearer" = ["reader"])),
    params(MonitorQuery),
    responses((status = 200, description = "Active threads", body = Monitor))
)]
pub(in crate::api) async fn monitor(
    State(api): State<Api>,
    Within(namespace): Within,
    QueryString(query): QueryString<MonitorQuery>,
) -> Result<JsonAnswer<Monitor>, Problem> {
    Ok(JsonAnswer(api.handle.monitor(&namespace, query.limit).await?))
}
