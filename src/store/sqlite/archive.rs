//! Reads the file as it lies there, on read-only connections, one statement at a time.
//!
//! [`SqliteArchive`] needs no lock file: a server that has the file open neither notices it nor
//! changes what one statement sees.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, SqlitePool};

use crate::model::Clock;
use crate::store::archive::{DELETED, STORED_COLUMNS};
use crate::store::limits::MAX_READ_BYTES;
use crate::store::rows::row_limit;
use crate::store::{
    Archive, Belongings, OpenError, Result, StoredDefinition, StoredRecords, StoredSnapshot,
    StoredThread, StoredWorkflow, ThreadTable,
};

use super::SqliteStore;
use super::fault::answer;

const RECORDS: &str = "
SELECT seq, first_seq, epoch, at, crc, payload FROM journal
WHERE thread_id = ?1 AND seq > ?2 AND seq <= (
    SELECT max(seq) FROM (
        SELECT seq, sum(size) OVER (ORDER BY seq) - size AS before FROM (
            SELECT seq, octet_length(payload) AS size FROM journal
            WHERE thread_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3))
    WHERE before < ?4)
ORDER BY seq";

const KEY: &str = "
SELECT key, request_hash, expires_at - ?3 AS left_ms FROM idempotency
WHERE key = ?1 AND thread_id = ?2 AND expires_at > ?3";

const INTERVENTIONS: &str =
    "SELECT id, opened_at, resolved_at, body FROM interventions WHERE thread_id = ? ORDER BY id";

const SNAPSHOTS: &str = "
SELECT seq, kind, version, at, sha256, state FROM snapshots
WHERE thread_id = ? AND seq > ? ORDER BY seq LIMIT ?";

/// Goes from id to id, not from row to row: a journal has many rows a thread. `{}` is the table.
const IDS_IN: &str = "
WITH RECURSIVE ids(id, n) AS (
    SELECT min(thread_id), 1 FROM {} WHERE thread_id > ?1
    UNION ALL
    SELECT (SELECT min(thread_id) FROM {} WHERE thread_id > ids.id), n + 1 FROM ids
    WHERE id IS NOT NULL AND n < ?2)
SELECT id, EXISTS (SELECT 1 FROM threads WHERE thread_id = id) FROM ids WHERE id IS NOT NULL";

const DEFINITIONS: &str = "SELECT hash, text FROM definitions WHERE hash > ? ORDER BY hash LIMIT ?";

const WORKFLOWS: &str = "
SELECT name, version, definition, created_at FROM workflows
WHERE (name, version) > (?, ?) ORDER BY name, version LIMIT ?";

/// A database file that is looked at and never written.
#[derive(Debug)]
pub struct SqliteArchive {
    clock: Arc<dyn Clock>,
    readers: SqlitePool,
}

impl SqliteArchive {
    /// Opens a file that is there and has the schema this server knows.
    pub async fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let readers = super::open::inspect(path).await?;
        Ok(Self { clock, readers })
    }

    /// Ends its connections.
    pub async fn close(&self) {
        self.readers.close().await;
    }
}

/// A store with a file whose rows can be read as an archive.
trait HasFile: std::fmt::Debug + Send + Sync {
    fn readers(&self) -> &SqlitePool;
    fn now(&self) -> i64;
}

impl HasFile for SqliteArchive {
    fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    fn now(&self) -> i64 {
        self.clock.now().millis()
    }
}

impl HasFile for SqliteStore {
    fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    fn now(&self) -> i64 {
        self.clock.now().millis()
    }
}

#[async_trait]
impl<T: HasFile> Archive for T {
    async fn thread_ids(&self, after: &str, limit: usize) -> Result<Vec<String>> {
        let sql = "SELECT thread_id FROM threads WHERE thread_id > ? AND owner <> -3
                   ORDER BY thread_id LIMIT ?";
        let query = sqlx::query_scalar(sql).bind(after).bind(row_limit(limit));
        answer(query.fetch_all(self.readers())).await
    }

    async fn stored_thread(&self, thread: &str) -> Result<Option<StoredThread>> {
        let sql = format!(
            "SELECT {STORED_COLUMNS} FROM threads WHERE thread_id = ? AND owner <> {DELETED}"
        );
        let query = sqlx::query_as(AssertSqlSafe(sql)).bind(thread);
        answer(query.fetch_optional(self.readers())).await
    }

    async fn stored_records(
        &self,
        thread: &str,
        after: i64,
        limit: usize,
    ) -> Result<Vec<StoredRecords>> {
        let query = sqlx::query_as(RECORDS).bind(thread).bind(after).bind(row_limit(limit));
        let query = query.bind(row_limit(MAX_READ_BYTES));
        answer(query.fetch_all(self.readers())).await
    }

    async fn belongings(&self, thread: &StoredThread) -> Result<Belongings> {
        let (id, readers) = (&thread.thread_id, self.readers());
        let labels = "SELECT key, value FROM labels WHERE thread_id = ? ORDER BY key";
        let labels = sqlx::query_as(labels).bind(id).fetch_all(readers);
        let inbox = "SELECT key, body, answer FROM inbox WHERE thread_id = ? ORDER BY ordinal";
        let inbox = sqlx::query_as(inbox).bind(id).fetch_all(readers);
        let key = sqlx::query_as(KEY).bind(&thread.idempotency_key).bind(id).bind(self.now());
        let interventions = sqlx::query_as(INTERVENTIONS).bind(id).fetch_all(readers);
        Ok(Belongings {
            labels: answer(labels).await?,
            inbox: answer(inbox).await?,
            key: answer(key.fetch_optional(readers)).await?,
            interventions: answer(interventions).await?,
        })
    }

    async fn stored_snapshots(
        &self,
        thread: &str,
        after: i64,
        limit: usize,
    ) -> Result<Vec<StoredSnapshot>> {
        let query = sqlx::query_as(SNAPSHOTS).bind(thread).bind(after).bind(row_limit(limit));
        answer(query.fetch_all(self.readers())).await
    }

    async fn ids_in(
        &self,
        table: ThreadTable,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, bool)>> {
        let sql = AssertSqlSafe(IDS_IN.replace("{}", table.as_str()));
        let query = sqlx::query_as(sql).bind(after).bind(row_limit(limit));
        answer(query.fetch_all(self.readers())).await
    }

    async fn stored_definitions(&self, after: &str, limit: usize) -> Result<Vec<StoredDefinition>> {
        let query = sqlx::query_as(DEFINITIONS).bind(after).bind(row_limit(limit));
        answer(query.fetch_all(self.readers())).await
    }

    async fn stored_definition(&self, hash: &str) -> Result<Option<StoredDefinition>> {
        let query = sqlx::query_as("SELECT hash, text FROM definitions WHERE hash = ?").bind(hash);
        answer(query.fetch_optional(self.readers())).await
    }

    async fn stored_workflows(
        &self,
        (name, version): (&str, i64),
        limit: usize,
    ) -> Result<Vec<StoredWorkflow>> {
        let query = sqlx::query_as(WORKFLOWS).bind(name).bind(version).bind(row_limit(limit));
        answer(query.fetch_all(self.readers())).await
    }
}
