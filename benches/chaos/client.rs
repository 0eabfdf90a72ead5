//! HTTP as a careful client speaks it: a connection a request, every answer with a deadline, and
//! another replica where one does not answer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use crate::dice::Dice;
use crate::replicas::Replicas;

/// Longest wait for an answer: above the 5 s within which a server without its database says so.
const PATIENCE: Duration = Duration::from_secs(7);
/// Between two tries, in milliseconds.
const PAUSE: (u64, u64) = (50, 250);

/// An answer, read whole.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A request that can be sent again.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self { method: "GET", path: path.into(), headers: Vec::new(), body: Bytes::new() }
    }

    pub(crate) fn post(path: impl Into<String>, body: &Value) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { method: "POST", path: path.into(), headers, body: Bytes::from(body.to_string()) }
    }

    #[must_use]
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Sends it; the answer's body is still to be read.
    pub(crate) async fn open(&self, addr: SocketAddr) -> Result<Response<Incoming>> {
        let stream = tokio::net::TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(self.method).uri(&self.path);
        request = request.header("host", addr.to_string());
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        Ok(sender.send_request(request.body(Full::new(self.body.clone()))?).await?)
    }

    /// Sends it and reads the answer, within `patience`.
    pub(crate) async fn once(&self, addr: SocketAddr, patience: Duration) -> Result<Answer> {
        let whole = async {
            let response = self.open(addr).await?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await?.to_bytes();
            anyhow::Ok(Answer { status, body })
        };
        tokio::time::timeout(patience, whole).await?
    }

    /// Sends it to one replica after another until one gives an answer that is not "later".
    pub(crate) async fn send(
        &self,
        replicas: &Replicas,
        dice: &mut Dice,
        deadline: Instant,
    ) -> Result<Answer> {
        let mut last = "no replica is up".to_owned();
        while Instant::now() < deadline {
            if let Some(addr) = replicas.any(dice) {
                match self.once(addr, PATIENCE).await {
                    Ok(answer) if matches!(answer.status, 429 | 502..=504) => {
                        last = answer.text();
                    }
                    Ok(answer) if answer.status >= 500 => {
                        last = answer.text();
                        replicas.odd(format!("{} {}: {last}", self.method, self.path));
                    }
                    Ok(answer) => return Ok(answer),
                    Err(error) => last = error.to_string(),
                }
            }
            tokio::time::sleep(dice.millis(PAUSE.0, PAUSE.1)).await;
        }
        bail!("{} {} was not answered: {last}", self.method, self.path)
    }
}
