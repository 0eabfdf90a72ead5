//! A thin HTTP client: a connection a request, bytes in and bytes out.

use std::net::{IpAddr, SocketAddr};

use axum::body::Bytes;
use axum::http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;

use super::sse::Stream;
use super::{PATIENCE, beside, contract, eventually};

/// An answer, read whole.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: u16,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body.
    pub(crate) body: Bytes,
}

impl Answer {
    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|fault| panic!("{fault}: {} {}", self.status, self.text()))
    }

    /// A header's text; empty if it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The same answer, if it has this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// The pointers of a problem's faults, sorted.
    #[track_caller]
    pub(crate) fn pointers(&self) -> Vec<String> {
        let document = self.json();
        let errors = document["errors"].as_array().unwrap();
        let pointer = |error: &Value| error["pointer"].as_str().unwrap().to_owned();
        let mut pointers: Vec<_> = errors.iter().map(pointer).collect();
        pointers.sort();
        pointers
    }
}

/// Headers of a request.
pub(crate) type Headers<'a> = &'a [(&'a str, &'a str)];

/// Asks one server.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    addr: SocketAddr,
    bearer: Option<String>,
    from: Option<IpAddr>,
}

impl Client {
    /// A client of the server at this address, without a key.
    pub(crate) const fn new(addr: SocketAddr) -> Self {
        Self { addr, bearer: None, from: None }
    }

    /// The same client at another address of this machine.
    #[must_use]
    pub(crate) fn at(mut self, address: &str) -> Self {
        self.from = Some(address.parse().unwrap());
        self
    }

    /// The same client with an API key.
    #[must_use]
    pub(crate) fn with_key(mut self, secret: &str) -> Self {
        self.bearer = Some(secret.to_owned());
        self
    }

    /// Sends a request; the body is still to be read.
    pub(crate) async fn open(
        &self,
        method: &str,
        path: &str,
        headers: Headers<'_>,
        body: impl Into<Bytes>,
    ) -> anyhow::Result<axum::http::Response<Incoming>> {
        let socket = tokio::net::TcpSocket::new_v4()?;
        if let Some(from) = self.from {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        let socket = socket.connect(self.addr).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
        beside(connection);
        let mut request = Request::builder().method(method).uri(path);
        request = request.header("host", self.addr.to_string());
        if let Some(bearer) = &self.bearer {
            request = request.header("authorization", format!("Bearer {bearer}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ok(sender.send_request(request.body(Full::new(body.into()))?).await?)
    }

    /// Sends a request and reads the answer whole; fails where the connection does.
    pub(crate) async fn attempt(
        &self,
        method: &str,
        path: &str,
        headers: Headers<'_>,
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Answer> {
        let response = self.open(method, path, headers, body).await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    /// Sends a request and reads the answer whole; both are held against the API's document.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: Headers<'_>,
        body: impl Into<Bytes>,
    ) -> Answer {
        let body = body.into();
        let answer = self.attempt(method, path, headers, body.clone());
        let answer = tokio::time::timeout(PATIENCE, answer).await.expect("no answer").unwrap();
        contract::hold(method, path, &body, &answer);
        answer
    }

    /// `GET`.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    /// `DELETE`.
    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], "").await
    }

    /// `POST` of JSON text.
    pub(crate) async fn post_text(&self, path: &str, json: impl Into<Bytes>) -> Answer {
        self.send("POST", path, &[("content-type", "application/json")], json).await
    }

    /// `POST` of JSON.
    pub(crate) async fn post(&self, path: &str, json: &Value) -> Answer {
        self.post_text(path, json.to_string()).await
    }

    /// Starts a thread and gives its id.
    pub(crate) async fn invoke(&self, body: &Value) -> String {
        let answer = self.post("/invoke/async", body).await.expect(202).json();
        answer["threadId"].as_str().unwrap().to_owned()
    }

    /// Runs a workflow to its end and gives the status document.
    pub(crate) async fn run(&self, body: &Value) -> Value {
        let thread = self.invoke(body).await;
        self.ended(&thread).await
    }

    /// The status document.
    pub(crate) async fn status(&self, thread: &str) -> Value {
        self.get(&format!("/status/{thread}")).await.expect(200).json()
    }

    /// Waits for a status document that meets a condition.
    pub(crate) async fn until(
        &self,
        thread: &str,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Value {
        eventually(&format!("{thread} {what}"), async || {
            Some(self.status(thread).await).filter(|document| holds(document))
        })
        .await
    }

    /// Waits for the end of a thread and gives the status document.
    pub(crate) async fn ended(&self, thread: &str) -> Value {
        self.until(thread, "ends", |document| {
            matches!(document["status"].as_str(), Some("completed" | "failed" | "aborted"))
        })
        .await
    }

    /// Waits for an end that must be a completion.
    pub(crate) async fn completed(&self, thread: &str) -> Value {
        let document = self.ended(thread).await;
        assert_eq!(document["status"], "completed", "{document:#}");
        document
    }

    /// Opens a stream.
    pub(crate) async fn stream(&self, path: &str, headers: Headers<'_>) -> Stream {
        let response = self.open("GET", path, headers, "").await.unwrap();
        Stream::new(path, response)
    }

    /// The texts of a thread's events, page by page.
    pub(crate) async fn events(&self, thread: &str) -> Vec<String> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Page {
            items: Vec<Box<serde_json::value::RawValue>>,
            next_cursor: Option<String>,
        }
        let (mut events, mut after) = (Vec::new(), "0".to_owned());
        loop {
            let path = format!("/threads/{thread}/events?after={after}&limit=100");
            let answer = self.get(&path).await.expect(200);
            let page: Page = serde_json::from_slice(&answer.body).unwrap();
            events.extend(page.items.iter().map(|item| item.get().to_owned()));
            let Some(next) = page.next_cursor else { return events };
            after = next;
        }
    }
}
