//! `GET /interventions`: lists the interventions, which wait for a person.

use axum::Json as JsonAnswer;
use axum::extract::State;

use crate::api::Api;
use crate::api::extract::Within;
use crate::api::problem::Problem;
use crate::api::query::{DEFAULT_LIMIT, FromQuery, Params, QueryString};
use crate::contract::{InterventionList, InterventionQuery, InterventionStatus};
use crate::model::ThreadId;

impl FromQuery for InterventionQuery {
    fn read(query: &mut Params) -> Self {
        Self {
            status: query.parsed("status", parse_status),
            thread_id: query.parsed("threadId", |text| {
                ThreadId::parse(text).map_err(|fault| fault.to_string())
            }),
            limit: query.limit(DEFAULT_LIMIT),
            cursor: query.text("cursor"),
        }
    }
}

fn parse_status(text: &str) -> Result<InterventionStatus, String> {
    match text {
        "open" => Ok(InterventionStatus::Open),
        "resolved" => Ok(InterventionStatus::Resolved),
        _ => Err("must be one of open, resolved".to_owned()),
    }
}

/// List what waits for a person, newest first
///
/// `approval`: a step of that kind asks. `blocked`: a step's `check` has blocked its output. `failure`:
/// the thread would have failed (`"onFailure": "pause"`). `poison`: the thread was lost with its replica
/// again and again, and is paused; it names the steps that were under way. Resuming or aborting a thread
/// answers the last two.
#[utoipa::path(
    get, path = "/interventions", operation_id = "listInterventions", tag = "control",
    security(("bearer" = ["reader"])),
    params(InterventionQuery),
    responses((status = 200, description = "A page of interventions", body = InterventionList))
)]
pub(in crate::api) async fn list(
    State(api): State<Api>,
    Within(namespace): Within,
    QueryString(query): QueryString<InterventionQuery>,
) -> Result<JsonAnswer<InterventionList>, Problem> {
    let page = api.handle.interventions(&namespace, query).await.map_err(Problem::from);
    Ok(JsonAnswer(page.map_err(Problem::without_pointers)?))
}
