//! HTTP/2 on the port of HTTP/1.1: many requests on one connection, by the same rules.

use axum::body::Bytes;
use axum::http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::support::flows::hanging;
use super::support::sse::Stream;
use super::support::{Home, PATIENCE, Recorder, Server, beside};

/// One connection.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// What requests call the server.
    name: String,
    ended: tokio::task::JoinHandle<hyper::Result<()>>,
}

impl Connection {
    async fn open(server: &Server) -> Self {
        let socket = TcpStream::connect(server.addr).await.unwrap();
        let shaken = handshake(TokioExecutor::new(), TokioIo::new(socket)).await;
        let (sender, connection) = shaken.unwrap();
        Self { sender, name: server.addr.to_string(), ended: beside(connection) }
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        body: impl Into<Bytes>,
    ) -> axum::http::Response<Incoming> {
        let request = Request::builder().method(method).uri(format!("http://{}{path}", self.name));
        let request = request.header("content-type", "application/json");
        let request = request.body(Full::new(body.into())).unwrap();
        let answer = self.sender.clone().send_request(request);
        tokio::time::timeout(PATIENCE, answer).await.expect("no answer").unwrap()
    }

    /// The status and the JSON of an answer.
    async fn ask(&self, method: &str, path: &str, body: impl Into<Bytes>) -> (u16, Value) {
        let (parts, body) = self.send(method, path, body).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status.as_u16(), serde_json::from_slice(&body).unwrap_or_default())
    }
}

#[tokio::test]
async fn eight_event_streams_of_one_connection_do_not_hold_up_a_ninth_request() {
    let (home, recorder) = (Home::memory().await, Recorder::start().await);
    let server = home.launch().set("RETHREAD_MAX_CONNECTIONS_PER_ADDRESS", "40").start().await;
    let connection = Connection::open(&server).await;
    let mut streams = Vec::new();
    for number in 0..8 {
        let body =
            json!({ "workflow": hanging(&recorder, "gate"), "threadId": format!("t{number}") });
        let (status, _) = connection.ask("POST", "/invoke/async", body.to_string()).await;
        assert_eq!(status, 202);
        let path = format!("/stream/t{number}");
        let answer = connection.send("GET", &path, "").await;
        assert_eq!(answer.version(), axum::http::Version::HTTP_2);
        streams.push(Stream::new(&path, answer));
    }
    for stream in &mut streams {
        assert_eq!(stream.next().await.unwrap().event, "workflow_start");
    }
    let (status, document) = connection.ask("GET", "/status/t7", "").await;
    assert_eq!((status, &document["status"]), (200, &json!("running")));
    recorder.release("gate");
    for stream in streams {
        assert_eq!(stream.rest().await.last().unwrap().event, "workflow_complete");
    }
    // Requests that have ended gave their places back.
    for _ in 0..40 {
        assert_eq!(connection.ask("GET", "/status/t0", "").await.0, 200);
    }
}

#[tokio::test]
async fn the_same_rules_hold_for_names_pages_and_bodies() {
    let home = Home::memory().await;
    let server = home.launch().set("RETHREAD_MAX_BODY", "300000").start().await;
    let mut connection = Connection::open(&server).await;
    let (status, problem) = connection.ask("POST", "/invoke/async", vec![b' '; 400_000]).await;
    assert_eq!((status, &problem["code"]), (413, &json!("payload_too_large")));
    // More than fits into the window of one request comes piece by piece.
    let (status, problem) = connection.ask("POST", "/invoke/async", vec![b' '; 250_000]).await;
    assert_eq!((status, &problem["code"]), (400, &json!("malformed_json")));
    connection.name = "evil.example".to_owned();
    let (status, problem) = connection.ask("GET", "/threads", "").await;
    assert_eq!((status, &problem["code"]), (421, &json!("misdirected")));
    let request = Request::post(format!("http://{}/threads/x/pause", server.addr))
        .header("origin", "http://evil.example")
        .body(Full::default());
    let answer = connection.sender.send_request(request.unwrap()).await.unwrap();
    assert_eq!(answer.status(), 403);
    let request = Request::get(format!("http://{}/threads", server.addr))
        .header("host", "evil.example")
        .body(Full::default());
    let answer = connection.sender.send_request(request.unwrap()).await.unwrap();
    assert_eq!(answer.status(), 421, "both names count");
}

#[tokio::test]
async fn a_page_with_a_key_sets_the_cookie_of_the_port_that_is_named() {
    let home = Home::memory().await;
    let server = home.launch().set("RETHREAD_API_KEYS", "me:a-secret-of-mine").start().await;
    let connection = Connection::open(&server).await;
    let answer = connection.send("GET", "/?key=a-secret-of-mine", "").await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["location"]),
        (303, &"/".parse().unwrap())
    );
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with(&format!("rethread-{}=", server.addr.port())), "{cookie}");
}

#[tokio::test]
async fn an_orderly_end_lets_streams_end_and_closes_the_connection() {
    let (home, recorder) = (Home::sqlite().await, Recorder::start().await);
    let server = home.start().await;
    let connection = Connection::open(&server).await;
    let body = json!({ "workflow": hanging(&recorder, "gate"), "threadId": "t" });
    assert_eq!(connection.ask("POST", "/invoke/async", body.to_string()).await.0, 202);
    recorder.reached("gate", 1).await;
    let stream = Stream::new("/stream/t", connection.send("GET", "/stream/t", "").await);
    let ending = beside(server.sigterm_and_wait());
    assert_eq!(stream.rest().await.last().unwrap().event, "step_start");
    recorder.release("gate");
    assert!(ending.await.unwrap().success());
    connection.ended.await.unwrap().expect("it was told to go");
}
