//! Subscriptions to events.

use serde::Serialize;
use url::Url;
use utoipa::ToSchema;

use crate::contract::SigningSecret;
use crate::model::{Role, Timestamp};

/// A subscription to events, and what became of its messages.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: Option<String>,
    /// Where messages go.
    #[schema(format = "uri")]
    pub url: String,
    /// The types of events that are sent.
    pub types: Vec<String>,
    /// The workflow whose threads it is about; `null` is all.
    pub workflow: Option<String>,
    /// Whether anything is sent.
    pub enabled: bool,
    /// Why nothing is.
    pub disabled_reason: Option<String>,
    /// Who made it: the API key's name.
    pub by: String,
    /// Who changed it last.
    pub updated_by: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When a client changed it last.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// Threads with events that are still to be sent.
    pub pending: u64,
    /// Those of them whose last attempt failed.
    pub failing: u64,
    /// Since when the oldest of them waits.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub pending_since: Option<Timestamp>,
    /// When a message was last taken, give or take a few seconds.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_success_at: Option<Timestamp>,
    /// When a message was last not taken.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_failure_at: Option<Timestamp>,
    /// Why.
    pub last_error: Option<String>,
    /// Threads whose messages were given up, after days without one that was taken.
    pub given_up: u64,
    /// What messages are signed with; only in the answer to the call that set it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub secret: Option<SigningSecret>,
}

impl Notification {
    /// Returns the subscription as a caller of this role may see it, or one that needs none. With the
    /// whole URL of a webhook one can often call it, so only callers that may change the subscription
    /// see more than its origin.
    #[must_use]
    pub fn shown_to(self, role: Option<Role>) -> Self {
        if role.is_none_or(|role| role >= Role::Admin) {
            return self;
        }
        let origin = Url::parse(&self.url).map(|url| url.origin().ascii_serialization());
        Self { url: origin.unwrap_or_default(), ..self }
    }
}

/// What became of a test message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotificationTest {
    /// Whether the receiver took it.
    pub delivered: bool,
    /// Why not.
    pub detail: Option<String>,
}
