//! The outermost layers: request ids, a span and a log line each, metrics, and the bodies of problem
//! documents. A panic of a handler ends here as a 500.
//!
//! They must never log a query string, which may hold a stream token.

use std::any::Any;
use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tower_http::request_id::{MakeRequestId, RequestId};
use tracing::Span;

use super::Api;
use super::problem::{MEDIA_TYPE, NOT_READY, Problem, QUOTA_EXCEEDED, TOO_MANY_WRONG_KEYS};
use super::settings::Answered;
use crate::model::ThreadId;
use crate::runtime::Cause;

/// The longest request id taken from a client, in characters.
const MAX_REQUEST_ID: usize = 128;
/// The header that carries request ids.
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Removes a client's request id that is not safe to log and to send back.
pub(super) fn drop_unsafe_id(mut request: Request) -> Request {
    if request.headers().get(&REQUEST_ID).is_some_and(|id| !is_safe_id(id)) {
        request.headers_mut().remove(&REQUEST_ID);
    }
    request
}

fn is_safe_id(id: &HeaderValue) -> bool {
    let safe = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    (1..=MAX_REQUEST_ID).contains(&id.len()) && id.as_bytes().iter().all(safe)
}

/// Makes the id of a request that came without one.
impl MakeRequestId for Api {
    fn make_request_id<B>(&mut self, _: &axum::http::Request<B>) -> Option<RequestId> {
        let id = self.entropy.uuid(self.clock.now()).to_string();
        HeaderValue::try_from(id).ok().map(RequestId::new)
    }
}

/// Returns the id that a request has by now.
fn id_of(headers: &HeaderMap) -> &str {
    headers.get(&REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default()
}

/// Makes the span of a request, which everything that is logged of it and of its answer is within.
pub(super) fn span(request: &Request) -> Span {
    let route = request.extensions().get().map_or("other", MatchedPath::as_str);
    let span = tracing::info_span!(
        "request",
        request_id = %id_of(request.headers()),
        method = label(request.method()),
        route,
        thread_id = tracing::field::Empty,
    );
    if let Some(thread) = thread_of(route, request.uri().path()) {
        span.record("thread_id", thread.as_str());
    }
    span
}

/// Writes one line per request: loud for faults of this server, quiet for success, and for crowds.
pub(super) fn log(response: &Response, elapsed: Duration, _: &Span) {
    let status = response.status().as_u16();
    let elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    let is_loud = status >= 400 && !is_told_elsewhere(response);
    if !is_loud || LOUD.check().is_err() {
        tracing::debug!(status, elapsed_us, "answered");
    } else if status >= 500 {
        let (code, cause) = why(response);
        tracing::warn!(status, elapsed_us, code, cause, "answered");
    } else {
        tracing::info!(status, elapsed_us, "answered");
    }
}

/// Returns the code of a failed request's answer, and what is behind it; a page has no code.
fn why(response: &Response) -> (Option<&str>, Option<&str>) {
    let problem = response.extensions().get::<Arc<Problem>>();
    let cause = response.extensions().get::<Cause>();
    (
        problem.map(|problem| problem.kind().code),
        cause
            .map(|Cause(cause)| cause.as_str())
            .or_else(|| problem.map(|problem| problem.detail())),
    )
}

/// The lines about failed requests in a second, and at once: a crowd of them, which needs no key,
/// must not fill a disk. The metrics count all.
const LOUD_LINES: (NonZeroU32, NonZeroU32) =
    (NonZeroU32::new(20).unwrap(), NonZeroU32::new(200).unwrap());
static LOUD: LazyLock<DefaultDirectRateLimiter> = LazyLock::new(|| {
    let (each_second, at_once) = LOUD_LINES;
    RateLimiter::direct(Quota::per_second(each_second).allow_burst(at_once))
});

/// Returns whether this is a refusal that comes in crowds, or at each probe, and that another module
/// logs, once a second at most or when it begins.
fn is_told_elsewhere(response: &Response) -> bool {
    let problem = response.extensions().get::<Arc<Problem>>();
    let kinds = [&QUOTA_EXCEEDED, &TOO_MANY_WRONG_KEYS, &NOT_READY];
    problem.is_some_and(|problem| kinds.contains(&problem.kind()))
}

/// Answers a request whose handler panicked. The hook of panics logs where.
pub(super) fn panicked(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a handler panicked");
    Problem::internal().into_response()
}

/// Completes the answer to a request, and counts it.
///
/// The count is not a matter of the layer that logs: what that one calls sees an answer without its
/// request, hence without a route.
pub(super) async fn complete(State(api): State<Api>, request: Request, next: Next) -> Response {
    let started = api.clock.monotonic();
    let (method, id) = (label(request.method()), id_of(request.headers()).to_owned());
    let path = request.uri().path().to_owned();
    let version = request.version();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let mut response = finish(next.run(request).await, &path, &id);
    if version < Version::HTTP_2 && api.handle.is_leaving() {
        // The next request then goes to another replica.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    api.settings.metrics.answered(&Answered {
        method,
        route: matched.as_ref().map_or("other", MatchedPath::as_str),
        status: response.status().as_u16(),
        elapsed: api.clock.monotonic().saturating_sub(started),
    });
    response
}

/// Writes the body of a problem, and the headers that every answer has.
fn finish(mut response: Response, path: &str, id: &str) -> Response {
    if let Some(problem) = response.extensions().get::<Arc<Problem>>() {
        let body = serde_json::to_vec(&problem.document(path, id)).unwrap_or_default();
        response.headers_mut().remove(header::CONTENT_LENGTH);
        let media_type = HeaderValue::from_static(MEDIA_TYPE);
        response.headers_mut().insert(header::CONTENT_TYPE, media_type);
        *response.body_mut() = Body::from(body);
    }
    no_store(response.headers_mut());
    // Answers hold text that users wrote: no browser may guess another type for them.
    let exact = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, exact);
    response
}

/// Keeps answers out of caches, unless a handler chose otherwise: they hold text that users wrote.
/// The caller may keep an answer with an `ETag`, and ask for it again.
fn no_store(headers: &mut HeaderMap) {
    let kept = headers.contains_key(header::ETAG);
    let rule = if kept { "private, no-cache" } else { "no-store" };
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static(rule));
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
        let safe = |text: &str| is_safe_id(&HeaderValue::from_bytes(text.as_bytes()).unwrap());
        assert!(safe("a-B_9.z"));
        for bad in ["", "a b", "a\tb", "ü", "a\"b", &"x".repeat(129)] {
            assert!(!safe(bad), "{bad:?}");
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
