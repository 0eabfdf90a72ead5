//! The audit list.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::{Role, Timestamp};

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
    /// How often: refusals, reads and stream tokens that are alike are one entry a minute.
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
