//! `GET /threads/{threadId}/events`: the journal, page by page.

use axum::Json as JsonAnswer;
use axum::extract::State;

use crate::api::Api;
use crate::api::extract::ThreadPath;
use crate::api::problem::Problem;
use crate::api::query::{FromQuery, MAX_LONG_LIMIT, Params, QueryString};
use crate::contract::EventList;
use crate::model::Seq;

/// Which events to list.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct EventsQuery {
    /// Only events after this one; 0 starts at the first.
    #[param(value_type = Option<u64>, default = 0)]
    after: Seq,
    /// Most events in the answer; large ones may make it fewer.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 1000)]
    limit: usize,
}

impl FromQuery for EventsQuery {
    fn read(query: &mut Params) -> Self {
        Self {
            after: query.seq("after").unwrap_or(0),
            limit: query.limit_to(MAX_LONG_LIMIT, MAX_LONG_LIMIT),
        }
    }
}

/// List a thread's events
///
/// The same records that the stream sends, byte for byte.
#[utoipa::path(
    get, path = "/threads/{threadId}/events", operation_id = "listEvents", tag = "threads",
    security(("bearer" = ["reader"])),
    params(("threadId" = String, Path, description = "The thread"), EventsQuery),
    responses((status = 200, description = "A page of events", body = EventList))
)]
pub(in crate::api) async fn list(
    State(api): State<Api>,
    ThreadPath(thread): ThreadPath,
    QueryString(query): QueryString<EventsQuery>,
) -> Result<JsonAnswer<EventList>, Problem> {
    let page = api.handle.events(&thread, query.after, query.limit).await?;
    let last = page.events.last().map(|event| event.seq);
    let items = page.events.into_iter().map(|event| event.json).collect();
    Ok(JsonAnswer(EventList::new(items, last, page.head)))
}
