//! Plain data about the audit list.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::{Role, Timestamp};

/// An action to be recorded in the audit list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// The namespace whose admins see the entry.
    pub namespace: String,
    /// The actor: a key's name, or `anonymous`.
    pub by: String,
    /// The role of the key, if there was one.
    pub role: Option<Role>,
    /// The action, in a word.
    pub action: String,
    /// The object of the action: the method and the path, or for a refusal the route's pattern,
    /// since paths come in any number.
    pub about: String,
    /// The HTTP status of the answer.
    pub status: Option<u16>,
    /// Further details.
    pub detail: Option<String>,
    /// The address that the request came from.
    pub address: Option<String>,
}

/// An entry of the audit list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AuditEntry)]
pub struct AuditItem {
    /// Its id.
    pub id: String,
    /// When it happened, the first time.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// When it happened, the last time that is counted here.
    #[schema(value_type = String, format = DateTime)]
    pub last_at: Timestamp,
    /// How often: refusals and reads that are alike are one entry a minute.
    pub times: u64,
    /// Who: a key's name, or `anonymous`.
    pub by: String,
    /// What the key may do, if there was one.
    #[schema(value_type = Option<String>)]
    pub role: Option<Role>,
    /// What was done: `refused`, `read`, `keys_changed`, `workflow_stored`, `thread_deleted`, …
    pub action: String,
    /// To what: a method and a path, or the pattern of a route.
    pub about: String,
    /// How it was answered.
    pub status: Option<u16>,
    /// More about it: the code of a refusal, the keys that came and went.
    pub detail: Option<String>,
    /// Where the (first) request came from.
    pub address: Option<String>,
}

/// A filter for the audit list.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// The namespace.
    pub namespace: String,
    /// Only entries at this moment or later.
    pub since: Option<Timestamp>,
    /// Only entries of this actor.
    pub by: Option<String>,
    /// Only entries with this action.
    pub action: Option<String>,
    /// Items per page.
    pub limit: usize,
    /// The `nextCursor` of the previous page.
    pub cursor: Option<String>,
}
