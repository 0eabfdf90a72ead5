//! What is known against threads that were lost with their replicas.
//!
//! Writing a row holds the thread's with `FOR KEY SHARE`, as for recoveries: none outlives its thread.

use async_trait::async_trait;

use crate::model::{Incarnation, ThreadId, Timestamp};
use crate::store::rows::{RawDeath, RawSuspect};
use crate::store::{Death, Result, SuspectRow, Suspects};

use super::PostgresStore;
use super::fault::answer;

const OF_THREADS: &str = "
SELECT thread_id, lost_with, exposed_to, body FROM @suspects WHERE thread_id = ANY($1)";

const OF_INCARNATION: &str = "
SELECT thread_id, lost_with, exposed_to, body FROM @suspects
WHERE lost_with = $1 OR exposed_to = $1";

/// Threads are locked in the order of their ids, as everywhere.
const KEEP: &str = "
WITH s AS MATERIALIZED (
    SELECT s.* FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bytea[])
        AS s(thread_id, lost_with, exposed_to, body)
    JOIN @threads t USING (thread_id) ORDER BY t.thread_id FOR KEY SHARE OF t)
INSERT INTO @suspects (thread_id, lost_with, exposed_to, body)
SELECT thread_id, lost_with, exposed_to, body FROM s
ON CONFLICT (thread_id) DO UPDATE
SET lost_with = excluded.lost_with, exposed_to = excluded.exposed_to, body = excluded.body";

/// Locked in the order of their ids, as they are written: two replicas never wait for each other.
const FORGET: &str = "
WITH s AS MATERIALIZED (
    SELECT thread_id FROM @suspects WHERE thread_id = ANY($1) ORDER BY thread_id FOR UPDATE)
DELETE FROM @suspects r USING s WHERE r.thread_id = s.thread_id";

const DEATHS: &str = "
SELECT incarnation, seen_at FROM @replicas
WHERE lease_until <= clock_timestamp() AND seen_at >= $1 AND seen_at > 0";

#[async_trait]
impl Suspects for PostgresStore {
    async fn suspects(&self, threads: &[ThreadId]) -> Result<Vec<SuspectRow>> {
        let ids: Vec<&str> = threads.iter().map(ThreadId::as_str).collect();
        let query = sqlx::query_as(self.sql(OF_THREADS)).bind(ids);
        let rows: Vec<RawSuspect> = answer(query.fetch_all(&self.general)).await?;
        rows.into_iter().map(RawSuspect::decode).collect()
    }

    async fn suspects_of(&self, incarnation: Incarnation) -> Result<Vec<SuspectRow>> {
        let query = sqlx::query_as(self.sql(OF_INCARNATION)).bind(incarnation);
        let rows: Vec<RawSuspect> = answer(query.fetch_all(&self.general)).await?;
        rows.into_iter().map(RawSuspect::decode).collect()
    }

    async fn keep_suspects(&self, rows: &[SuspectRow]) -> Result<()> {
        let query = sqlx::query(self.sql(KEEP))
            .bind(rows.iter().map(|row| row.thread_id.as_str()).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.lost_with).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.exposed_to).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.body.as_str().as_bytes()).collect::<Vec<_>>());
        self.execute(query).await.map(drop)
    }

    async fn forget_suspects(&self, threads: &[ThreadId]) -> Result<()> {
        let ids: Vec<&str> = threads.iter().map(ThreadId::as_str).collect();
        self.execute(sqlx::query(self.sql(FORGET)).bind(ids)).await.map(drop)
    }

    async fn deaths(&self, since: Timestamp) -> Result<Vec<Death>> {
        let query = sqlx::query_as(self.sql(DEATHS)).bind(since.millis());
        let rows: Vec<RawDeath> = answer(query.fetch_all(&self.general)).await?;
        Ok(rows.into_iter().map(RawDeath::decode).collect())
    }
}
