//! `POST /threads/{threadId}/stream-token`: opens one stream to a browser.

use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::auth::Caller;
use crate::api::extract::ThreadPath;
use crate::api::problem::Problem;
use crate::api::query::{NoParams, QueryString};
use crate::api::{Api, token};
use crate::contract::StreamToken;

/// Get a token for a browser's EventSource
///
/// Read-only, for this one thread, 60 s to connect. A stream that is open stays open for as long as
/// the key, or the token of the issuer, that this was asked for with is taken.
#[utoipa::path(
    post, path = "/threads/{threadId}/stream-token", operation_id = "createStreamToken", tag = "stream",
    security(("bearer" = ["reader"])),
    params(("threadId" = String, Path, description = "The thread")),
    responses((status = 201, description = "The token", body = StreamToken))
)]
pub(in crate::api) async fn create(
    State(api): State<Api>,
    caller: Caller,
    ThreadPath(thread): ThreadPath,
    _: QueryString<NoParams>,
) -> Result<Response, Problem> {
    api.handle.thread(&thread).await?;
    let key = api.handle.token_key().await?;
    let latest = api.clock.now().plus(token::LIFETIME);
    let signed = caller.stream_token(&key, &thread, latest);
    let (token, expires_at) = signed.ok_or_else(Problem::internal)?;
    let body = JsonAnswer(StreamToken::new(&thread, token, expires_at));
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], body).into_response())
}
