//! The HTTP server: connections, their limits, and an orderly end.
//!
//! HTTP/1.1 by hand rather than by `axum::serve`, which has neither a bound on connections nor a
//! timeout for headers, and lets read buffers grow without shrinking again. Which connections are
//! taken is decided in `connections`, how long a head may take is watched in `pace`.

use std::io;
use std::net::SocketAddr;
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
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connections::{Bounds, Connections, PeerAddress, Place, Reserved};
use super::holding::Holding;
use super::pace::{Answering, Pace, Watched};
use super::progress::Progress;

/// Time for a request's head to be complete, from its first byte or, of the first, from the start of
/// the connection: a client sends it at once, whoever holds connections up does not.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a kept connection to be used again: longer than the pools of common clients and proxies
/// (60 s) keep theirs, so that they close first.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
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
    /// Most connections at once.
    pub connections: Bounds,
    /// How long a request's head may take.
    pub head: Duration,
    /// How long open requests may take to end once the server shuts down.
    pub drain: Duration,
}

impl Default for ServeSettings {
    fn default() -> Self {
        Self {
            connections: Bounds { total: 10_000, per_address: 1_000, reserve: 256 },
            head: HEAD_TIMEOUT,
            drain: Duration::from_secs(10),
        }
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
    let places = Connections::new(settings.connections);
    let (connections, give_up) = (TaskTracker::new(), CancellationToken::new());
    loop {
        let (stream, peer) = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accept(&listener) => accepted,
        };
        let place = places.admit(peer.ip());
        let taken = Taken { stream, peer: PeerAddress(peer), place, head: settings.head };
        let (app, shutdown, give_up) = (app.clone(), shutdown.clone(), give_up.clone());
        connections.spawn(async move {
            tokio::select! {
                () = give_up.cancelled() => {}
                () = connection(taken, app, shutdown) => {}
            }
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

/// The next connection.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A connection with its place, and how long a head may take on it.
struct Taken {
    stream: TcpStream,
    peer: PeerAddress,
    place: Place,
    head: Duration,
}

async fn connection(taken: Taken, app: Router, shutdown: CancellationToken) {
    let Taken { stream, peer, place, head } = taken;
    note("a connection's options could not be set", tune(&stream));
    let (reserved, pace) = (place.is_reserved(), Pace::new());
    let seen = Arc::clone(&pace);
    let service =
        TowerToHyperService::new(tower::service_fn(move |mut request: Request<Incoming>| {
            seen.asked();
            request.extensions_mut().insert(peer);
            if reserved {
                request.extensions_mut().insert(Reserved);
            }
            let (answering, seen) =
                (tower::ServiceExt::oneshot(app.clone(), request), Arc::clone(&seen));
            async move {
                answering.await.map(|answer| answer.map(|body| Holding::new(body, Answering(seen))))
            }
        }));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .keep_alive(!reserved)
        .max_buf_size(READ_BUFFER)
        .serve_connection(
            TokioIo::new(Progress::new(Watched::new(stream, Arc::clone(&pace)))),
            service,
        );
    tokio::pin!(connection);
    let (overdue, evicted) = (pace.overdue(head), place.evicted());
    tokio::pin!(overdue, evicted);
    let mut ending = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => return note("a connection broke", ended),
            () = &mut overdue => return,
            () = &mut evicted => return,
            () = shutdown.cancelled(), if !ending => {
                connection.as_mut().graceful_shutdown();
                ending = true;
            }
        }
    }
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
    async fn a_head_that_does_not_come_ends_its_connection_and_an_idle_one_goes_on() {
        let quick = ServeSettings { head: Duration::from_millis(50), ..ServeSettings::default() };
        let (_server, mut idle, _shutdown) = start_with(quick).await;
        let answer = ask(&mut idle, "/").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let address = idle.peer_addr().unwrap();
        for sent in [&b""[..], b"GET / HTTP/1.1\r\nHost: x\r\n"] {
            let mut slow = TcpStream::connect(address).await.unwrap();
            slow.write_all(sent).await.unwrap();
            assert_eq!(slow.read_to_end(&mut Vec::new()).await.unwrap(), 0, "{sent:?}");
        }
        let answer = ask(&mut idle, "/").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        idle.write_all(b"GET / HT").await.unwrap();
        assert_eq!(idle.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn an_answer_may_take_longer_than_a_head() {
        let quick = ServeSettings { head: Duration::from_millis(20), ..ServeSettings::default() };
        let (_server, mut client, _shutdown) = start_with(quick).await;
        let answer = ask(&mut client, "/slow").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    #[tokio::test]
    async fn who_comes_when_all_is_taken_is_told_so_by_the_app_once() {
        let connections = Bounds { total: 1, per_address: 1, reserve: 1 };
        let full = ServeSettings { connections, ..ServeSettings::default() };
        let (_server, mut first, _shutdown) = start_with(full).await;
        assert!(ask(&mut first, "/who").await.ends_with("ordinary"));
        let mut second = TcpStream::connect(first.peer_addr().unwrap()).await.unwrap();
        assert!(ask(&mut second, "/who").await.ends_with("reserved"));
        assert_eq!(second.read_to_end(&mut Vec::new()).await.unwrap(), 0, "it is closed");
        assert!(ask(&mut first, "/who").await.ends_with("ordinary"), "this one goes on");
    }

    #[tokio::test]
    async fn a_head_that_is_too_large_is_refused() {
        let (_server, mut client, _shutdown) = start(Duration::from_millis(1)).await;
        let answer = ask(&mut client, &"/x".repeat(READ_BUFFER)).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    }

    async fn start(drain: Duration) -> (tokio::task::JoinHandle<()>, TcpStream, CancellationToken) {
        start_with(ServeSettings { drain, ..ServeSettings::default() }).await
    }

    async fn start_with(
        settings: ServeSettings,
    ) -> (tokio::task::JoinHandle<()>, TcpStream, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client_address = listener.local_addr().unwrap();
        let endless = async || {
            let first = futures_util::stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"x"))]);
            let rest = futures_util::stream::pending();
            Body::from_stream(futures_util::StreamExt::chain(first, rest))
        };
        let slow = async || {
            tokio::time::sleep(Duration::from_millis(100)).await;
            "late"
        };
        let who = async |reserved: Option<axum::Extension<Reserved>>| {
            if reserved.is_some() { "reserved" } else { "ordinary" }
        };
        let app = Router::new()
            .route("/", get(async || "ok"))
            .route("/slow", get(slow))
            .route("/who", get(who))
            .route("/endless", get(endless));
        let shutdown = CancellationToken::new();
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
