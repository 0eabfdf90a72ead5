//! The HTTP server: connections, their limits, and an orderly end.
//!
//! HTTP/1.1 by hand rather than by `axum::serve`, which has neither a bound on connections nor a
//! timeout for headers, and lets read buffers grow without shrinking again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::auth::PeerAddress;
use super::progress::Progress;

/// Time for a request's headers to arrive, and for a kept connection to be used again: longer
/// than the pools of common clients and proxies (60 s) keep theirs, so that they close first.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);
/// Largest read buffer of a connection, and with it the largest head of a request, in bytes.
const READ_BUFFER: usize = 16 * 1024;
/// Silence after which a peer is probed; three probes without an answer end the connection.
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(10);
/// Time between two probes of a silent peer.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(5);
/// Probes of a silent peer.
const KEEP_ALIVE_PROBES: u32 = 3;
/// Longest that sent bytes may stay unacknowledged: a vanished reader must not hold a stream.
const UNACKNOWLEDGED: Duration = Duration::from_mins(1);
/// Pause after a failed accept (out of file descriptors): trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The server's limits.
#[derive(Debug, Clone, Copy)]
pub struct ServeSettings {
    /// Most connections at once; more wait in the kernel's queue.
    pub max_connections: usize,
    /// How long open requests may take to end once the server shuts down.
    pub drain: Duration,
}

impl Default for ServeSettings {
    fn default() -> Self {
        Self { max_connections: 10_000, drain: Duration::from_secs(10) }
    }
}

/// Serves until `shutdown` is cancelled and every connection has ended, or been given up after
/// the drain.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    settings: ServeSettings,
    shutdown: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(settings.max_connections));
    let (connections, give_up) = (TaskTracker::new(), CancellationToken::new());
    loop {
        let (stream, peer, slot) = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        let (app, shutdown, give_up) = (app.clone(), shutdown.clone(), give_up.clone());
        connections.spawn(async move {
            tokio::select! {
                () = give_up.cancelled() => {}
                () = connection((stream, peer), app, shutdown) => {}
            }
            drop(slot);
        });
    }
    drop(listener);
    drain(&connections, &give_up, settings.drain).await;
}

/// Waits for the connections to end, and gives up those that take longer than `limit`.
async fn drain(connections: &TaskTracker, give_up: &CancellationToken, limit: Duration) {
    connections.close();
    if tokio::time::timeout(limit, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "connections are given up");
        give_up.cancel();
        connections.wait().await;
    }
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (TcpStream, PeerAddress, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed, so that there is always a permit to wait for.
    let slot = Arc::clone(slots).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, PeerAddress(peer), slot),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    (stream, peer): (TcpStream, PeerAddress),
    app: Router,
    shutdown: CancellationToken,
) {
    note("a connection's options could not be set", tune(&stream));
    let service =
        TowerToHyperService::new(tower::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            tower::ServiceExt::oneshot(app.clone(), request)
        }));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(READ_BUFFER)
        .serve_connection(TokioIo::new(Progress::new(stream)), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    note("a connection broke", ended);
}

/// Peers come and go: their faults are of interest to nobody but a debugger.
fn note<E: std::fmt::Display>(what: &str, result: Result<(), E>) {
    if let Err(error) = result {
        tracing::debug!(%error, "{what}");
    }
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let probes = TcpKeepalive::new()
        .with_time(KEEP_ALIVE_AFTER)
        .with_interval(KEEP_ALIVE_EVERY)
        .with_retries(KEEP_ALIVE_PROBES);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&probes)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, Bytes};
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_request_is_answered_and_an_idle_connection_does_not_hold_up_the_end() {
        let (server, mut client, shutdown) = start(Duration::from_mins(1)).await;
        let answer = ask(&mut client, "/").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        shutdown.cancel();
        server.await.unwrap();
    }

    #[tokio::test]
    async fn a_request_that_does_not_end_is_given_up_after_the_drain() {
        let (server, mut client, shutdown) = start(Duration::from_millis(1)).await;
        let answer = ask(&mut client, "/endless").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        shutdown.cancel();
        server.await.unwrap();
    }

    #[tokio::test]
    async fn a_head_that_is_too_large_is_refused() {
        let (_server, mut client, _shutdown) = start(Duration::from_millis(1)).await;
        let answer = ask(&mut client, &"/x".repeat(READ_BUFFER)).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    }

    async fn start(drain: Duration) -> (tokio::task::JoinHandle<()>, TcpStream, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client_address = listener.local_addr().unwrap();
        let endless = async || {
            let first = futures_util::stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"x"))]);
            let rest = futures_util::stream::pending();
            Body::from_stream(futures_util::StreamExt::chain(first, rest))
        };
        let app = Router::new().route("/", get(async || "ok")).route("/endless", get(endless));
        let shutdown = CancellationToken::new();
        let settings = ServeSettings { drain, ..ServeSettings::default() };
        let tasks = TaskTracker::new();
        let server = tasks.spawn(serve(listener, app, settings, shutdown.clone()));
        (server, TcpStream::connect(client_address).await.unwrap(), shutdown)
    }

    async fn ask(client: &mut TcpStream, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut buffer = vec![0; 1024];
        let read = client.read(&mut buffer).await.unwrap();
        String::from_utf8_lossy(buffer.get(..read).unwrap()).into_owned()
    }
}
