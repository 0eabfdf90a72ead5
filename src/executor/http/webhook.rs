//! Sends signed messages to URLs that clients have chosen: one request, no redirect, under the same
//! egress policy as a step, judged anew each time on the address that is connected to.
//!
//! It does not know subscriptions, and neither signs nor repeats: the runtime's senders do.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use url::Url;

use super::fault::{self, host_and_port};
use super::request::Outgoing;
use super::{EgressDenied, HttpExecutor, answer};
use crate::model::{Failure, Namespace};

/// The longest wait for a name to resolve when a URL is judged before it is stored. A name that
/// takes longer is judged when a message is sent to it.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

/// A message to send. `Debug` shows neither the URL's path, which may hold a secret, nor the body.
#[derive(Clone)]
pub struct Webhook {
    /// The namespace of the subscription.
    pub namespace: Namespace,
    /// The URL of the receiver.
    pub url: Url,
    /// Headers besides the content type, which is JSON.
    pub headers: [(&'static str, String); 3],
    /// The body, exactly as it was signed.
    pub body: Bytes,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let host = host_and_port(&self.url);
        f.debug_struct("Webhook").field("host", &host).finish_non_exhaustive()
    }
}

/// The reason for which a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookFault {
    /// The receiver wants no more messages (410).
    Gone,
    /// The message was not taken this time.
    Failed {
        /// The error, without the URL's path.
        detail: String,
        /// The time that the receiver asked to wait.
        retry_after: Option<Duration>,
    },
}

/// Sends webhooks: the HTTP executor, or a test's stand-in.
#[async_trait]
pub trait Webhooks: Send + Sync + std::fmt::Debug {
    /// Checks that the egress policy allows the URL, as far as can be told now. A name that does
    /// not resolve passes, since the policy judges every sending again.
    async fn judge(&self, namespace: &Namespace, url: &Url) -> Result<(), EgressDenied>;

    /// Sends a message; an answer with 2xx means that it was taken. The caller bounds the time.
    async fn send(&self, webhook: Webhook) -> Result<(), WebhookFault>;
}

#[async_trait]
impl Webhooks for HttpExecutor {
    async fn judge(&self, namespace: &Namespace, url: &Url) -> Result<(), EgressDenied> {
        self.egress.judge(url)?;
        let host = url.host_str().unwrap_or_default();
        let look = self.names.look_up(namespace, host);
        let Ok(Ok(found)) = tokio::time::timeout(RESOLVE_TIMEOUT, look).await else {
            return Ok(());
        };
        // The client connects to the allowed addresses alone.
        let denied = found.iter().all(|address| !self.egress.allows(host, address.ip()));
        if denied && !found.is_empty() {
            return Err(EgressDenied { host: host.to_owned() });
        }
        Ok(())
    }

    async fn send(&self, webhook: Webhook) -> Result<(), WebhookFault> {
        self.egress.judge(&webhook.url).map_err(|denied| failed(&denied.into()))?;
        let host = host_and_port(&webhook.url);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in webhook.headers {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        let (url, body) = (webhook.url, Some(webhook.body));
        let request = Outgoing { method: Method::POST, url, headers, body };
        let sent = self.client.send(&webhook.namespace, request).await;
        let response =
            sent.map_err(|error| failed(&fault::unanswered(&error, &host, &self.redactor)))?;
        let status = response.status();
        if status.is_success() {
            // The body is read so that the connection can be used again; its content does not
            // matter.
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
