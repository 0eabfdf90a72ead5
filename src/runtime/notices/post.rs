//! Signs a message and sends it.

use std::time::Duration;

use bytes::Bytes;

use super::desk::Subscription;
use super::signature::sign;
use crate::executor::{Webhook, WebhookFault};
use crate::runtime::core::Core;

/// The timeout of a receiver's answer: the least that the Standard Webhooks specification suggests.
pub(super) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);

/// Signs a message and sends it once.
pub(super) async fn post(
    core: &Core,
    to: &Subscription,
    (id, body): (&str, &Bytes),
) -> Result<(), WebhookFault> {
    let failed =
        |detail: &str| WebhookFault::Failed { detail: detail.to_owned(), retry_after: None };
    let seconds = core.parts.clock.now().millis().div_euclid(1_000);
    let signature =
        sign(&to.secret, id, seconds, body).ok_or_else(|| failed("cannot be signed"))?;
    let webhook = Webhook {
        namespace: to.namespace.clone(),
        url: to.url.clone(),
        headers: [
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", seconds.to_string()),
            ("webhook-signature", signature),
        ],
        body: body.clone(),
    };
    let webhooks = core.parts.executors.webhooks().ok_or_else(|| failed("nothing can be sent"))?;
    let sent = tokio::time::timeout(ATTEMPT_TIMEOUT, webhooks.send(webhook)).await;
    let sent = sent.unwrap_or_else(|_| Err(failed("the receiver did not answer in time")));
    sent.map_err(|fault| match fault {
        WebhookFault::Gone => WebhookFault::Gone,
        WebhookFault::Failed { detail, retry_after } => {
            let detail = core.parts.secrets.redactor().redact(&detail).into_owned();
            WebhookFault::Failed { detail, retry_after }
        }
    })
}
