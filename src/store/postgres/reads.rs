//! Journal, rows and lists.

use sqlx::{Postgres, QueryBuilder};

use crate::model::{Epoch, Namespace, Seq, ThreadId, ThreadStatus};
use crate::store::limits::{FORK_LABEL, MAX_READ_BYTES};
use crate::store::records::{ReadRow, Reader};
use crate::store::rows::{RawThread, THREAD_COLUMNS, indexed, row_limit, thread_id};
use crate::store::standing::RawStanding;
use crate::store::{MAX_AHEAD, Records, Standing, StoreError, ThreadFilter, ThreadRow};

use super::PostgresStore;
use super::fault::answer;

/// The head stands beside the rows of the same snapshot, so that a lost tail is noticed.
const READ: &str = "
WITH sizes AS (
    SELECT seq, octet_length(payload) AS size FROM @journal
    WHERE thread_id = $1 AND seq > $2 ORDER BY seq LIMIT $3),
summed AS (SELECT seq, size, sum(size) OVER (ORDER BY seq) AS upto FROM sizes),
part AS MATERIALIZED (
    SELECT max(CASE WHEN upto <= $4 OR upto = size THEN seq END) AS until, max(seq) AS last FROM summed)
SELECT t.last_seq AS head, (SELECT until < last FROM part) AS cut,
    j.seq, j.first_seq, j.at, j.crc, j.payload
FROM @threads t LEFT JOIN (
    SELECT seq, first_seq, at, crc, payload FROM @journal
    WHERE thread_id = $1 AND seq > $2 AND seq <= (SELECT until FROM part)
    ORDER BY seq) j ON true
WHERE t.thread_id = $1 ORDER BY j.seq";

/// Claims go by `wake_at`. What is left of a lease is this database's to say.
const STANDING: &str = "
SELECT r.name, CASE WHEN isfinite(r.lease_until)
        THEN floor(extract(epoch FROM r.lease_until - clock_timestamp()) * 1000)::bigint
        WHEN r.incarnation IS NOT NULL THEN 0 END,
    (SELECT count(*) FROM (
        SELECT FROM @threads a WHERE t.owner = 0 AND a.owner = 0 AND a.wake_at < t.wake_at
        LIMIT $2) before),
    t.pending::bigint,
    (SELECT count(*) FROM @replicas l WHERE l.lease_until > clock_timestamp())
FROM @threads t LEFT JOIN @replicas r ON r.incarnation = t.owner
WHERE t.thread_id = $1";

const WROTE: &str = "
SELECT coalesce((SELECT first_seq = $2 + 1 AND epoch = $3 FROM @journal
    WHERE thread_id = $1 AND seq > $2 ORDER BY seq LIMIT 1), false)";

const HEADS: &str = "SELECT thread_id, last_seq FROM @threads WHERE thread_id = ANY($1)";

const DURATIONS: &str = "
SELECT greatest(completed_at - created_at, 0) FROM @threads t
WHERE left(thread_id, strpos(thread_id, '/')) = $5 AND workflow = $1
    AND completed_at IS NOT NULL AND status = $2
    AND NOT EXISTS (SELECT FROM @labels l WHERE l.thread_id = t.thread_id AND l.key = $4)
ORDER BY completed_at DESC, thread_id DESC LIMIT $3";

impl PostgresStore {
    pub(super) async fn do_read(
        &self,
        thread: &ThreadId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Records>, StoreError> {
        let query = sqlx::query_as(self.sql(READ))
            .bind(thread.as_str())
            .bind(after.cast_signed())
            .bind(row_limit(limit))
            .bind(row_limit(MAX_READ_BYTES));
        let rows: Vec<ReadRow> = answer::<_, StoreError>(query.fetch_all(&self.general)).await?;
        Reader::new(thread, after, limit).read(rows)
    }

    pub(super) async fn do_wrote(
        &self,
        thread: &ThreadId,
        prev: Seq,
        epoch: Epoch,
    ) -> Result<bool, StoreError> {
        let query = sqlx::query_scalar(self.sql(WROTE))
            .bind(thread.as_str())
            .bind(prev.cast_signed())
            .bind(epoch);
        answer(query.fetch_one(&self.general)).await
    }

    pub(super) async fn do_heads(
        &self,
        threads: &[ThreadId],
    ) -> Result<Vec<(ThreadId, Seq)>, StoreError> {
        let ids: Vec<&str> = threads.iter().map(ThreadId::as_str).collect();
        let query = sqlx::query_as(self.sql(HEADS)).bind(ids);
        let rows: Vec<(String, i64)> =
            answer::<_, StoreError>(query.fetch_all(&self.general)).await?;
        rows.iter().map(|(id, head)| Ok((thread_id(id)?, head.cast_unsigned()))).collect()
    }

    pub(super) async fn do_thread(
        &self,
        thread: &ThreadId,
    ) -> Result<Option<ThreadRow>, StoreError> {
        let sql = self.sql(&format!("SELECT {THREAD_COLUMNS} FROM @threads WHERE thread_id = $1"));
        let query = sqlx::query_as(sql).bind(thread.as_str());
        let row: Option<RawThread> =
            answer::<_, StoreError>(query.fetch_optional(&self.general)).await?;
        row.map(RawThread::decode).transpose()
    }

    pub(super) async fn do_threads(
        &self,
        filter: &ThreadFilter,
        limit: usize,
    ) -> Result<Vec<ThreadRow>, StoreError> {
        let schema = self.target.schema.name();
        let namespace = filter.namespace.prefix();
        let start = format!("SELECT {THREAD_COLUMNS} FROM {schema}.threads t WHERE ");
        let mut list = QueryBuilder::<Postgres>::new(start);
        list.push("left(thread_id, strpos(thread_id, '/')) = ").push_bind(&namespace);
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
            list.push(format!(" AND EXISTS (SELECT FROM {schema}.labels l"));
            list.push(" WHERE left(l.thread_id, strpos(l.thread_id, '/')) = ");
            list.push_bind(&namespace);
            list.push(" AND l.thread_id = t.thread_id AND l.key = ").push_bind(indexed(key));
            list.push(" AND l.value = ").push_bind(indexed(value)).push(")");
        }
        list.push(" ORDER BY created_at DESC, thread_id DESC LIMIT ").push_bind(row_limit(limit));
        let query = list.build_query_as();
        let rows: Vec<RawThread> = answer::<_, StoreError>(query.fetch_all(&self.lists)).await?;
        rows.into_iter().map(RawThread::decode).collect()
    }

    pub(super) async fn do_durations(
        &self,
        namespace: &Namespace,
        workflow: &str,
        limit: usize,
    ) -> Result<Vec<u64>, StoreError> {
        let query = sqlx::query_scalar(self.sql(DURATIONS))
            .bind(workflow)
            .bind(ThreadStatus::Completed.as_str())
            .bind(row_limit(limit))
            .bind(FORK_LABEL)
            .bind(namespace.prefix());
        let rows: Vec<i64> = answer::<_, StoreError>(query.fetch_all(&self.general)).await?;
        Ok(rows.into_iter().map(i64::cast_unsigned).collect())
    }

    pub(super) async fn do_owner(&self, thread: &ThreadId) -> Result<Option<String>, StoreError> {
        let query = sqlx::query_scalar(self.sql(
            "SELECT r.name FROM @threads t JOIN @replicas r ON r.incarnation = t.owner
             WHERE t.thread_id = $1 AND r.lease_until > clock_timestamp()",
        ));
        answer(query.bind(thread.as_str()).fetch_optional(&self.general)).await
    }

    pub(super) async fn do_standing(
        &self,
        thread: &ThreadId,
    ) -> Result<Option<Standing>, StoreError> {
        let query = sqlx::query_as(self.sql(STANDING));
        let query = query.bind(thread.as_str()).bind(row_limit(MAX_AHEAD));
        let found: Option<RawStanding> =
            answer::<_, StoreError>(query.fetch_optional(&self.general)).await?;
        Ok(found.map(Standing::from))
    }

    pub(super) async fn do_by_idempotency_key(
        &self,
        key: &str,
    ) -> Result<Option<(ThreadId, String)>, StoreError> {
        let query = sqlx::query_as(self.sql(
            "SELECT thread_id, request_hash FROM @idempotency
             WHERE key = $1 AND expires_at > clock_timestamp()",
        ))
        .bind(indexed(key));
        let row: Option<(String, String)> =
            answer::<_, StoreError>(query.fetch_optional(&self.general)).await?;
        row.map(|(id, hash)| Ok((thread_id(&id)?, hash))).transpose()
    }
}
