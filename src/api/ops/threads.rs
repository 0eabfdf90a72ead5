//! `GET /threads`: the list of threads.

use axum::Json as JsonAnswer;
use axum::extract::State;

use crate::api::Api;
use crate::api::extract::Within;
use crate::api::problem::Problem;
use crate::api::query::{
    DEFAULT_LIMIT, FromQuery, MAX_LONG_LIMIT, MAX_METADATA_FILTERS, Params, QueryString,
};
use crate::contract::{ThreadList, ThreadQuery};
use crate::model::{ThreadId, ThreadStatus};

impl FromQuery for ThreadQuery {
    fn read(query: &mut Params) -> Self {
        Self {
            status: query.parsed("status", parse_status),
            workflow: query.text("workflow"),
            forked_from: query.parsed("forkedFrom", |text| {
                ThreadId::parse(text).map_err(|fault| fault.to_string())
            }),
            metadata: query.below("metadata.", MAX_METADATA_FILTERS),
            limit: query.limit_to(MAX_LONG_LIMIT, DEFAULT_LIMIT),
            cursor: query.text("cursor"),
        }
    }
}

/// Reads a thread's status by its name.
pub(in crate::api) fn parse_status(text: &str) -> Result<ThreadStatus, String> {
    ThreadStatus::parse(text).ok_or_else(|| {
        let all: Vec<_> = ThreadStatus::ALL.iter().map(|status| status.as_str()).collect();
        format!("must be one of {}", all.join(", "))
    })
}

/// List threads, newest first
///
/// Pages are stable: threads that start meanwhile do not move the ones that are listed.
#[utoipa::path(
    get, path = "/threads", operation_id = "listThreads", tag = "threads",
    security(("bearer" = ["reader"])),
    params(ThreadQuery),
    responses((status = 200, description = "A page of threads", body = ThreadList))
)]
pub(in crate::api) async fn list(
    State(api): State<Api>,
    Within(namespace): Within,
    QueryString(query): QueryString<ThreadQuery>,
) -> Result<JsonAnswer<ThreadList>, Problem> {
    let page = api.handle.threads(&namespace, query).await.map_err(Problem::from);
    Ok(JsonAnswer(page.map_err(Problem::without_pointers)?))
}
