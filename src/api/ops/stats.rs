//! `GET /stats`: the figures of the last 24 hours.

use axum::Json as JsonAnswer;
use axum::extract::State;

use crate::api::Api;
use crate::api::extract::Within;
use crate::api::problem::Problem;
use crate::api::query::{NoParams, QueryString};
use crate::contract::Stats;

/// See what happened in the last 24 hours
///
/// Over all replicas: interventions, checkpoints by kind, recoveries by cause and result with their
/// mean duration, and how calls of the database went that had to be made again. Another replica's
/// counts arrive a few seconds late.
#[utoipa::path(
    get, path = "/stats", operation_id = "stats", tag = "operations",
    security(("bearer" = ["reader"])),
    responses((status = 200, description = "The figures", body = Stats))
)]
pub(in crate::api) async fn stats(
    State(api): State<Api>,
    Within(namespace): Within,
    QueryString(NoParams): QueryString<NoParams>,
) -> Result<JsonAnswer<Stats>, Problem> {
    Ok(JsonAnswer(api.handle.stats(&namespace).await?))
}
