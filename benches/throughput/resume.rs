//! `kill -9` with 1,000 threads in the middle of a step, and the time until all run again.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::load::Client;
use crate::server::{Database, Server};
use crate::work;

/// Interrupted threads.
const THREADS: usize = 1_000;
/// Longest wait for all of them, once before the kill and once after.
const PATIENCE: Duration = Duration::from_mins(1);

/// What was measured.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Resumed {
    pub(crate) threads: usize,
    /// From the server's first line of output to the last thread's step under way again.
    pub(crate) after_ready_ms: f64,
    /// From the start of the process.
    pub(crate) after_start_ms: f64,
}

pub(crate) async fn measure(database: &Database) -> Result<Resumed> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/hang", listener.local_addr()?);
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let hanging = tokio::spawn(hang(listener, arrived));
    let server = Server::start(database).await?;
    let body = Bytes::from(serde_json::to_vec(&work::hanging(&url))?);
    let mut client = Client::connect(&server.addr).await?;
    for _ in 0..THREADS {
        let answer = client.send("POST", "/invoke/async", body.clone()).await?;
        ensure!(answer.status() == 202, "{}", answer.status());
        answer.into_body().collect().await?;
    }
    all(&mut arrivals).await?;
    server.kill().await?;
    let started = Instant::now();
    let server = Server::start(database).await?;
    let ready = Instant::now();
    all(&mut arrivals).await?;
    let done = Instant::now();
    server.stop().await?;
    hanging.abort();
    Ok(Resumed {
        threads: THREADS,
        after_ready_ms: done.duration_since(ready).as_secs_f64() * 1_000.0,
        after_start_ms: done.duration_since(started).as_secs_f64() * 1_000.0,
    })
}

async fn all(arrivals: &mut mpsc::UnboundedReceiver<()>) -> Result<()> {
    let wait = async {
        for _ in 0..THREADS {
            if arrivals.recv().await.is_none() {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await?;
    Ok(())
}

/// Takes requests and never answers.
async fn hang(listener: TcpListener, arrived: mpsc::UnboundedSender<()>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let arrived = arrived.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 1_024];
            if stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                let _ended = arrived.send(());
            }
            while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
        });
    }
}
