//! `GET /stream/{threadId}`: streams a thread's events, from any point, as they are committed.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::cursor::{Cursor, StreamQuery};
use super::reader::{FIRST_EVENTS, Reader};
use super::turn::turn;
use super::{OpenStream, answer};
use crate::api::Api;
use crate::api::auth::Caller;
use crate::api::extract::ThreadPath;
use crate::api::problem::Problem;
use crate::api::query::QueryString;

/// Stream a thread's events
///
/// Starts at the first event, or behind the cursor. Every event comes once, in order, without
/// gaps. The stream ends after the terminal event; connecting again then gives 204, which tells
/// an `EventSource` to stop. A cursor beyond the journal gets one `reset` event without an id,
/// then everything from the start. Lines that begin with `:` are comments.
#[utoipa::path(
    get, path = "/stream/{threadId}", operation_id = "streamThread", tag = "stream",
    security(("bearer" = ["reader"])),
    params(
        ("threadId" = String, Path, description = "The thread"),
        StreamQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "Starts behind this event"),
    ),
    responses(
        (status = 200, description = "Server-sent events, each with its number as `id`, its type as `event` and an `Event` as `data`",
         body = String, content_type = "text/event-stream"),
        (status = 204, description = "The thread has ended and the client has seen it all"),
    )
)]
pub(in crate::api) async fn stream(
    State(api): State<Api>,
    caller: Caller,
    ThreadPath(thread): ThreadPath,
    QueryString(query): QueryString<StreamQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let cursor = query.cursor(&headers)?;
    let open = OpenStream::new(&api, &caller)?;
    // Subscribes before it reads, so that no event is lost between the two.
    let follow = api.handle.follow(&thread);
    let wanted = match cursor {
        Cursor::After(seq) => seq,
        Cursor::Now => api.handle.thread(&thread).await?.last_seq,
    };
    let turn = turn().await;
    let mut page = api.handle.events(&thread, wanted, FIRST_EVENTS).await?;
    let beyond = wanted > page.head;
    if page.ended && wanted == page.head {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let start = if beyond { 0 } else { wanted };
    if beyond {
        page = api.handle.events(&thread, start, FIRST_EVENTS).await?;
    }
    let reader = Reader::new(&api.handle, (thread, follow), start, page, open)?;
    drop(turn);
    let reader = if beyond { reader.after_reset() } else { reader };
    Ok(answer((&api.settings.keys, &api.clock), caller, reader.into_stream()))
}
