//! `GET /status/{threadId}`: the status document.

use std::time::Duration;

use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::Api;
use crate::api::conditional::{etag, has_version};
use crate::api::extract::ThreadPath;
use crate::api::problem::Problem;
use crate::api::query::{FromQuery, Params, QueryString};
use crate::contract::StatusDocument;
use crate::model::Seq;

/// What of the status to show, and when.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct StatusQuery {
    /// Holds the answer until the thread ends or the time is up: milliseconds or a text such as
    /// `10s`, at most 60 s (longer is cut).
    #[param(value_type = Option<String>)]
    wait: Option<Duration>,
    /// `false` leaves inputs and outputs out.
    outputs: Option<bool>,
    /// Shows the thread as it was after this event. One that it does not have is 400
    /// (`seq_out_of_range`); with `wait`, the answer is held until it has it.
    #[param(value_type = Option<u64>, minimum = 1)]
    at: Option<Seq>,
}

impl FromQuery for StatusQuery {
    fn read(query: &mut Params) -> Self {
        let at = query.seq("at");
        if at == Some(0) {
            query.fault("at", "must be the number of an event: 1, 2, 3, …");
        }
        Self { wait: query.wait(), outputs: query.boolean("outputs"), at }
    }
}

/// Read a thread's status
///
/// The whole status document: steps, inputs, outputs, errors and progress.
#[utoipa::path(
    get, path = "/status/{threadId}", operation_id = "getStatus", tag = "threads",
    security(("bearer" = ["reader"])),
    params(
        ("threadId" = String, Path, description = "The thread"),
        StatusQuery,
        ("If-None-Match" = Option<String>, Header, description = "An `ETag` that the client has"),
    ),
    responses(
        (status = 200, description = "The thread as it stands", body = StatusDocument,
         headers(("ETag" = String, description = "The number of the last event, in quotes"))),
        (status = 304, description = "The client has this version"),
    )
)]
pub(in crate::api) async fn status(
    State(api): State<Api>,
    ThreadPath(thread): ThreadPath,
    QueryString(query): QueryString<StatusQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    match (query.wait, query.at) {
        (Some(wait), None) => {
            api.handle.wait_for_end(&thread, wait).await?;
        }
        (Some(wait), Some(at)) => api.handle.wait_for_event(&thread, at, wait).await?,
        (None, _) => {}
    }
    let document = api.handle.status(&thread, query.at).await.map_err(Problem::from);
    let document = document.map_err(Problem::without_pointers)?;
    let tag = etag(document.last_seq);
    let mut response = if has_version(&headers, document.last_seq) {
        StatusCode::NOT_MODIFIED.into_response()
    } else if query.outputs == Some(false) {
        JsonAnswer(document.without_outputs()).into_response()
    } else {
        JsonAnswer(document).into_response()
    };
    if let Some(tag) = tag {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}
