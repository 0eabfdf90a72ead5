//! `GET` and `DELETE /threads/{threadId}`.

use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::Api;
use crate::api::conditional::{etag, has_version, if_match};
use crate::api::extract::ThreadPath;
use crate::api::problem::Problem;
use crate::api::query::{NoParams, QueryString};
use crate::contract::ThreadItem;

/// Read a thread without its steps
///
/// The item that the list of threads has for it.
#[utoipa::path(
    get, path = "/threads/{threadId}", operation_id = "getThread", tag = "threads",
    security(("bearer" = ["reader"])),
    params(
        ("threadId" = String, Path, description = "The thread"),
        ("If-None-Match" = Option<String>, Header, description = "An `ETag` that the client has"),
    ),
    responses(
        (status = 200, description = "The thread", body = ThreadItem,
         headers(("ETag" = String, description = "The number of the last event, in quotes"))),
        (status = 304, description = "The client has this version"),
    )
)]
pub(in crate::api) async fn get(
    State(api): State<Api>,
    ThreadPath(thread): ThreadPath,
    _: QueryString<NoParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let item = api.handle.thread(&thread).await?;
    let tag = etag(item.last_seq);
    let mut response = if has_version(&headers, item.last_seq) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        JsonAnswer(item).into_response()
    };
    if let Some(tag) = tag {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

/// Delete a thread that has ended
///
/// Its journal and its snapshots go with it. A thread that has not ended answers 409.
#[utoipa::path(
    delete, path = "/threads/{threadId}", operation_id = "deleteThread", tag = "threads",
    security(("bearer" = ["admin"])),
    params(
        ("threadId" = String, Path, description = "The thread"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` the client acts on; 412 if the thread has changed since"),
    ),
    responses((status = 204, description = "Deleted, with its journal"))
)]
pub(in crate::api) async fn delete(
    State(api): State<Api>,
    ThreadPath(thread): ThreadPath,
    _: QueryString<NoParams>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    api.handle.delete(&thread, if_match(&headers)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
