//! Server-sent events: one thread's journal from a cursor, and all threads live.
//!
//! No library writes the frames: ids are digits and event names come from a fixed set, so no user
//! text can break a frame.

mod chunk;
mod cursor;
mod frame;
#[cfg(test)]
mod fuzz;
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
use futures_util::StreamExt;
use tokio::time::{Instant, interval_at};
use tokio_stream::Stream;

use super::Api;
use super::auth::Caller;
use super::keys::Keys;
use super::problem::Problem;
use super::settings::HttpMetrics;
use crate::model::Clock;
use crate::observe::{Pool, Reservation};
use crate::runtime::RuntimeError;

/// The longest silence on a stream: below the 15 s that clients are promised, with room for a slow
/// network.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The approximate memory of a stream while nothing waits to be sent, in bytes: its connection, its
/// task, its place among the followers.
const IDLE_STREAM: usize = 16 << 10;

/// Counts an open stream, and the memory that it holds, for as long as it lives.
#[derive(Debug)]
struct OpenStream {
    metrics: Arc<dyn HttpMetrics>,
    memory: Reservation,
}

impl OpenStream {
    /// Counts a new stream; refuses it if there is no memory for it.
    fn new(api: &Api, caller: &Caller) -> Result<Self, Problem> {
        let memory = api.handle.memory();
        let memory = memory.reserve(Pool::Streams, caller.namespace(), IDLE_STREAM);
        let memory = memory.map_err(RuntimeError::from)?;
        let metrics = Arc::clone(&api.settings.metrics);
        metrics.streams(1);
        Ok(Self { metrics, memory })
    }

    /// Reserves memory for this many held bytes.
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

/// Returns the response that carries a stream. It sends a comment after each [`KEEP_ALIVE`] of
/// silence and ends once the caller's key or token is no longer accepted.
fn answer(
    (keys, clock): (&Keys, &Arc<dyn Clock>),
    caller: Caller,
    chunks: impl Stream<Item = Bytes> + Send + 'static,
) -> Response {
    let (keys, clock) = (keys.clone(), Arc::clone(clock));
    let revoked = Box::pin(async move { caller.revoked(&keys, clock.as_ref()).await });
    let headers = [
        (header::CONTENT_TYPE.as_str(), "text/event-stream"),
        (header::CACHE_CONTROL.as_str(), "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
    ];
    let alive = alive(chunks).map(Ok::<_, Infallible>);
    (headers, Body::from_stream(alive.take_until(revoked))).into_response()
}

/// Adds a comment each time that no chunk came for [`KEEP_ALIVE`].
fn alive(chunks: impl Stream<Item = Bytes>) -> impl Stream<Item = Bytes> {
    let silence = interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
    tokio_stream::StreamExt::timeout_repeating(chunks, silence)
        .map(|chunk| chunk.unwrap_or(Bytes::from_static(frame::KEEP_ALIVE.as_bytes())))
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::stream;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_says_after_each_silence_that_it_lives() {
        let sent = stream::iter([Bytes::from("a"), Bytes::from("b")]);
        let mut alive = pin!(alive(sent.chain(stream::pending())));
        for chunk in ["a", "b"] {
            assert_eq!(alive.next().await.unwrap(), chunk);
        }
        for silences in 1..=3 {
            let began = Instant::now();
            assert_eq!(alive.next().await.unwrap(), frame::KEEP_ALIVE, "{silences}");
            assert_eq!(began.elapsed(), KEEP_ALIVE, "{silences}");
        }
    }
}
