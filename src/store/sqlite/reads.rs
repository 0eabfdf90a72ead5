//! Journal, rows and lists, on read-only connections.

use sqlx::{QueryBuilder, Sqlite};

use crate::model::{Epoch, Namespace, Seq, ThreadId, ThreadStatus};
use crate::store::limits::{FORK_LABEL, MAX_READ_BYTES};
use crate::store::records::{ReadRow, Reader};
use crate::store::rows::{RawThread, THREAD_COLUMNS, indexed, row_limit, thread_id};
use crate::store::standing::RawStanding;
use crate::store::{MAX_AHEAD, Records, Standing, StoreError, ThreadFilter, ThreadRow};

use super::SqliteStore;
use super::fault::fault;
use super::leases::millis;
use super::rows::{MAX_ROWS, room, with_list};

/// The head stands beside the rows of the same snapshot, so that a lost tail is noticed.
const READ: &str = "
WITH sizes AS (
    SELECT seq, octet_length(payload) AS size FROM journal
    WHERE thread_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3),
summed AS (SELECT seq, size, sum(size) OVER (ORDER BY seq) AS upto FROM sizes),
part AS MATERIALIZED (
    SELECT max(CASE WHEN upto <= ?4 OR upto = size THEN seq END) AS until, max(seq) AS last FROM summed)
SELECT t.last_seq AS head, (SELECT until < last FROM part) AS cut,
    j.seq, j.first_seq, j.at, j.crc, j.payload
FROM threads t LEFT JOIN (
    SELECT seq, first_seq, at, crc, payload FROM journal
    WHERE thread_id = ?1 AND seq > ?2 AND seq <= (SELECT until FROM part)
    ORDER BY seq) j
WHERE t.thread_id = ?1 ORDER BY j.seq";

/// Claims go by `wake_at`; leases are on the monotonic clock.
const STANDING: &str = "
SELECT r.name, r.lease_until - ?3,
    (SELECT count(*) FROM (
        SELECT 1 FROM threads a WHERE t.owner = 0 AND a.owner = 0 AND a.wake_at < t.wake_at
        LIMIT ?2)),
    t.pending,
    (SELECT count(*) FROM replicas l WHERE l.lease_until > ?3)
FROM threads t LEFT JOIN replicas r ON r.incarnation = t.owner
WHERE t.thread_id = ?1";

const WROTE: &str = "
SELECT coalesce((SELECT first_seq = ?2 + 1 AND epoch = ?3 FROM journal
    WHERE thread_id = ?1 AND seq > ?2 ORDER BY seq LIMIT 1), 0)";

const HEADS: &str = "SELECT thread_id, last_seq FROM threads WHERE thread_id IN ({})";

const DURATIONS: &str = "
SELECT max(completed_at - created_at, 0) FROM threads t
WHERE substr(thread_id, 1, instr(thread_id, '/')) = ? AND workflow = ?
    AND completed_at IS NOT NULL AND status = ?
    AND NOT EXISTS (SELECT 1 FROM labels l WHERE l.thread_id = t.thread_id AND l.key = ?)
ORDER BY completed_at DESC, thread_id DESC LIMIT ?";

impl SqliteStore {
    pub(super) async fn do_read(
        &self,
        thread: &ThreadId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Records>, StoreError> {
        let query = sqlx::query_as(READ)
            .bind(thread.as_str())
            .bind(after.cast_signed())
            .bind(row_limit(limit))
            .bind(row_limit(MAX_READ_BYTES));
        let rows: Vec<ReadRow> = query.fetch_all(&self.readers).await.map_err(|e| fault(&e))?;
        Reader::new(thread, after, limit).read(rows)
    }

    pub(super) async fn do_wrote(
        &self,
        thread: &ThreadId,
        prev: Seq,
        epoch: Epoch,
    ) -> Result<bool, StoreError> {
        let query =
            sqlx::query_scalar(WROTE).bind(thread.as_str()).bind(prev.cast_signed()).bind(epoch);
        query.fetch_one(&self.readers).await.map_err(|e| fault(&e))
    }

    pub(super) async fn do_heads(
        &self,
        threads: &[ThreadId],
    ) -> Result<Vec<(ThreadId, Seq)>, StoreError> {
        let mut heads = Vec::with_capacity(threads.len());
        for part in threads.chunks(MAX_ROWS) {
            let room = room(part.len());
            let mut query = sqlx::query_as(with_list(HEADS, room));
            for id in part {
                query = query.bind(id.as_str());
            }
            for _ in part.len()..room {
                query = query.bind(None::<&str>);
            }
            let rows: Vec<(String, i64)> =
                query.fetch_all(&self.readers).await.map_err(|e| fault(&e))?;
            for (id, head) in rows {
                heads.push((thread_id(&id)?, head.cast_unsigned()));
            }
        }
        Ok(heads)
    }

    pub(super) async fn do_thread(
        &self,
        thread: &ThreadId,
    ) -> Result<Option<ThreadRow>, StoreError> {
        let sql = format!("SELECT {THREAD_COLUMNS} FROM threads WHERE thread_id = ?");
        let query = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(thread.as_str());
        let row: Option<RawThread> =
            query.fetch_optional(&self.readers).await.map_err(|e| fault(&e))?;
        row.map(RawThread::decode).transpose()
    }

    pub(super) async fn do_threads(
        &self,
        filter: &ThreadFilter,
        limit: usize,
    ) -> Result<Vec<ThreadRow>, StoreError> {
        let namespace = filter.namespace.prefix();
        let start = format!("SELECT {THREAD_COLUMNS} FROM threads AS t WHERE ");
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
        let rows: Vec<RawThread> = query.fetch_all(&self.readers).await.map_err(|e| fault(&e))?;
        rows.into_iter().map(RawThread::decode).collect()
    }

    pub(super) async fn do_durations(
        &self,
        namespace: &Namespace,
        workflow: &str,
        limit: usize,
    ) -> Result<Vec<u64>, StoreError> {
        let query = sqlx::query_scalar(DURATIONS)
            .bind(namespace.prefix())
            .bind(workflow)
            .bind(ThreadStatus::Completed.as_str())
            .bind(FORK_LABEL)
            .bind(row_limit(limit));
        let rows: Vec<i64> = query.fetch_all(&self.readers).await.map_err(|e| fault(&e))?;
        Ok(rows.into_iter().map(i64::cast_unsigned).collect())
    }

    pub(super) async fn do_owner(&self, thread: &ThreadId) -> Result<Option<String>, StoreError> {
        let sql = "SELECT r.name FROM threads t JOIN replicas r ON r.incarnation = t.owner
                   WHERE t.thread_id = ? AND r.lease_until > ?";
        let now = millis(self.clock.monotonic());
        let query = sqlx::query_scalar(sql).bind(thread.as_str()).bind(now);
        query.fetch_optional(&self.readers).await.map_err(|e| fault(&e))
    }

    pub(super) async fn do_standing(
        &self,
        thread: &ThreadId,
    ) -> Result<Option<Standing>, StoreError> {
        let query = sqlx::query_as(STANDING).bind(thread.as_str());
        let query = query.bind(row_limit(MAX_AHEAD)).bind(millis(self.clock.monotonic()));
        let found: Option<RawStanding> =
            query.fetch_optional(&self.readers).await.map_err(|e| fault(&e))?;
        Ok(found.map(Standing::from))
    }

    pub(super) async fn do_by_idempotency_key(
        &self,
        key: &str,
    ) -> Result<Option<(ThreadId, String)>, StoreError> {
        let sql =
            "SELECT thread_id, request_hash FROM idempotency WHERE key = ? AND expires_at > ?";
        let query = sqlx::query_as(sql).bind(indexed(key)).bind(self.clock.now().millis());
        let row: Option<(String, String)> =
            query.fetch_optional(&self.readers).await.map_err(|e| fault(&e))?;
        row.map(|(id, hash)| Ok((thread_id(&id)?, hash))).transpose()
    }
}
