//! Sends signed messages to URLs that clients have chosen: one request, no redirect, under the same
//! egress policy as a step, judged anew each time on the address that is connected to.
//!
//! It knows nothing of subscriptions, signs nothing and repeats nothing: the runtime's senders do.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use url::Url;

use super::fault::{self, host_and_port};
use super::{EgressDenied, HttpExecutor, answer};
use crate::model::Failure;

/// Longest wait for a name to resolve when a URL is judged before it is stored: one that takes
/// longer is judged when something is sent to it.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

/// A message to be sent. `Debug` shows neither the URL's path, which may hold a secret, nor the body.
#[derive(Clone)]
pub struct Webhook {
    /// Where to.
    pub url: Url,
    /// Headers besides the content type, which is JSON.
    pub headers: [(&'static str, String); 3],
    /// The body, exactly as it was signed.
    pub body: String,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let host = host_and_port(&self.url);
        f.debug_struct("Webhook").field("host", &host).finish_non_exhaustive()
    }
}

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookFault {
    /// The receiver wants no more of them (410).
    Gone,
    /// Not this time.
    Failed {
        /// What went wrong, without the URL's path.
        detail: String,
        /// How long the receiver asked to wait.
        retry_after: Option<Duration>,
    },
}

/// Sends webhooks: the HTTP executor, or what a test puts in its place.
#[async_trait]
pub trait Webhooks: Send + Sync + std::fmt::Debug {
    /// Whether the egress policy allows the URL, as far as can be told now: a name that does not
    /// resolve is let pass, since every sending is judged again.
    async fn judge(&self, url: &Url) -> Result<(), EgressDenied>;

    /// Sends a message; taken is what is answered with 2xx. Whoever calls bounds the time.
    async fn send(&self, webhook: Webhook) -> Result<(), WebhookFault>;
}

#[async_trait]
impl Webhooks for HttpExecutor {
    async fn judge(&self, url: &Url) -> Result<(), EgressDenied> {
        self.egress.judge(url)?;
        let host = url.host_str().unwrap_or_default();
        let look = tokio::net::lookup_host((host, url.port_or_known_default().unwrap_or(0)));
        let Ok(Ok(found)) = tokio::time::timeout(RESOLVE_TIMEOUT, look).await else {
            return Ok(());
        };
        let found: Vec<_> = found.collect();
        // The client connects to the allowed ones alone.
        let denied = found.iter().all(|address| !self.egress.allows(host, address.ip()));
        if denied && !found.is_empty() {
            return Err(EgressDenied { host: host.to_owned() });
        }
        Ok(())
    }

    async fn send(&self, webhook: Webhook) -> Result<(), WebhookFault> {
        self.egress.judge(&webhook.url).map_err(|denied| failed(&denied.into()))?;
        let host = host_and_port(&webhook.url);
        let mut request = reqwest::Request::new(Method::POST, webhook.url);
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in webhook.headers {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        *request.body_mut() = Some(webhook.body.into());
        let sent = self.client.execute(request).await;
        let response =
            sent.map_err(|error| failed(&fault::failure(&error, &host, &self.redactor)))?;
        let status = response.status();
        if status.is_success() {
            // Read, so that the connection can be used again; what it says is of no interest.
            drop(answer::said(response, &self.redactor).await);
            return Ok(());
        }
        if status == StatusCode::GONE {
            return Err(WebhookFault::Gone);
        }
        let retry_after = answer::retry_after(response.headers(), self.clock.now());
        Err(WebhookFault::Failed { detail: format!("{host} answered HTTP {status}"), retry_after })
    }
}

fn failed(failure: &Failure) -> WebhookFault {
    WebhookFault::Failed { detail: failure.message.clone(), retry_after: None }
}
