//! `GET /threads`: the list of threads.

use axum::Json as JsonAnswer;
use axum::extract::State;

use crate::api::Api;
use crate::api::extract::Within;
use crate::api::problem::Problem;
use crate::api::query::{
    DEFAULT_LIMIT, FromQuery, MAX_LONG_LIMIT, MAX_METADATA_FILTERS, Params, QueryString,
};
use crate::contract::ThreadList;
use crate::model::{ThreadId, ThreadStatus};
use crate::runtime::ThreadQuery;

/// Which threads to list.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct ThreadsQuery {
    /// Only threads of this status.
    status: Option<ThreadStatus>,
    /// Only threads of this workflow.
    workflow: Option<String>,
    /// Only forks of this thread.
    #[param(value_type = Option<String>, rename = "forkedFrom")]
    forked_from: Option<ThreadId>,
    /// Only threads whose metadata has this member; `KEY` stands for its name, and the parameter
    /// may be given for up to 8.
    #[param(value_type = Option<String>, rename = "metadata.KEY")]
    metadata: Vec<(String, String)>,
    /// Items per page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 50)]
    limit: usize,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

impl FromQuery for ThreadsQuery {
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
    params(ThreadsQuery),
    responses((status = 200, description = "A page of threads", body = ThreadList))
)]
pub(in crate::api) async fn list(
    State(api): State<Api>,
    Within(namespace): Within,
    QueryString(query): QueryString<ThreadsQuery>,
) -> Result<JsonAnswer<ThreadList>, Problem> {
    let ThreadsQuery { status, workflow, forked_from, metadata, limit, cursor } = query;
    let query = ThreadQuery { namespace, status, workflow, metadata, forked_from, limit, cursor };
    let page = api.handle.threads(query).await.map_err(Problem::from);
    Ok(JsonAnswer(page.map_err(Problem::without_pointers)?))
}
