//! The audit list: what was refused, deleted and changed, kept apart from threads and for longer.

use async_trait::async_trait;

use crate::model::{Json, Timestamp};

use super::Result;
use super::rows::json;

/// The columns of [`RawAudit`].
pub(super) const AUDIT_COLUMNS: &str = "id, at, namespace, by_name, action, body";

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Its id.
    pub id: String,
    /// When it happened first.
    pub at: Timestamp,
    /// The namespace whose admins see it.
    pub namespace: String,
    /// The caller.
    pub by: String,
    /// The action, in a word.
    pub action: String,
    /// All else, opaque to the store.
    pub body: Json,
}

/// Which entries a list wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only those of this namespace.
    pub namespace: String,
    /// Only those that happened then or later.
    pub since: Option<Timestamp>,
    /// Only actions of this caller.
    pub by: Option<String>,
    /// Only this action.
    pub action: Option<String>,
    /// Only those older than this one: (at, id) of the last item seen.
    pub before: Option<(Timestamp, String)>,
}

/// The audit list.
#[async_trait]
pub trait Audits: Send + Sync {
    /// Keeps entries; one of an id that is there already takes its place.
    async fn keep_audit(&self, entries: &[AuditRow]) -> Result<()>;

    /// Entries, newest first, at most `limit`.
    async fn audit(&self, filter: &AuditFilter, limit: usize) -> Result<Vec<AuditRow>>;

    /// Deletes up to `limit` entries from before `before`; returns how many.
    async fn expire_audit(&self, before: Timestamp, limit: usize) -> Result<usize>;
}

/// A row of `audit`.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct RawAudit {
    id: String,
    at: i64,
    namespace: String,
    by_name: String,
    action: String,
    body: Vec<u8>,
}

impl RawAudit {
    /// The entry as the runtime sees it.
    pub(super) fn decode(self) -> Result<AuditRow> {
        Ok(AuditRow {
            id: self.id,
            at: Timestamp::from_millis(self.at),
            namespace: self.namespace,
            by: self.by_name,
            action: self.action,
            body: json(self.body)?,
        })
    }
}

/// The text as both databases can hold it: Postgres has no zero byte.
pub(super) fn storable(text: &str) -> String {
    text.replace('\0', "")
}
