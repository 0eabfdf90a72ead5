//! Server-sent events: one thread's journal from a cursor, and all threads live.
//!
//! The bytes are written here and not by a library: ids are digits and event names come from a
//! fixed set, so that nothing a user wrote can break a frame.

mod chunk;
mod cursor;
mod frame;
pub(super) mod live;
mod reader;
pub(super) mod thread;
mod turn;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt};

use super::Api;
use super::auth::Caller;
use super::keys::Keys;
use super::problem::Problem;
use super::settings::HttpMetrics;
use crate::model::Clock;
use crate::observe::{Pool, Reservation};
use crate::runtime::RuntimeError;

/// Longest silence on a stream: below the 15 s that clients are promised, with room for a slow network.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// About what a stream takes in memory while nothing waits to be sent, in bytes: its connection, its
/// task, its place among the followers.
const IDLE_STREAM: usize = 16 << 10;

/// Counts an open stream, and what it holds, for as long as it lives.
#[derive(Debug)]
struct OpenStream {
    metrics: Arc<dyn HttpMetrics>,
    memory: Reservation,
}

impl OpenStream {
    /// Refuses a stream for which there is no memory.
    fn new(api: &Api) -> Result<Self, Problem> {
        let memory = api.handle.memory().reserve(Pool::Streams, IDLE_STREAM);
        let memory = memory.map_err(RuntimeError::from)?;
        let metrics = Arc::clone(&api.settings.metrics);
        metrics.streams(1);
        Ok(Self { metrics, memory })
    }

    /// Holds that many bytes until they are sent.
    fn holds(&mut self, bytes: usize) -> Result<(), RuntimeError> {
        self.memory.set(IDLE_STREAM);
        Ok(self.memory.grow(bytes)?)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.metrics.streams(-1);
    }
}

/// The answer that carries a stream, which also ends once the caller's key or token is not taken any
/// more.
fn answer(
    (keys, clock): (&Keys, &Arc<dyn Clock>),
    caller: Caller,
    chunks: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static,
) -> Response {
    let (keys, clock) = (keys.clone(), Arc::clone(clock));
    let revoked = Box::pin(async move { caller.revoked(&keys, clock.as_ref()).await });
    let headers = [
        (header::CONTENT_TYPE.as_str(), "text/event-stream"),
        (header::CACHE_CONTROL.as_str(), "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
    ];
    (headers, Body::from_stream(chunks.take_until(revoked))).into_response()
}
