//! The servers that steps call in these tests.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect};
use axum::routing::any;
use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{PATIENCE, TOKEN, attempt, executor};
use crate::executor::{AttemptError, StepExecutor as _};

type Seen = Arc<Mutex<Vec<String>>>;

/// A server on this machine; it ends with the test's runtime.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) url: String,
    seen: Seen,
}

impl Server {
    pub(super) async fn start() -> Self {
        let seen = Seen::default();
        let router = Router::new()
            .route("/json", any(json))
            .route("/echo", any(echo))
            .route("/status/{status}", any(status))
            .route("/to/{*url}", any(to))
            .route("/failing/{before}", any(failing))
            .route("/loop", any(|| async { Redirect::temporary("/loop") }))
            .route("/broken", any(broken))
            .route("/endless", any(endless))
            .route("/announced", any(|| async { vec![b'x'; 65 * 1024] }))
            .with_state(Arc::clone(&seen));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = async move { axum::serve(listener, router).await };
        tokio_util::task::TaskTracker::new().spawn(serving);
        Self { address, url: format!("http://{address}"), seen }
    }

    pub(super) async fn get(&self, path: &str, policy: &str) -> Result<String, AttemptError> {
        self.run(&format!(r#"{{"url":"{}{path}"}}"#, self.url), policy).await
    }

    pub(super) async fn run(&self, with: &str, policy: &str) -> Result<String, AttemptError> {
        let executor = executor(policy);
        let done = tokio::time::timeout(PATIENCE, executor.execute(attempt(with))).await;
        done.expect("the attempt ends").map(|json| json.as_str().to_owned())
    }

    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn json(State(seen): State<Seen>, uri: Uri) -> impl IntoResponse {
    seen.lock().unwrap().push(uri.to_string());
    let headers = [("content-type", "application/json"), ("x-twice", "one")];
    let mut answer = (headers, "{ \"b\": 1.0, \"a\": 12345678901234567890 }").into_response();
    answer.headers_mut().append("x-twice", "two".parse().unwrap());
    answer
}

async fn echo(method: Method, uri: Uri, headers: HeaderMap, body: String) -> String {
    let headers: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    format!("{method} {uri}\n{}\n{body}", headers.join("\n"))
}

async fn status(Path(status): Path<u16>) -> impl IntoResponse {
    let status = StatusCode::from_u16(status).unwrap();
    let body = if status == StatusCode::NO_CONTENT { "" } else { "said\u{1b}[1m so\n" };
    (status, [("retry-after", "7")], body)
}

/// Answers with an error page that has a secret after so many characters.
async fn failing(Path(before): Path<usize>) -> impl IntoResponse {
    let page = format!("{}{TOKEN}{}", "-".repeat(before), "x".repeat(5000));
    (StatusCode::NOT_FOUND, page)
}

async fn to(Path(url): Path<String>) -> Redirect {
    Redirect::to(&url)
}

async fn broken() -> impl IntoResponse {
    let pieces = [Ok(Bytes::from_static(b"a")), Err(std::io::Error::other("cut"))];
    Body::from_stream(futures_util::stream::iter(pieces))
}

async fn endless() -> impl IntoResponse {
    let pieces = futures_util::stream::repeat(Bytes::from_static(&[b'x'; 1024]));
    Body::from_stream(pieces.map(Ok::<_, std::io::Error>))
}

/// Starts a server whose answers have so many headers of so many bytes, and announce a body that
/// never comes.
pub(super) async fn answering(headers: usize, bytes: usize, announced: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio_util::task::TaskTracker::new().spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            assert!(connection.read(&mut [0; 4096]).await.unwrap() > 0);
            let first = format!("HTTP/1.1 200 OK\r\ncontent-length: {announced}\r\n");
            connection.write_all(first.as_bytes()).await.unwrap();
            let value = "a".repeat(bytes);
            for number in 0..headers {
                let header = format!("x-{number}: {value}\r\n");
                if connection.write_all(header.as_bytes()).await.is_err() {
                    break;
                }
            }
            drop(connection.write_all(b"\r\n").await);
            drop(connection.read(&mut [0; 1]).await);
        }
    });
    url
}

/// Starts a server that closes every connection without an answer.
pub(super) async fn closing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio_util::task::TaskTracker::new().spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            drop(connection);
        }
    });
    url
}
