//! What is known against threads that were lost with their replicas.

use async_trait::async_trait;
use futures_util::FutureExt;

use crate::model::{Incarnation, ThreadId, Timestamp, signed_millis};
use crate::store::rows::{RawDeath, RawSuspect};
use crate::store::{Death, Result, SuspectRow, Suspects};

use super::SqliteStore;
use super::fault::answer;
use super::rows::{MAX_ROWS, room, with_list, with_rows};

const OF_THREADS: &str = "
SELECT thread_id, lost_with, exposed_to, body FROM suspects WHERE thread_id IN ({})";

const OF_INCARNATION: &str = "
SELECT thread_id, lost_with, exposed_to, body FROM suspects
WHERE lost_with = ?1 OR exposed_to = ?1";

/// Rows of NULL match no thread.
const KEEP: &str = "
INSERT OR REPLACE INTO suspects (thread_id, lost_with, exposed_to, body)
SELECT v.* FROM (VALUES {}) AS v WHERE column1 IN (SELECT thread_id FROM threads)";
const WIDTH: usize = 4;

const FORGET: &str = "DELETE FROM suspects WHERE thread_id IN ({})";

const DEATHS: &str = "
SELECT incarnation, seen_at FROM replicas WHERE lease_until <= ? AND seen_at >= ? AND seen_at > 0";

#[async_trait]
impl Suspects for SqliteStore {
    async fn suspects(&self, threads: &[ThreadId]) -> Result<Vec<SuspectRow>> {
        let mut found = Vec::new();
        for part in threads.chunks(MAX_ROWS) {
            let room = room(part.len());
            let mut query = sqlx::query_as(with_list(OF_THREADS, room));
            for id in part {
                query = query.bind(id.as_str());
            }
            for _ in part.len()..room {
                query = query.bind(None::<&str>);
            }
            let rows: Vec<RawSuspect> = answer(query.fetch_all(&self.readers)).await?;
            found.extend(rows);
        }
        found.into_iter().map(RawSuspect::decode).collect()
    }

    async fn suspects_of(&self, incarnation: Incarnation) -> Result<Vec<SuspectRow>> {
        let query = sqlx::query_as(OF_INCARNATION).bind(incarnation);
        let rows: Vec<RawSuspect> = answer(query.fetch_all(&self.readers)).await?;
        rows.into_iter().map(RawSuspect::decode).collect()
    }

    async fn keep_suspects(&self, rows: &[SuspectRow]) -> Result<()> {
        let rows = rows.to_vec();
        self.write(move |connection| {
            async move {
                for part in rows.chunks(MAX_ROWS) {
                    let room = room(part.len());
                    let mut query = sqlx::query(with_rows(KEEP, room, WIDTH));
                    for row in part {
                        query = query
                            .bind(row.thread_id.as_str())
                            .bind(row.lost_with)
                            .bind(row.exposed_to)
                            .bind(row.body.as_str().as_bytes());
                    }
                    for _ in 0..(room - part.len()) * WIDTH {
                        query = query.bind(None::<i64>);
                    }
                    query.execute(&mut *connection).await?;
                }
                Ok(())
            }
            .boxed()
        })
        .await
    }

    async fn forget_suspects(&self, threads: &[ThreadId]) -> Result<()> {
        let ids = threads.to_vec();
        self.write(move |connection| {
            async move {
                for part in ids.chunks(MAX_ROWS) {
                    let room = room(part.len());
                    let mut query = sqlx::query(with_list(FORGET, room));
                    for id in part {
                        query = query.bind(id.as_str());
                    }
                    for _ in part.len()..room {
                        query = query.bind(None::<&str>);
                    }
                    query.execute(&mut *connection).await?;
                }
                Ok(())
            }
            .boxed()
        })
        .await
    }

    async fn deaths(&self, since: Timestamp) -> Result<Vec<Death>> {
        let query = sqlx::query_as(DEATHS).bind(signed_millis(self.clock.monotonic()));
        let query = query.bind(since.millis());
        let rows: Vec<RawDeath> = answer(query.fetch_all(&self.readers)).await?;
        Ok(rows.into_iter().map(RawDeath::decode).collect())
    }
}
