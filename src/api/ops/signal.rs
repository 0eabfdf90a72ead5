//! `POST /threads/{threadId}/signals/{name}`: sends a thread a payload.

use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;

use super::control::{Change, changed};
use crate::api::Api;
use crate::api::extract::{ThreadPath, WholeBody, path_parameter};
use crate::api::problem::Problem;
use crate::contract::InvokeAnswer;
use crate::model::{Json, is_signal_name};
use crate::runtime::Signal;

/// The signal that the path names.
pub(in crate::api) struct SignalPath(String);

impl FromRequestParts<Api> for SignalPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        let name = path_parameter(parts, "name").await?;
        if is_signal_name(&name) {
            return Ok(Self(name));
        }
        Err(Problem::invalid("a signal's name must match [A-Za-z0-9][A-Za-z0-9._-]{0,127}"))
    }
}

/// Send a thread a signal
///
/// The body, any JSON, is the payload, and the output of the step that takes it. It is kept if no
/// step waits for it yet. With an `Idempotency-Key` a signal of this name is delivered once, however
/// often it is sent.
#[utoipa::path(
    post, path = "/threads/{threadId}/signals/{name}", operation_id = "sendSignal", tag = "control",
    security(("bearer" = ["invoker"])),
    params(
        ("threadId" = String, Path, description = "The thread"),
        ("name" = String, Path, description = "The signal's name"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` the client acts on; 412 if the thread has changed since"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes repeats one signal"),
    ),
    request_body(content = Option<serde_json::Value>, description = "The payload; `null` if left out"),
    responses((status = 202, description = "The signal is recorded", body = InvokeAnswer))
)]
pub(in crate::api) async fn send(
    State(api): State<Api>,
    ThreadPath(thread): ThreadPath,
    SignalPath(name): SignalPath,
    Change(control): Change,
    WholeBody(payload): WholeBody,
) -> Result<Response, Problem> {
    let signal = Signal { name, payload: payload.unwrap_or_else(Json::null) };
    let invoked = api.handle.signal(&thread, signal, control).await?;
    Ok(changed(&invoked, StatusCode::ACCEPTED))
}
