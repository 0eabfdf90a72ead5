//! Connections of HTTP/1.1, on real sockets.

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
    let answer = ask(&mut client, &"/x".repeat(protocol::MAX_HEAD.into())).await;
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
