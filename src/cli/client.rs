//! The HTTP client of the command line, with which `dev`, `explain` and `health` call a server.

use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Client, Response};
use serde_json::Value;

use crate::config::ListenAddress;

/// The time to connect. A server on this machine answers at once; this is for one that hangs.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest wait for an answer that is not a stream.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// A client of one server.
#[derive(Debug, Clone)]
pub(super) struct Api {
    client: Client,
    base: String,
    key: Option<String>,
}

impl Api {
    /// Makes a client of the server at `base`, with the secret of an API key if the server wants
    /// one.
    pub(super) fn new(base: &str, key: Option<String>) -> anyhow::Result<Self> {
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("the HTTP client can't be made")?;
        Ok(Self { client, base: base.trim_end_matches('/').to_owned(), key })
    }

    /// Returns the server's address.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Returns the API key's secret that the client presents.
    pub(super) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Reads a JSON document.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let request = self.client.get(format!("{}{path}", self.base)).timeout(ANSWER_TIMEOUT);
        let answer = self.authorized(request).send().await;
        json(answer.with_context(|| self.silent())?, path).await
    }

    /// Posts a JSON document and reads the answer.
    pub(super) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request =
            self.client.post(format!("{}{path}", self.base)).timeout(ANSWER_TIMEOUT).json(body);
        json(self.authorized(request).send().await?, path).await
    }

    /// Opens an event stream behind event `after`.
    pub(super) async fn stream(&self, path: &str, after: u64) -> anyhow::Result<Response> {
        let request = self.client.get(format!("{}{path}", self.base));
        let request = request.header("Accept", "text/event-stream");
        let request = if after > 0 { request.header("Last-Event-ID", after) } else { request };
        Ok(self.authorized(request).send().await?)
    }

    /// Returns whether a GET is answered with 2xx.
    pub(super) async fn is_fine(&self, path: &str) -> anyhow::Result<bool> {
        let request = self.client.get(format!("{}{path}", self.base)).timeout(ANSWER_TIMEOUT);
        Ok(self.authorized(request).send().await?.status().is_success())
    }

    fn silent(&self) -> String {
        format!("no server answers at {}", self.base)
    }

    fn authorized(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }
}

async fn json(response: Response, path: &str) -> anyhow::Result<Value> {
    let status = response.status();
    let text = response.text().await?;
    if !status.is_success() {
        bail!("{path} was answered with {status}: {}", reason(&text));
    }
    serde_json::from_str(&text).with_context(|| format!("{path} was not answered with JSON"))
}

/// Returns the reason in a problem document, for a person, or the whole of any other body.
fn reason(text: &str) -> String {
    let problem = serde_json::from_str::<Value>(text).unwrap_or_default();
    let member = |name| problem.get(name).and_then(Value::as_str);
    match (member("detail"), member("code")) {
        (Some(detail), Some(code)) => format!("{detail} ({code})"),
        (_, _) => text.to_owned(),
    }
}

/// Returns the URL at which the same machine reaches a server that listens on `addr`.
pub(super) fn local_url(addr: &ListenAddress) -> String {
    let host = match addr.host.as_str() {
        "0.0.0.0" => "127.0.0.1",
        "::" => "::1",
        host => host,
    };
    format!("http://{}", ListenAddress { host: host.to_owned(), port: addr.port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_by_its_detail_and_its_code() {
        let problem = r#"{"title":"T","detail":"no such thread","code":"thread_not_found"}"#;
        assert_eq!(reason(problem), "no such thread (thread_not_found)");
        assert_eq!(reason("<h1>502</h1>"), "<h1>502</h1>");
    }

    #[test]
    fn server_on_all_addresses_is_reached_on_loopback() {
        for (host, url) in [
            ("0.0.0.0", "http://127.0.0.1:80"),
            ("::", "http://[::1]:80"),
            ("localhost", "http://localhost:80"),
        ] {
            assert_eq!(local_url(&ListenAddress { host: host.to_owned(), port: 80 }), url);
        }
    }
}
