//! One connection of the HTTP client, of either version of HTTP.
//!
//! Its tasks end with the last handle to it: whoever is connected cannot keep it open by not reading
//! what it was sent.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::header::{HOST, HeaderValue};
use hyper::rt::Executor;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::connect::Connection as _;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::connect::Stream;
use super::idle::Keep;

/// The largest head of an answer, in bytes: about as much as servers allow in requests. It is in
/// memory before anything can be asked of it, in every attempt that waits for one.
pub(super) const MAX_HEAD: usize = 64 << 10;
/// The largest number of headers of an answer: their bytes are the bound that matters.
const MAX_HEADERS: usize = 512;
/// The number of bytes of an answer that a peer may send over HTTP/2 before they are read.
const WINDOW: u32 = 128 << 10;
/// The number of such bytes of all answers on one connection.
const CONNECTION_WINDOW: u32 = 1 << 20;

/// A request as it goes out.
pub(super) type Outbound = Request<Full<Bytes>>;

/// A handle to a connection. The sender goes before the guard, so that a connection which is free says
/// goodbye before it is cut.
pub(super) struct Connection {
    sender: Sender,
    /// Ends the connection's tasks with the last handle.
    life: Arc<DropGuard>,
}

enum Sender {
    /// One request at a time.
    One(http1::SendRequest<Full<Bytes>>),
    /// Many at a time.
    Many(http2::SendRequest<Full<Bytes>>),
}

/// A request that got no answer.
pub(super) enum Failed {
    /// The connection was closed before anything of the request was sent.
    Unsent(Box<Outbound>, hyper::Error),
    /// The connection broke.
    Broke(hyper::Error),
}

impl Connection {
    /// Begins to speak HTTP on a stream.
    pub(super) async fn begin(stream: Stream) -> Result<Self, hyper::Error> {
        let over = CancellationToken::new();
        let (tasks, life) = (Tied(over.clone()), Arc::new(over.drop_guard()));
        let sender = if stream.connected().is_negotiated_h2() {
            let mut builder = http2::Builder::new(tasks.clone());
            builder
                .timer(TokioTimer::new())
                .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
                .initial_stream_window_size(WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW);
            let (sender, connection) = builder.handshake(stream).await?;
            tasks.execute(connection);
            Sender::Many(sender)
        } else {
            let mut builder = http1::Builder::new();
            builder.max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS);
            let (sender, connection) = builder.handshake(stream).await?;
            tasks.execute(connection);
            Sender::One(sender)
        };
        Ok(Self { sender, life })
    }

    /// Sends a request to a URI; returns once the head of the answer has come.
    pub(super) async fn send(
        &mut self,
        uri: &Uri,
        mut request: Outbound,
    ) -> Result<Response<Incoming>, Failed> {
        let sent = match &mut self.sender {
            Sender::One(sender) => {
                address(uri, &mut request);
                sender.try_send_request(request).await
            }
            Sender::Many(sender) => {
                request.uri_mut().clone_from(uri);
                sender.try_send_request(request).await
            }
        };
        sent.map_err(Failed::from)
    }
}

impl Keep for Connection {
    fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::One(sender) => sender.is_closed(),
            Sender::Many(sender) => sender.is_closed(),
        }
    }

    fn is_ready(&self) -> bool {
        match &self.sender {
            Sender::One(sender) => sender.is_ready(),
            Sender::Many(sender) => sender.is_ready(),
        }
    }

    fn share(&self) -> Option<Self> {
        let Sender::Many(sender) = &self.sender else { return None };
        Some(Self { sender: Sender::Many(sender.clone()), life: Arc::clone(&self.life) })
    }
}

impl From<TrySendError<Outbound>> for Failed {
    fn from(mut error: TrySendError<Outbound>) -> Self {
        match error.take_message() {
            Some(request) => Self::Unsent(Box::new(request), error.into_error()),
            None => Self::Broke(error.into_error()),
        }
    }
}

/// Addresses a request as HTTP/1.1 does: the path in its first line, the host in a header.
fn address(uri: &Uri, request: &mut Outbound) {
    let path = uri.path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    let host = uri.host().unwrap_or_default();
    let text = uri.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    // The host of a URI is always a value of a header.
    if let Ok(value) = HeaderValue::try_from(text) {
        request.headers_mut().entry(HOST).or_insert(value);
    }
}

/// Runs the tasks of a connection until it is over. A task is polled once more then, so that it can
/// say goodbye if that takes no wait.
#[derive(Clone)]
struct Tied(CancellationToken);

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Tied {
    fn execute(&self, task: F) {
        let over = self.0.clone().cancelled_owned();
        TokioExecutor::new().execute(async move {
            tokio::select! {
                biased;
                ended = task => drop(ended),
                () = over => {}
            }
        });
    }
}
