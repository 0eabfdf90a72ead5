//! The HTTP client of steps and webhooks: its policy, its timeouts, its pool, its bounds.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Uri;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use reqwest::header::{ACCEPT, HeaderValue, USER_AGENT};
use reqwest::{Body, Response, ResponseBuilderExt as _};

use super::connect::{self, Connector};
use super::egress::EgressPolicy;
use super::names::{self, Names};
use super::request::Outgoing;
use crate::model::Namespace;

/// The longest silence of a peer that is still connected. Steps have their own `timeout`; this one
/// only keeps an attempt without a timeout from waiting for ever.
pub(super) const SILENCE_TIMEOUT: Duration = Duration::from_hours(1);

/// The time for which an idle connection is kept: below the 60 s after which common servers close
/// theirs.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// The number of idle connections kept per host.
const POOL_MAX_IDLE_PER_HOST: usize = 32;

/// The largest head of an answer, in bytes: about as much as servers allow in requests. It is in
/// memory before anything can be asked of it, in every attempt that waits for one.
pub(super) const MAX_HEAD: usize = 64 << 10;
/// The largest number of headers of an answer: their bytes are the bound that matters.
const MAX_HEADERS: usize = 512;
/// The number of bytes of an answer that a peer may send over HTTP/2 before they are read.
const WINDOW: u32 = 128 << 10;
/// The number of such bytes of all answers on one connection.
const CONNECTION_WINDOW: u32 = 1 << 20;

/// The `User-Agent` of requests whose step sets none.
const AGENT: &str = concat!("rethread/", env!("CARGO_PKG_VERSION"));

/// A client that connects only where the egress policy allows, follows no redirects and uses no
/// proxy. URLs must pass [`EgressPolicy::judge`] before they are given to it.
#[derive(Debug, Clone)]
pub(super) struct Client {
    inner: legacy::Client<Connector, Full<Bytes>>,
}

/// The error of a request without an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    /// The request cannot be written.
    #[error("it cannot be written")]
    Unwritable(#[source] Box<dyn Error + Send + Sync>),
    /// No connection could be made.
    #[error("no connection could be made")]
    Connect(#[source] legacy::Error),
    /// The connection broke, or what came is no answer.
    #[error("no answer came")]
    Broke(#[source] legacy::Error),
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
    ) -> Result<Self, rustls::Error> {
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(POOL_MAX_IDLE_PER_HOST)
            .http1_max_buf_size(MAX_HEAD)
            .http1_max_headers(MAX_HEADERS)
            .http2_max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
            .http2_initial_stream_window_size(WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW);
        Ok(Self { inner: builder.build(connect::connector(policy, names)?) })
    }

    /// Sends a request on behalf of a namespace; returns once the head of the answer has come.
    pub(super) async fn send(
        &self,
        namespace: &Namespace,
        request: Outgoing,
    ) -> Result<Response, Unanswered> {
        let url = request.url.clone();
        let request = build(request)?;
        let answer = names::within(namespace.clone(), self.inner.request(request));
        let Ok(answer) = tokio::time::timeout(SILENCE_TIMEOUT, answer).await else {
            let silent = io::Error::new(io::ErrorKind::TimedOut, "nothing was heard for an hour");
            return Err(Unanswered::Silent(silent));
        };
        let answer = answer.map_err(|error| {
            if error.is_connect() { Unanswered::Connect(error) } else { Unanswered::Broke(error) }
        })?;
        let (mut head, body) = answer.into_parts();
        // The URL of an answer is a part that has no other constructor.
        let named = hyper::Response::builder().url(url).body(());
        if let Ok(named) = named {
            head.extensions.extend(named.into_parts().0.extensions);
        }
        Ok(hyper::Response::from_parts(head, Body::wrap(body)).into())
    }
}

fn build(request: Outgoing) -> Result<hyper::Request<Full<Bytes>>, Unanswered> {
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
