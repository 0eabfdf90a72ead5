//! `GET /stream`: streams events of all threads as this replica learns of them.
//!
//! The stream is live only: there is no cursor, so a reader that is too slow misses events, and is
//! told.

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use futures_util::stream::unfold;
use tokio_stream::Stream;

use super::chunk::Chunk;
use super::{OpenStream, answer, frame};
use crate::api::Api;
use crate::api::auth::Caller;
use crate::api::ops::threads::parse_status;
use crate::api::problem::Problem;
use crate::api::query::{FromQuery, Params, QueryString};
use crate::model::ThreadStatus;
use crate::runtime::{Handle, HeldEvent, LiveEvent, LiveEvents};

/// Which events to stream.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct LiveQuery {
    /// Only threads of this workflow.
    workflow: Option<String>,
    /// Only events after which the thread has this status.
    status: Option<ThreadStatus>,
}

impl FromQuery for LiveQuery {
    fn read(query: &mut Params) -> Self {
        Self { workflow: query.text("workflow"), status: query.parsed("status", parse_status) }
    }
}

impl LiveQuery {
    fn wants(&self, event: &LiveEvent) -> bool {
        self.workflow.as_deref().is_none_or(|name| name == event.workflow.as_ref())
            && self.status.is_none_or(|status| status == event.status)
    }
}

/// Stream events of all threads
///
/// Live only, without ids: what happens while nobody is connected is not sent later. A reader
/// that is too slow misses events and is told by a comment line.
#[utoipa::path(
    get, path = "/stream", operation_id = "streamAll", tag = "stream",
    security(("bearer" = ["reader"])),
    params(LiveQuery),
    responses((status = 200, description = "Server-sent events without ids, each with an `Event` as `data`",
               body = String, content_type = "text/event-stream"))
)]
pub(in crate::api) async fn stream(
    State(api): State<Api>,
    caller: Caller,
    QueryString(query): QueryString<LiveQuery>,
) -> Result<Response, Problem> {
    let open = OpenStream::new(&api, &caller)?;
    let reader = LiveReader {
        events: api.handle.live(caller.namespace()),
        handle: api.handle,
        query,
        first: true,
        chunk: Chunk::default(),
        open,
    };
    Ok(answer((&api.settings.keys, &api.clock), caller, reader.into_stream()))
}

struct LiveReader {
    handle: Handle,
    events: LiveEvents,
    query: LiveQuery,
    /// Whether no event was sent yet.
    first: bool,
    /// The bytes to send next.
    chunk: Chunk,
    open: OpenStream,
}

impl LiveReader {
    fn into_stream(self) -> impl Stream<Item = Bytes> + Send {
        unfold(self, async |mut reader| {
            let chunk = reader.next().await?;
            Some((chunk, reader))
        })
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.chunk.take() {
                return Some(bytes);
            }
            let found = tokio::select! {
                biased;
                () = self.handle.shutting_down() => return None,
                found = self.events.next() => found,
            };
            match found {
                Ok(live) if self.query.wants(&live) => self.show(live),
                Ok(_) => {}
                Err(count) => frame::missed(&mut self.chunk.text, count),
            }
        }
    }

    /// Sends an event. An event counts as missed if there is no memory to hold it until it is sent.
    fn show(&mut self, live: LiveEvent) {
        if self.open.holds(live.event.json.as_str().len()).is_err() {
            return frame::missed(&mut self.chunk.text, 1);
        }
        frame::live(&mut self.chunk.text, &live.event, std::mem::take(&mut self.first));
        self.chunk.data(HeldEvent::Own(live.event));
    }
}
