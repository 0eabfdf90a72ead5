//! Where `http` steps have their effect: counts by `Idempotency-Key`, fails where the path says
//! so, and answers with a number computed from the request.
//!
//! `/effect/HOW/FAILS/DELAY`: the first FAILS requests of a key fail in that way, the others are
//! answered; all after DELAY milliseconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use crate::expect::effect;

/// What came under one key.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub(crate) struct Effect {
    /// Requests in all: each is an execution of the step's effect.
    pub(crate) calls: u32,
    /// Those that failed on purpose.
    pub(crate) failed: u32,
    /// The first one's body: every attempt sends the same.
    pub(crate) body: String,
    /// Whether a later one had another body.
    pub(crate) changed: bool,
}

/// The recorder.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorder {
    book: Arc<Mutex<HashMap<String, Effect>>>,
}

impl Recorder {
    /// Starts one and gives the URL that steps call.
    pub(crate) async fn start() -> Result<(Self, String)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/effect", listener.local_addr()?);
        let recorder = Self::default();
        let serving = recorder.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        Ok((recorder, url))
    }

    /// What came under a key.
    pub(crate) fn of(&self, key: &str) -> Effect {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.get(key).cloned().unwrap_or_default()
    }

    async fn serve(self, stream: TcpStream) {
        let service = service_fn(|request| {
            let recorder = self.clone();
            async move { recorder.answer(request).await }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await;
        // Connections break: replicas are killed, and some are dropped on purpose.
        drop(served);
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
        let key = request.headers().get("idempotency-key").and_then(|value| value.to_str().ok());
        let key = key.unwrap_or_default().to_owned();
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await?.to_bytes();
        let mut parts = path.split('/').skip(2);
        let how = parts.next().unwrap_or_default();
        let fails: u32 = parts.next().unwrap_or_default().parse()?;
        let delay: u64 = parts.next().unwrap_or_default().parse()?;
        let fails = self.note(&key, &body, fails);
        tokio::time::sleep(Duration::from_millis(delay)).await;
        if fails {
            return match how {
                "Gone" => Ok(text(404, "nothing here".to_owned())?),
                "Error" => Ok(text(500, "on purpose".to_owned())?),
                _ => Err(anyhow::anyhow!("dropped on purpose")),
            };
        }
        let sent: Value = serde_json::from_slice(&body)?;
        let parts = sent["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
        let value = effect(parts, sent["salt"].as_i64().unwrap_or(0));
        Ok(text(200, json!({ "value": value }).to_string())?)
    }

    /// Counts a request; whether it is to fail.
    fn note(&self, key: &str, body: &Bytes, fails: u32) -> bool {
        let body = String::from_utf8_lossy(body);
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let effect = book.entry(key.to_owned()).or_default();
        if effect.calls == 0 {
            effect.body = body.into_owned();
        } else if effect.body != body {
            effect.changed = true;
        }
        effect.calls += 1;
        let fails = effect.failed < fails;
        effect.failed += u32::from(fails);
        fails
    }
}

fn text(status: u16, body: String) -> Result<Response<Full<Bytes>>, hyper::http::Error> {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
}
