//! Rows of threads, and lists of them.

use async_trait::async_trait;
use sqlx::{Postgres, QueryBuilder};

use crate::model::{Namespace, ThreadId, ThreadStatus};
use crate::store::archive::DELETED;
use crate::store::ownership::RawOwnership;
use crate::store::rows::{RawThread, THREAD_COLUMNS, indexed, row_limit, thread_id};
use crate::store::{FORK_LABEL, MAX_AHEAD, Ownership, Result, ThreadFilter, ThreadRow, Threads};

use super::PostgresStore;
use super::fault::answer;

/// Claims go by `wake_at`. What is left of a lease is this database's to say.
const OWNERSHIP: &str = "
SELECT r.name, CASE WHEN isfinite(r.lease_until)
        THEN floor(extract(epoch FROM r.lease_until - clock_timestamp()) * 1000)::bigint
        WHEN r.incarnation IS NOT NULL THEN 0 END,
    (SELECT count(*) FROM (
        SELECT FROM @threads a WHERE t.owner = 0 AND a.owner = 0 AND a.wake_at < t.wake_at
        LIMIT $2) before),
    t.pending::bigint,
    (SELECT count(*) FROM @replicas l WHERE l.lease_until > clock_timestamp())
FROM @threads t LEFT JOIN @replicas r ON r.incarnation = t.owner
WHERE t.thread_id = $1 AND t.owner <> -3";

const DURATIONS: &str = "
SELECT greatest(completed_at - created_at, 0) FROM @threads t
WHERE left(thread_id, strpos(thread_id, '/')) = $5 AND workflow = $1
    AND completed_at IS NOT NULL AND status = $2
    AND NOT EXISTS (SELECT FROM @labels l WHERE l.thread_id = t.thread_id AND l.key = $4)
ORDER BY completed_at DESC, thread_id DESC LIMIT $3";

#[async_trait]
impl Threads for PostgresStore {
    async fn thread(&self, thread: &ThreadId) -> Result<Option<ThreadRow>> {
        let sql = self.sql(&format!(
            "SELECT {THREAD_COLUMNS} FROM @threads WHERE thread_id = $1 AND owner <> {DELETED}"
        ));
        let query = sqlx::query_as(sql).bind(thread.as_str());
        let row: Option<RawThread> = answer(query.fetch_optional(&self.general)).await?;
        row.map(RawThread::decode).transpose()
    }

    async fn threads(&self, filter: &ThreadFilter, limit: usize) -> Result<Vec<ThreadRow>> {
        let schema = self.target.schema.name();
        let namespace = filter.namespace.prefix();
        let start = format!(
            "SELECT {THREAD_COLUMNS} FROM {schema}.threads t WHERE owner <> {DELETED} AND "
        );
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
        let rows: Vec<RawThread> = answer(query.fetch_all(&self.lists)).await?;
        rows.into_iter().map(RawThread::decode).collect()
    }

    async fn durations(
        &self,
        namespace: &Namespace,
        workflow: &str,
        limit: usize,
    ) -> Result<Vec<u64>> {
        let query = sqlx::query_scalar(self.sql(DURATIONS))
            .bind(workflow)
            .bind(ThreadStatus::Completed.as_str())
            .bind(row_limit(limit))
            .bind(FORK_LABEL)
            .bind(namespace.prefix());
        let rows: Vec<i64> = answer(query.fetch_all(&self.general)).await?;
        Ok(rows.into_iter().map(i64::cast_unsigned).collect())
    }

    async fn owner(&self, thread: &ThreadId) -> Result<Option<String>> {
        let query = sqlx::query_scalar(self.sql(
            "SELECT r.name FROM @threads t JOIN @replicas r ON r.incarnation = t.owner
             WHERE t.thread_id = $1 AND r.lease_until > clock_timestamp()",
        ));
        answer(query.bind(thread.as_str()).fetch_optional(&self.general)).await
    }

    async fn ownership(&self, thread: &ThreadId) -> Result<Option<Ownership>> {
        let query = sqlx::query_as(self.sql(OWNERSHIP));
        let query = query.bind(thread.as_str()).bind(row_limit(MAX_AHEAD));
        let found: Option<RawOwnership> = answer(query.fetch_optional(&self.general)).await?;
        Ok(found.map(Ownership::from))
    }

    async fn by_idempotency_key(&self, key: &str) -> Result<Option<(ThreadId, String)>> {
        let query = sqlx::query_as(self.sql(
            "SELECT thread_id, request_hash FROM @idempotency
             WHERE key = $1 AND expires_at > clock_timestamp()",
        ))
        .bind(indexed(key));
        let row: Option<(String, String)> = answer(query.fetch_optional(&self.general)).await?;
        row.map(|(id, hash)| Ok((thread_id(&id)?, hash))).transpose()
    }
}
