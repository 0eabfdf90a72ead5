//! Runs requests on the runtime that drives threads, not on the one that serves connections. So the
//! answers to probes do not wait for anything that a client wrote.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::problem::{NOT_READY, Problem};

/// The routes that are answered from memory at once, where the connection is served.
const HERE: [&str; 2] = ["/health/live", "/health/ready"];

/// Hands a request over to the workers and waits for their answer.
pub(super) async fn apart(State(api): State<Api>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str);
    if HERE.contains(&route) {
        return next.run(request).await;
    }
    let route = Arc::from(route);
    let answered = api.handle.apart(route, next.run(request)).await;
    answered.unwrap_or_else(|| Problem::new(&NOT_READY, "this server has ended").into_response())
}
