//! The HTTP server: connections, their limits, and an orderly end.
//!
//! It is written by hand: `axum::serve` has neither a bound on connections nor a timeout for
//! headers, and lets read buffers grow without shrinking again. `connections` decides which
//! connections to accept, `pace` watches the time that a head takes, `protocol` sets the limits of
//! the two versions of HTTP.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Version;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connections::{Bounds, Connections, PeerAddress, Place, Reserved};
use super::holding::Holding;
use super::multiplex::{Borrowed, Pieces, Streams};
use super::pace::{Answering, Pace, Stalled, Watched};
use super::progress::Progress;
use super::protocol;

/// The time for a request's head to be complete, from its first byte or, for the first request,
/// from the start of the connection. A client sends it at once; an attacker that holds connections
/// up does not.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The time for a kept connection to be used again: longer than the pools of common clients and
/// proxies (60 s) keep theirs, so that they close first.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// The silence after which a peer is probed; three probes without an answer end the connection.
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(10);
/// The time between two probes of a silent peer.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(5);
/// The number of probes of a silent peer.
const KEEP_ALIVE_PROBES: u32 = 3;
/// The longest time that sent bytes may stay unacknowledged: a vanished reader must not hold a
/// stream.
const UNACKNOWLEDGED: Duration = Duration::from_mins(1);
/// The pause after a failed accept (out of file descriptors): trying again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The server's limits.
#[derive(Debug, Clone, Copy)]
pub struct ServeSettings {
    /// The most connections at once.
    pub connections: Bounds,
    /// The time that a request's head may take.
    pub head: Duration,
    /// The time that open requests may take to end once the server shuts down.
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
        let ended = CancellationToken::new();
        let streams = Streams::new(connections.clone(), ended.clone());
        let requests = Requests {
            app: app.clone(),
            peer: PeerAddress(peer),
            places: places.clone(),
            pace: Pace::new(),
            reserved: place.is_reserved(),
        };
        let taken = Taken { stream, place, head: settings.head, streams, requests };
        let (shutdown, give_up) = (shutdown.clone(), give_up.clone());
        connections.spawn(async move {
            let _ended = ended.drop_guard();
            tokio::select! {
                () = give_up.cancelled() => {}
                () = connection(taken, shutdown) => {}
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

/// Accepts the next connection.
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

/// A connection with its place, and the time that a head may take on it.
struct Taken {
    stream: TcpStream,
    place: Place,
    head: Duration,
    streams: Streams,
    requests: Requests,
}

async fn connection(taken: Taken, shutdown: CancellationToken) {
    let Taken { stream, place, head, streams, requests } = taken;
    note("a connection's options could not be set", tune(&stream));
    let (reserved, pace) = (place.is_reserved(), Arc::clone(&requests.pace));
    let service = service_fn(move |request| requests.answer(request));
    let builder = protocol::builder(streams, head, reserved);
    let stream = Progress::new(Watched::new(stream, Arc::clone(&pace)));
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let (evicted, begun) = (place.evicted(), pace.begun());
    tokio::pin!(evicted, begun);
    let mut ending = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => return note("a connection broke", ended),
            () = &mut evicted => return,
            stalled = pace.stalled(head, IDLE_TIMEOUT) => if ending || stalled == Stalled::Head {
                return;
            },
            () = shutdown.cancelled(), if !ending => {}
            // A reserved connection serves one request.
            () = &mut begun, if reserved && !ending => {}
        }
        connection.as_mut().graceful_shutdown();
        ending = true;
    }
}

/// State that the requests of one connection share.
struct Requests {
    app: Router,
    peer: PeerAddress,
    places: Connections,
    pace: Arc<Pace>,
    reserved: bool,
}

impl Requests {
    /// Answers a request. One of several concurrent requests on its connection takes a place of its
    /// own; without a place, it is answered as on a reserved connection.
    fn answer(
        &self,
        mut request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Answer>, Infallible>> + use<> {
        let multiplexed = request.version() == Version::HTTP_2;
        if multiplexed {
            protocol::name_host(&mut request);
        }
        let beside = multiplexed && self.pace.requests() > 0;
        let place = if beside { self.places.within_bounds(self.peer.0.ip()) } else { None };
        if self.reserved || (beside && place.is_none()) {
            request.extensions_mut().insert(Reserved);
        }
        request.extensions_mut().insert(self.peer);
        let held = (self.pace.asked(multiplexed), place);
        let app = self.app.clone();
        async move {
            let lend = |body| if multiplexed { Borrowed::lend(body) } else { Body::new(body) };
            let answer = tower::ServiceExt::oneshot(app, request.map(lend)).await?;
            Ok(answer.map(|body| Holding::new(Body::new(Pieces::new(body)), held)))
        }
    }
}

/// The body of an answer. While it is sent, its request counts in the connection's pace, and keeps its
/// place if it took one.
type Answer = Holding<(Answering, Option<Place>)>;

/// Logs the fault of a peer for debugging only: peers come and go.
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
mod tests;
