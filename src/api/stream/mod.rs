//! Server-sent events: one thread's journal from a cursor, and all threads live.
//!
//! The bytes are written here and not by a library: ids are digits and event names come from a
//! fixed set, so that nothing a user wrote can break a frame.

mod cursor;
mod frame;
pub(super) mod live;
mod reader;
pub(super) mod thread;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::Stream;

use super::settings::HttpMetrics;

/// Longest silence on a stream: below the 15 s that clients are promised, with room for a slow network.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Counts an open stream for as long as it lives.
#[derive(Debug)]
struct OpenStream(Arc<dyn HttpMetrics>);

impl OpenStream {
    fn new(metrics: &Arc<dyn HttpMetrics>) -> Self {
        metrics.streams(1);
        Self(Arc::clone(metrics))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.streams(-1);
    }
}

/// The answer that carries a stream.
fn answer(chunks: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static) -> Response {
    let headers = [
        (header::CONTENT_TYPE.as_str(), "text/event-stream"),
        (header::CACHE_CONTROL.as_str(), "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
    ];
    (headers, Body::from_stream(chunks)).into_response()
}
