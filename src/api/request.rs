//! The outermost layer: request ids, a span and a log line each, metrics, and the bodies of problem
//! documents. A panic of a handler ends here as a 500.
//!
//! It must never log a query string, which may hold a stream token.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tracing::Instrument;

use super::Api;
use super::problem::{MEDIA_TYPE, Problem, QUOTA_EXCEEDED, TOO_MANY_WRONG_KEYS};
use super::settings::Answered;
use crate::model::ThreadId;

/// The longest request id taken from a client, in characters.
const MAX_REQUEST_ID: usize = 128;
/// The header that carries request ids.
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Wraps one request from the first byte of its headers to the headers of its answer.
pub(super) async fn observe(State(api): State<Api>, request: Request, next: Next) -> Response {
    let started = api.clock.monotonic();
    let id = client_id(request.headers()).map_or_else(|| server_id(&api), str::to_owned);
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("other", MatchedPath::as_str);
    let span = tracing::info_span!(
        "request",
        request_id = %id,
        method = label(&method),
        route,
        thread_id = tracing::field::Empty,
    );
    if let Some(thread) = thread_of(route, &path) {
        span.record("thread_id", thread.as_str());
    }
    let answer = AssertUnwindSafe(next.run(request).instrument(span.clone())).catch_unwind().await;
    let response = answer.unwrap_or_else(|_| {
        span.in_scope(|| tracing::error!("a handler panicked"));
        Problem::internal().into_response()
    });
    let quiet = is_told_elsewhere(&response);
    let response = finish(response, &path, &id);
    let answered = Answered {
        method: label(&method),
        route,
        status: response.status().as_u16(),
        elapsed: api.clock.monotonic().saturating_sub(started),
    };
    api.settings.metrics.answered(&answered);
    span.in_scope(|| log(&answered, quiet));
    response
}

/// Returns whether this is a refusal that comes in crowds and that another module logs, once a
/// second at most.
fn is_told_elsewhere(response: &Response) -> bool {
    let problem = response.extensions().get::<Arc<Problem>>();
    problem.is_some_and(|problem| [&QUOTA_EXCEEDED, &TOO_MANY_WRONG_KEYS].contains(&problem.kind()))
}

/// Writes one line per request: loud for faults of this server, quiet for success.
fn log(answered: &Answered<'_>, quiet: bool) {
    let status = answered.status;
    let elapsed_us = u64::try_from(answered.elapsed.as_micros()).unwrap_or(u64::MAX);
    if status >= 500 {
        tracing::warn!(status, elapsed_us, "answered");
    } else if status >= 400 && !quiet {
        tracing::info!(status, elapsed_us, "answered");
    } else {
        tracing::debug!(status, elapsed_us, "answered");
    }
}

/// Writes the body of a problem, and the request id on every answer.
fn finish(mut response: Response, path: &str, id: &str) -> Response {
    if let Some(problem) = response.extensions_mut().remove::<Arc<Problem>>() {
        let document = problem.document(path, id);
        let body = serde_json::to_vec(&document).unwrap_or_default();
        response.headers_mut().remove(header::CONTENT_LENGTH);
        let media_type = HeaderValue::from_static(MEDIA_TYPE);
        response.headers_mut().insert(header::CONTENT_TYPE, media_type);
        *response.body_mut() = Body::from(body);
    }
    no_store(response.headers_mut());
    // Answers hold text that users wrote: no browser may guess another type for them.
    let exact = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, exact);
    if let Ok(value) = HeaderValue::try_from(id) {
        response.headers_mut().insert(REQUEST_ID.clone(), value);
    }
    response
}

/// Keeps answers out of caches, unless a handler chose otherwise: they hold text that users wrote.
/// The caller may keep an answer with an `ETag`, and ask for it again.
fn no_store(headers: &mut HeaderMap) {
    let kept = headers.contains_key(header::ETAG);
    let rule = if kept { "private, no-cache" } else { "no-store" };
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static(rule));
}

/// Returns the client's request id, if it sent one that is safe to log and to send back.
fn client_id(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(&REQUEST_ID)?.to_str().ok()?;
    let safe = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    (safe && (1..=MAX_REQUEST_ID).contains(&text.len())).then_some(text)
}

fn server_id(api: &Api) -> String {
    api.entropy.uuid(api.clock.now()).to_string()
}

/// Returns the thread that the path names, if its route has one and the id is well-formed.
fn thread_of(route: &str, path: &str) -> Option<ThreadId> {
    let at = route.split('/').position(|part| part == "{threadId}")?;
    ThreadId::parse(path.split('/').nth(at)?).ok()
}

/// Returns a method as a label of bounded cardinality.
pub(super) fn label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_safe_request_ids_are_taken_from_clients() {
        let id = |text: &str| {
            let value = HeaderValue::from_bytes(text.as_bytes()).unwrap();
            let headers = HeaderMap::from_iter([(REQUEST_ID.clone(), value)]);
            client_id(&headers).map(str::to_owned)
        };
        assert_eq!(id("a-B_9.z").as_deref(), Some("a-B_9.z"));
        for bad in ["", "a b", "a\tb", "ü", "a\"b", &"x".repeat(129)] {
            assert_eq!(id(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_thread_of_a_path_is_found_by_its_route() {
        let route = "/threads/{threadId}/events";
        assert_eq!(thread_of(route, "/threads/t1/events").unwrap().as_str(), "t1");
        assert_eq!(thread_of(route, "/threads/%0a/events"), None);
        assert_eq!(thread_of("/threads", "/threads"), None);
    }
}
