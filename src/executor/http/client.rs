//! The HTTP client of steps and webhooks: its policy, its timeouts, the connections that it keeps.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Uri;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use reqwest::{Body, Response, ResponseBuilderExt as _};
use tower::ServiceExt as _;

use super::connect::{self, Connector};
use super::connection::{Connection, Failed, Outbound};
use super::egress::EgressPolicy;
use super::idle::{Idle, Keep as _, Key};
use super::names::{self, Names};
use super::request::Outgoing;
use crate::model::Namespace;

/// The longest silence of a peer that is still connected. Steps have their own `timeout`; this one
/// only keeps an attempt without a timeout from waiting for ever.
pub(super) const SILENCE_TIMEOUT: Duration = Duration::from_hours(1);

/// The largest head of a request or of an answer over a connection of HTTP/1.1 that is kept, in bytes: its
/// buffers stay as large as the largest head.
const KEPT_HEAD: usize = 16 << 10;

/// The `User-Agent` of requests whose step sets none.
const AGENT: &str = concat!("rethread/", env!("CARGO_PKG_VERSION"));

/// A client that connects only where the egress policy allows, follows no redirects and uses no
/// proxy. URLs must pass [`EgressPolicy::judge`] before they are given to it.
#[derive(Debug, Clone)]
pub(super) struct Client {
    connector: Connector,
    idle: Arc<Idle<Connection>>,
}

/// The error of a request without an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    /// The request cannot be written.
    #[error("it cannot be written")]
    Unwritable(#[source] Box<dyn Error + Send + Sync>),
    /// No connection could be made.
    #[error("no connection could be made")]
    Connect(#[source] Box<dyn Error + Send + Sync>),
    /// The connection broke, or what came is no answer.
    #[error("no answer came")]
    Broke(#[source] hyper::Error),
    /// Nothing came for long.
    #[error("no answer came")]
    Silent(#[source] io::Error),
}

impl Client {
    /// Makes a client. A process-wide rustls provider must be installed. Without certificates on
    /// the machine it works for `http`, and every `https` request fails.
    pub(super) fn new(
        policy: &Arc<EgressPolicy>,
        names: &Arc<Names>,
        idle: Arc<Idle<Connection>>,
    ) -> Result<Self, rustls::Error> {
        Ok(Self { connector: connect::connector(policy, names)?, idle })
    }

    /// Returns the same client, with connections kept in another set.
    pub(super) fn keeping(self, idle: Arc<Idle<Connection>>) -> Self {
        Self { idle, ..self }
    }

    /// Sends a request on behalf of a namespace; returns once the head of the answer has come.
    pub(super) async fn send(
        &self,
        namespace: &Namespace,
        request: Outgoing,
    ) -> Result<Response, Unanswered> {
        let url = request.url.clone();
        let request = build(request)?;
        let answer = names::within(namespace.clone(), self.ask(namespace, request));
        let Ok(answer) = tokio::time::timeout(SILENCE_TIMEOUT, answer).await else {
            let silent = io::Error::new(io::ErrorKind::TimedOut, "nothing was heard for an hour");
            return Err(Unanswered::Silent(silent));
        };
        let (mut head, body) = answer?.into_parts();
        // The URL of an answer is a part that has no other constructor.
        let named = hyper::Response::builder().url(url).body(());
        if let Ok(named) = named {
            head.extensions.extend(named.into_parts().0.extensions);
        }
        Ok(hyper::Response::from_parts(head, Body::wrap(body)).into())
    }

    /// Sends a request over a connection that was kept, or else over a new one. The other side may have
    /// closed one that was kept: then it is sent over the next.
    async fn ask(
        &self,
        namespace: &Namespace,
        mut request: Outbound,
    ) -> Result<hyper::Response<Held>, Unanswered> {
        let uri = request.uri().clone();
        let end = |uri: &Uri| Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?));
        let key = (namespace.clone(), end(&uri).unwrap_or_default());
        let small = head_bytes(request.headers(), &uri) <= KEPT_HEAD;
        while let Some(mut connection) = self.idle.take(&key) {
            match connection.send(&uri, request).await {
                Ok(answer) => return Ok(self.hold((key, small), connection, answer)),
                Err(Failed::Unsent(unsent, _)) => request = *unsent,
                Err(Failed::Broke(error)) => return Err(Unanswered::Broke(error)),
            }
        }
        // It is large, and most requests need none.
        let mut connection = Box::pin(self.connect(&uri)).await?;
        if let Some(shared) = connection.share() {
            self.idle.keep(&key, shared);
        }
        match connection.send(&uri, request).await {
            Ok(answer) => Ok(self.hold((key, small), connection, answer)),
            Err(Failed::Unsent(_, error) | Failed::Broke(error)) => Err(Unanswered::Broke(error)),
        }
    }

    async fn connect(&self, uri: &Uri) -> Result<Connection, Unanswered> {
        let stream = self.connector.clone().oneshot(uri.clone()).await;
        let begun = Connection::begin(stream.map_err(Unanswered::Connect)?).await;
        begun.map_err(Unanswered::Broke)
    }

    /// Ties an answer to its connection, which is kept once the answer has come to its end.
    fn hold(
        &self,
        (key, small): (Key, bool),
        connection: Connection,
        answer: hyper::Response<Incoming>,
    ) -> hyper::Response<Held> {
        let small = small && head_bytes(answer.headers(), &Uri::default()) <= KEPT_HEAD;
        // Of a connection of many requests the set has a share already, and no head stays with it.
        let again = small && connection.share().is_none();
        let idle = again.then(|| Arc::clone(&self.idle));
        answer.map(|body| {
            let mut held = Held { body, connection: Some(connection), key, idle };
            held.release_at_end();
            held
        })
    }
}

/// The body of an answer, and the connection over which it comes. If it is dropped before its end, the
/// connection is closed.
struct Held {
    body: Incoming,
    connection: Option<Connection>,
    key: Key,
    /// The set that keeps the connection afterwards, if it may be kept.
    idle: Option<Arc<Idle<Connection>>>,
}

impl Held {
    fn release_at_end(&mut self) {
        if self.body.is_end_stream() {
            self.release();
        }
    }

    fn release(&mut self) {
        if let (Some(connection), Some(idle)) = (self.connection.take(), self.idle.take()) {
            idle.keep(&self.key, connection);
        }
    }
}

impl hyper::body::Body for Held {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(_)) => self.release_at_end(),
            Some(Err(_broken)) => self.connection = None,
            None => self.release(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Returns the bytes of the names and values of a head.
fn head_bytes(headers: &HeaderMap, uri: &Uri) -> usize {
    let one = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    headers.iter().map(one).sum::<usize>() + path
}

fn build(request: Outgoing) -> Result<Outbound, Unanswered> {
    let uri = Uri::try_from(request.url.as_str());
    let uri = uri.map_err(|error| Unanswered::Unwritable(error.into()))?;
    let mut built = hyper::Request::new(Full::new(request.body.unwrap_or_default()));
    *built.method_mut() = request.method;
    *built.uri_mut() = uri;
    *built.headers_mut() = request.headers;
    for (name, value) in [(ACCEPT, "*/*"), (USER_AGENT, AGENT)] {
        built.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    Ok(built)
}
