//! Rows of threads, and lists of them, on read-only connections.

use async_trait::async_trait;
use sqlx::{QueryBuilder, Sqlite};

use crate::model::{Namespace, ThreadId, ThreadStatus, signed_millis};
use crate::store::archive::DELETED;
use crate::store::ownership::RawOwnership;
use crate::store::rows::{RawThread, THREAD_COLUMNS, indexed, row_limit, thread_id};
use crate::store::{FORK_LABEL, MAX_AHEAD, Ownership, Result, ThreadFilter, ThreadRow, Threads};

use super::SqliteStore;
use super::bounded::Bounded;
use super::fault::answer;

/// Claims go by `wake_at`; leases are on the monotonic clock.
const OWNERSHIP: &str = "
SELECT r.name, r.lease_until - ?3,
    (SELECT count(*) FROM (
        SELECT 1 FROM threads a WHERE t.owner = 0 AND a.owner = 0 AND a.wake_at < t.wake_at
        LIMIT ?2)),
    t.pending,
    (SELECT count(*) FROM replicas l WHERE l.lease_until > ?3)
FROM threads t LEFT JOIN replicas r ON r.incarnation = t.owner
WHERE t.thread_id = ?1 AND t.owner <> -3";

const DURATIONS: &str = "
SELECT max(completed_at - created_at, 0) FROM threads t
WHERE substr(thread_id, 1, instr(thread_id, '/')) = ? AND workflow = ?
    AND completed_at IS NOT NULL AND status = ?
    AND NOT EXISTS (SELECT 1 FROM labels l WHERE l.thread_id = t.thread_id AND l.key = ?)
ORDER BY completed_at DESC, thread_id DESC LIMIT ?";

#[async_trait]
impl Threads for SqliteStore {
    async fn thread(&self, thread: &ThreadId) -> Result<Option<ThreadRow>> {
        let sql = format!(
            "SELECT {THREAD_COLUMNS} FROM threads WHERE thread_id = ? AND owner <> {DELETED}"
        );
        let query = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(thread.as_str());
        let row: Option<RawThread> = answer(query.fetch_optional(&self.readers)).await?;
        row.map(RawThread::decode).transpose()
    }

    async fn threads(&self, filter: &ThreadFilter, limit: usize) -> Result<Vec<ThreadRow>> {
        let namespace = filter.namespace.prefix();
        let start =
            format!("SELECT {THREAD_COLUMNS} FROM threads AS t WHERE owner <> {DELETED} AND ");
        let mut list = QueryBuilder::<Sqlite>::new(start);
        list.push("substr(thread_id, 1, instr(thread_id, '/')) = ").push_bind(&namespace);
        if let Some(status) = filter.status {
            list.push(" AND status = ").push_bind(status.as_str());
        }
        if let Some(workflow) = &filter.workflow {
            list.push(" AND workflow = ").push_bind(workflow);
        }
        if let Some((at, id)) = &filter.before {
            list.push(" AND (created_at, thread_id) < (").push_bind(at.millis());
            list.push(", ").push_bind(id.as_str()).push(")");
        }
        for (key, value) in &filter.metadata {
            list.push(" AND EXISTS (SELECT 1 FROM labels l");
            list.push(" WHERE substr(l.thread_id, 1, instr(l.thread_id, '/')) = ");
            list.push_bind(&namespace);
            list.push(" AND l.thread_id = t.thread_id AND l.key = ").push_bind(indexed(key));
            list.push(" AND l.value = ").push_bind(indexed(value)).push(")");
        }
        list.push(" ORDER BY created_at DESC, thread_id DESC LIMIT ").push_bind(row_limit(limit));
        let query = list.build_query_as();
        let rows: Vec<RawThread> = answer(query.fetch_all(&self.lists)).await?;
        rows.into_iter().map(RawThread::decode).collect()
    }

    async fn durations(
        &self,
        namespace: &Namespace,
        workflow: &str,
        limit: usize,
    ) -> Result<Vec<u64>> {
        let query = sqlx::query_scalar(DURATIONS)
            .bind(namespace.prefix())
            .bind(workflow)
            .bind(ThreadStatus::Completed.as_str())
            .bind(FORK_LABEL)
            .bind(row_limit(limit));
        // Its caller soon goes on without it.
        let readers = Bounded::over(self.readers.clone());
        let rows: Vec<i64> = answer(query.fetch_all(&readers)).await?;
        Ok(rows.into_iter().map(i64::cast_unsigned).collect())
    }

    async fn owner(&self, thread: &ThreadId) -> Result<Option<String>> {
        let sql = "SELECT r.name FROM threads t JOIN replicas r ON r.incarnation = t.owner
                   WHERE t.thread_id = ? AND r.lease_until > ?";
        let now = signed_millis(self.clock.monotonic());
        let query = sqlx::query_scalar(sql).bind(thread.as_str()).bind(now);
        answer(query.fetch_optional(&self.readers)).await
    }

    async fn ownership(&self, thread: &ThreadId) -> Result<Option<Ownership>> {
        let query = sqlx::query_as(OWNERSHIP).bind(thread.as_str());
        let query = query.bind(row_limit(MAX_AHEAD)).bind(signed_millis(self.clock.monotonic()));
        let found: Option<RawOwnership> = answer(query.fetch_optional(&self.readers)).await?;
        Ok(found.map(Ownership::from))
    }

    async fn by_idempotency_key(&self, key: &str) -> Result<Option<(ThreadId, String)>> {
        let sql =
            "SELECT thread_id, request_hash FROM idempotency WHERE key = ? AND expires_at > ?";
        let query = sqlx::query_as(sql).bind(indexed(key)).bind(self.clock.now().millis());
        let row: Option<(String, String)> = answer(query.fetch_optional(&self.readers)).await?;
        row.map(|(id, hash)| Ok((thread_id(&id)?, hash))).transpose()
    }
}
