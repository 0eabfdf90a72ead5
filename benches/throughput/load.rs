//! Threads started over HTTP, each awaited: `POST /invoke` answers when the thread has ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::server::Server;

/// What was measured over HTTP.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Served {
    pub(crate) threads_per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) rss_mib: Option<f64>,
}

/// One kept-alive connection.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Client {
    pub(crate) async fn connect(addr: &str) -> Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, host: addr.to_owned() })
    }

    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>> {
        self.sender.ready().await?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.host)
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        Ok(self.sender.send_request(request).await?)
    }
}

/// Keeps `in_flight` threads going for `duration`.
pub(crate) async fn measure(
    server: &Server,
    in_flight: usize,
    duration: Duration,
    body: Value,
) -> Result<Served> {
    let body = Bytes::from(serde_json::to_vec(&body)?);
    // What is compiled, cached and allocated on first use is not what a steady load pays.
    run(server, in_flight, duration / 8, &body).await?;
    let began = Instant::now();
    let mut latencies = run(server, in_flight, duration, &body).await?;
    let took = began.elapsed();
    ensure!(!latencies.is_empty(), "no thread completed");
    latencies.sort_unstable();
    Ok(Served {
        threads_per_second: count(latencies.len()) / took.as_secs_f64(),
        p50_ms: percentile(&latencies, 50),
        p99_ms: percentile(&latencies, 99),
        rss_mib: server.rss_kib().map(|kib| count(kib) / 1_024.0),
    })
}

async fn run(
    server: &Server,
    in_flight: usize,
    duration: Duration,
    body: &Bytes,
) -> Result<Vec<Duration>> {
    let addr: Arc<str> = Arc::from(server.addr.as_str());
    let deadline = Instant::now() + duration;
    let clients = (0..in_flight).map(|_| {
        let (addr, body) = (Arc::clone(&addr), body.clone());
        tokio::spawn(async move { one_after_another(&addr, &body, deadline).await })
    });
    let mut latencies = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        latencies.extend(client.await??);
    }
    Ok(latencies)
}

async fn one_after_another(addr: &str, body: &Bytes, deadline: Instant) -> Result<Vec<Duration>> {
    let mut client = Client::connect(addr).await?;
    let mut latencies = Vec::new();
    while Instant::now() < deadline {
        let sent = Instant::now();
        let answer = client.send("POST", "/invoke?wait=30s", body.clone()).await?;
        let status = answer.status();
        let answer = answer.into_body().collect().await?.to_bytes();
        ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(&answer));
        latencies.push(sent.elapsed());
        if latencies.len() == 1 {
            let document: Value = serde_json::from_slice(&answer).context("no status document")?;
            ensure!(document["status"] == "completed", "{document}");
        }
    }
    Ok(latencies)
}

pub(crate) fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// That percentile of sorted durations, in milliseconds.
pub(crate) fn percentile(sorted: &[Duration], per_cent: usize) -> f64 {
    let at = sorted.len().saturating_sub(1) * per_cent / 100;
    sorted.get(at).map_or(0.0, |duration| duration.as_secs_f64() * 1_000.0)
}
