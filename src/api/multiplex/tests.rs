//! Peers that speak HTTP/2 by hand, and do things that no client does.

use axum::Router;
use axum::routing::get;
use http_body_util::{BodyExt, Empty};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::super::connections::{Bounds, Reserved};
use super::super::protocol::{self, MAX_STREAMS};
use super::super::serve::{ServeSettings, serve};
use super::*;

/// The kinds of frames, and one kind of fault (RFC 9113, 6 and 7).
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const REFUSED: u32 = 7;
/// The head of `GET http://x/`, with all its fields in the tables of HPACK but the authority.
const HEAD: [u8; 6] = [0x82, 0x86, 0x84, 0x41, 1, b'x'];
/// The flags of a head that is complete and has no body.
const WHOLE: u8 = 0x5;

/// One frame: its kind, its stream, its payload.
type Got = (u8, u32, Vec<u8>);

struct Peer(TcpStream);

impl Peer {
    async fn connect(address: std::net::SocketAddr) -> Self {
        let mut peer = Self(TcpStream::connect(address).await.unwrap());
        peer.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        peer.send((4, 0), 0, &[]).await;
        peer
    }

    async fn send(&mut self, (kind, flags): (u8, u8), stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).await.unwrap();
    }

    async fn ask(&mut self, stream: u32) {
        self.send((HEADERS, WHOLE), stream, &HEAD).await;
    }

    /// Reads the next frame; `None` once the server has closed.
    async fn frame(&mut self) -> Option<Got> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; usize::from(head[1]) * 256 + usize::from(head[2])];
        self.0.read_exact(&mut payload).await.ok()?;
        Some((head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
    }

    /// Reads the next frame of this kind.
    async fn next(&mut self, kind: u8) -> Option<Got> {
        loop {
            let frame = self.frame().await?;
            if frame.0 == kind {
                return Some(frame);
            }
        }
    }
}

async fn start(settings: ServeSettings) -> (std::net::SocketAddr, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
    let handler = async |reserved: Option<axum::Extension<Reserved>>| {
        if reserved.is_none() {
            std::future::pending::<()>().await;
        }
    };
    let app = Router::new().route("/", get(handler));
    TaskTracker::new().spawn(serve(listener, app, settings, shutdown.clone()));
    (address, shutdown)
}

#[tokio::test]
async fn a_head_that_stops_on_its_way_ends_its_connection_the_first_as_any_other() {
    let head = Duration::from_millis(100);
    let (address, _shutdown) = start(ServeSettings { head, ..ServeSettings::default() }).await;
    for whole in 0..2 {
        let mut peer = Peer::connect(address).await;
        for stream in 0..whole {
            peer.ask(stream * 2 + 1).await;
        }
        peer.send((HEADERS, 0), 5, &HEAD[..2]).await;
        while peer.frame().await.is_some() {}
    }
}

#[tokio::test]
async fn a_peer_that_answers_pings_keeps_its_connection() {
    let head = Duration::from_millis(50);
    let (address, _shutdown) = start(ServeSettings { head, ..ServeSettings::default() }).await;
    let mut peer = Peer::connect(address).await;
    peer.ask(1).await;
    for _ in 0..5 {
        let (_, _, payload) = peer.next(PING).await.expect("the connection goes on");
        peer.send((PING, 1), 0, &payload).await;
    }
}

#[tokio::test]
async fn a_request_too_many_is_refused_and_the_others_go_on() {
    let (address, _shutdown) = start(ServeSettings::default()).await;
    let mut peer = Peer::connect(address).await;
    for stream in 0..=MAX_STREAMS {
        peer.ask(stream * 2 + 1).await;
    }
    let refused = peer.next(RESET).await.unwrap();
    assert_eq!(refused, (RESET, MAX_STREAMS * 2 + 1, REFUSED.to_be_bytes().to_vec()));
    peer.send((PING, 0), 0, &[7; 8]).await;
    assert!(peer.next(PING).await.is_some(), "the connection goes on");
}

#[tokio::test]
async fn who_takes_requests_back_in_crowds_is_sent_away() {
    let (address, _shutdown) = start(ServeSettings::default()).await;
    let mut peer = Peer::connect(address).await;
    // All in one write, as an attacker sends them.
    let mut flood = Vec::new();
    for stream in (1..4_000_u32).step_by(2) {
        flood.extend([0, 0, 6, HEADERS, WHOLE]);
        flood.extend(stream.to_be_bytes());
        flood.extend(HEAD);
        flood.extend([0, 0, 4, RESET, 0]);
        flood.extend(stream.to_be_bytes());
        flood.extend(8_u32.to_be_bytes());
    }
    // The server may close while this is still being written.
    drop(peer.0.write_all(&flood).await);
    assert!(peer.next(GO_AWAY).await.is_none_or(|(_, _, payload)| payload[4..8] == [0, 0, 0, 11]));
    while peer.frame().await.is_some() {}
}

#[tokio::test]
async fn a_request_beside_others_needs_a_place_and_gives_it_back() {
    let connections = Bounds { total: 3, per_address: 2, reserve: 1 };
    let (address, _shutdown) =
        start(ServeSettings { connections, ..ServeSettings::default() }).await;
    let mut peer = Peer::connect(address).await;
    for stream in [1, 3, 5] {
        peer.ask(stream).await;
    }
    // The third request gets no place. This app answers only such requests.
    assert_eq!(peer.next(HEADERS).await.unwrap().1, 5);
    peer.send((RESET, 0), 3, &8_u32.to_be_bytes()).await;
    peer.send((PING, 0), 0, &[7; 8]).await;
    peer.next(PING).await.unwrap();
    peer.ask(7).await;
    peer.ask(9).await;
    assert_eq!(peer.next(HEADERS).await.unwrap().1, 9, "the seventh took the place of the third");
    // A further connection is answered once.
    let mut reserved = Peer::connect(address).await;
    reserved.ask(1).await;
    let mut kinds = Vec::new();
    while !(kinds.contains(&HEADERS) && kinds.contains(&GO_AWAY)) {
        kinds.push(reserved.frame().await.unwrap().0);
    }
}

#[tokio::test]
async fn a_body_that_comes_after_its_answer_is_discarded_and_a_long_one_is_reset() {
    let (address, _shutdown) = start(ServeSettings::default()).await;
    let mut peer = Peer::connect(address).await;
    for (stream, length, kind) in [(1, 2, PING), (3, MAX_DISCARDED + PIECE, RESET)] {
        let post = [&[0x83], &HEAD[1..]].concat();
        peer.send((HEADERS, 0x4), stream, &post).await;
        assert_eq!(peer.next(HEADERS).await.unwrap().1, stream, "the method is refused");
        for sent in (0..length).step_by(PIECE) {
            let last = kind == PING && sent + PIECE >= length;
            peer.send((0, last.into()), stream, &vec![0; PIECE.min(length)]).await;
        }
        peer.send((PING, 0), 0, &[7; 8]).await;
        let next = loop {
            match peer.frame().await.unwrap() {
                (RESET, _, code) => break (RESET, code),
                (PING, _, _) if kind == PING => break (PING, vec![0; 4]),
                _ => {}
            }
        };
        assert_eq!(next, (kind, vec![0; 4]), "{length}");
    }
}

#[tokio::test]
async fn at_the_end_a_peer_is_told_and_what_it_asked_is_answered() {
    let (address, shutdown) =
        start(ServeSettings { drain: Duration::from_millis(50), ..ServeSettings::default() }).await;
    let mut peer = Peer::connect(address).await;
    peer.ask(1).await;
    peer.send((PING, 0), 0, &[7; 8]).await;
    peer.next(PING).await.unwrap();
    shutdown.cancel();
    let (_, _, payload) = peer.next(GO_AWAY).await.unwrap();
    assert_eq!(payload[4..8], [0; 4], "it is no fault of the peer");
    while peer.frame().await.is_some() {}
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_taken_is_reset_and_one_that_is_taken_slowly_is_not() {
    const LENGTH: usize = PIECE * 12;
    let (near, far) = duplex(1 << 20);
    let tasks = TaskTracker::new();
    let streams = Streams::new(tasks.clone(), CancellationToken::new());
    let large = service_fn(async |_| {
        let body = Body::new(Pieces::new(Body::from(vec![b'x'; LENGTH])));
        Ok::<_, std::convert::Infallible>(axum::response::Response::new(body))
    });
    let builder = protocol::builder(streams, Duration::from_secs(10), false);
    let serving = builder.serve_connection(TokioIo::new(near), large).into_owned();
    tasks.spawn(serving);
    let mut client = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    client.initial_stream_window_size(u32::try_from(PIECE).unwrap());
    let (mut sender, connection) = client.handshake(TokioIo::new(far)).await.unwrap();
    tasks.spawn(connection);
    let ask = || axum::http::Request::get("http://x/").body(Empty::<Bytes>::new()).unwrap();
    let mut silent = sender.send_request(ask()).await.unwrap().into_body();
    let mut slow = sender.send_request(ask()).await.unwrap().into_body();
    let (began, mut taken) = (Instant::now(), 0);
    while let Some(frame) = slow.frame().await {
        taken += frame.unwrap().into_data().unwrap().len();
        tokio::time::sleep(PATIENCE / 3).await;
    }
    assert_eq!(taken, LENGTH);
    assert!(began.elapsed() > PATIENCE * 3, "{:?}", began.elapsed());
    let mut rest = 0;
    let broken = loop {
        match silent.frame().await.unwrap() {
            Ok(frame) => rest += frame.into_data().unwrap().len(),
            Err(broken) => break broken,
        }
    };
    assert!(rest <= PIECE, "{rest}");
    assert!(!broken.is_timeout(), "{broken}");
}
