//! The two versions of HTTP on one port, and the limits of a connection in each.
//!
//! A connection that begins with the preface of HTTP/2 (RFC 9113, 3.4) speaks HTTP/2. Proxies do this
//! without TLS when they are configured to (prior knowledge). Every other connection speaks HTTP/1.1.

use std::time::Duration;

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderValue, header};
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto::Builder;

use super::multiplex::{PIECE, Streams};

/// The largest read buffer of an HTTP/1.1 connection, and in both versions the largest head of a
/// request, in bytes.
pub(super) const MAX_HEAD: u16 = 16 * 1024;
/// The concurrent requests on one HTTP/2 connection, the least that RFC 9113 (5.1.2) recommends: a
/// browser's page follows a few threads, and a proxy that needs more opens another connection.
pub(super) const MAX_STREAMS: u32 = 100;
/// The bytes of one body that a peer may send ahead of its reader: enough to keep a proxy nearby
/// sending, and little to keep in memory.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The bytes that a peer may send ahead for all bodies of a connection together: a few unread ones
/// do not hold up the others.
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// The requests that a peer may reset before the server accepts them; one more ends its connection.
/// Opening and resetting requests at once costs a peer nothing (CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 20;
/// The requests that the server may reset for protocol errors before it ends their connection: each
/// costs it more than its peer (RUSTSEC-2024-0003).
const MAX_ERROR_RESETS: usize = 100;

/// Makes a server for connections of both versions. A request's head must come within `head`; a
/// reserved connection serves one request.
pub(super) fn builder(streams: Streams, head: Duration, reserved: bool) -> Builder<Streams> {
    let mut builder = Builder::new(streams);
    // `pace` enforces the time limits of heads and of idle connections.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .keep_alive(!reserved)
        .max_buf_size(MAX_HEAD.into());
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(if reserved { 1 } else { MAX_STREAMS })
        .max_header_list_size(MAX_HEAD.into())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(PIECE)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_ERROR_RESETS)
        // An unfinished head blocks its connection, and with it the answer to a ping.
        .keep_alive_interval(head)
        .keep_alive_timeout(head);
    builder
}

/// Gives an HTTP/2 request the `Host` that its `:authority` stands for (RFC 9113, 8.3.1): the code
/// behind this reads `Host`.
pub(super) fn name_host<B>(request: &mut Request<B>) {
    let authority = request.uri().authority().map(Authority::as_str);
    let host = authority.and_then(|text| HeaderValue::from_str(text).ok());
    if let Some(host) = host.filter(|_| !request.headers().contains_key(header::HOST)) {
        request.headers_mut().insert(header::HOST, host);
    }
}
