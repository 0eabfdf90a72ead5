//! How long after its decision an event reaches a reader over SSE. The time of an event is taken
//! before it is committed, so the commit itself is included: the figure is an upper bound.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::load::{Client, percentile};
use crate::server::Server;

/// What was measured.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Lag {
    pub(crate) events: usize,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// Follows one thread after another from its start to its end.
pub(crate) async fn measure(server: &Server, duration: Duration) -> Result<Lag> {
    let body = Bytes::from(serde_json::to_vec(&json!({
        "workflow": { "name": "ticks", "steps": ticks() },
    }))?);
    let mut invoker = Client::connect(&server.addr).await?;
    let mut lags = Vec::new();
    let began = Instant::now();
    while began.elapsed() < duration {
        let answer = invoker.send("POST", "/invoke/async", body.clone()).await?;
        let answer: Value =
            serde_json::from_slice(&answer.into_body().collect().await?.to_bytes())?;
        let thread = answer["threadId"].as_str().context("no threadId")?;
        // A stream ends its connection: each thread gets one of its own.
        let mut reader = Client::connect(&server.addr).await?;
        let stream = reader.send("GET", &format!("/stream/{thread}?after=2"), Bytes::new()).await?;
        let mut body = stream.into_body();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
            lags.extend(sent_at(&data).map(|at| now.saturating_sub(at)));
        }
    }
    lags.sort_unstable();
    Ok(Lag { events: lags.len(), p50_ms: percentile(&lags, 50), p99_ms: percentile(&lags, 99) })
}

/// Twenty steps a few milliseconds apart: slow enough that the reader waits for each.
fn ticks() -> Vec<Value> {
    (0..20)
        .map(|number: usize| {
            let mut step =
                json!({ "id": format!("s{number}"), "kind": "sleep", "with": { "for": 5 } });
            if number > 0 {
                step["dependsOn"] = json!([format!("s{}", number - 1)]);
            }
            step
        })
        .collect()
}

fn sent_at(frame: &Bytes) -> impl Iterator<Item = Duration> {
    let text = String::from_utf8_lossy(frame).into_owned();
    let times: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter_map(|data| serde_json::from_str::<Value>(data).ok())
        .filter_map(|event| {
            rethread::model::Timestamp::parse(event["at"].as_str()?)?.millis().try_into().ok()
        })
        .map(Duration::from_millis)
        .collect();
    times.into_iter()
}
