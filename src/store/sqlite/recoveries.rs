//! The record of recoveries.

use async_trait::async_trait;
use futures_util::FutureExt;
use sqlx::SqliteConnection;

use crate::model::{Epoch, Namespace, RecoveryStrategy, Seq, ThreadId, Timestamp};
use crate::store::history_rows::{
    RECOVERY_COLUMNS, RawCount, RawRecovery, amount, recovery_counts,
};
use crate::store::rows::row_limit;
use crate::store::{Recoveries, Recovery, RecoveryCount, RecoveryEnd, Result};

use super::SqliteStore;
use super::fault::{Fault, answer};
use super::rows::{MAX_ROWS, room, with_rows};

/// Rows of NULL match no thread.
const BEGIN_RECOVERIES: &str = "
INSERT OR IGNORE INTO recoveries (thread_id, epoch, cause, previous_owner, replica, from_seq,
    started_at, strategy, to_seq, duration_ms, result, detail)
SELECT v.* FROM (VALUES {}) AS v WHERE column1 IN (SELECT thread_id FROM threads)";
const RECOVERY_WIDTH: usize = 12;

const END_RECOVERY: &str = "
UPDATE recoveries SET strategy = ?3, to_seq = ?4, duration_ms = ?5, result = ?6, detail = ?7
WHERE thread_id = ?1 AND epoch = ?2";

const RECOVERY_COUNTS: &str = "
SELECT cause, result, count(*), sum(duration_ms * 1.0) FROM recoveries
WHERE substr(thread_id, 1, instr(thread_id, '/')) = ? AND started_at >= ? GROUP BY cause, result";

#[async_trait]
impl Recoveries for SqliteStore {
    async fn begin_recoveries(&self, recoveries: &[Recovery]) -> Result<()> {
        let recoveries = recoveries.to_vec();
        self.write(move |connection| {
            async move {
                for part in recoveries.chunks(MAX_ROWS) {
                    begin_recoveries(connection, part).await?;
                }
                Ok(())
            }
            .boxed()
        })
        .await
    }

    async fn end_recovery(&self, thread: &ThreadId, epoch: Epoch, end: &RecoveryEnd) -> Result<()> {
        let query = sqlx::query(END_RECOVERY)
            .bind(thread.as_str())
            .bind(epoch)
            .bind(end.strategy.map(RecoveryStrategy::as_str))
            .bind(end.to_seq.map(Seq::cast_signed))
            .bind(amount(end.duration_ms))
            .bind(end.result.as_str())
            .bind(end.detail.as_deref().map(str::as_bytes));
        self.execute(query).await.map(drop)
    }

    async fn recoveries(
        &self,
        thread: &ThreadId,
        before: Option<Epoch>,
        limit: usize,
    ) -> Result<Vec<Recovery>> {
        let sql = format!(
            "SELECT {RECOVERY_COLUMNS} FROM recoveries
             WHERE thread_id = ? AND epoch < ? ORDER BY epoch DESC LIMIT ?"
        );
        let query = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(thread.as_str())
            .bind(before.unwrap_or(Epoch::MAX))
            .bind(row_limit(limit));
        let rows: Vec<RawRecovery> = answer(query.fetch_all(&self.readers)).await?;
        rows.into_iter().map(|row| row.decode(thread)).collect()
    }

    async fn recovery_counts(
        &self,
        namespace: &Namespace,
        since: Timestamp,
    ) -> Result<Vec<RecoveryCount>> {
        let query = sqlx::query_as(RECOVERY_COUNTS).bind(namespace.prefix()).bind(since.millis());
        let rows: Vec<RawCount> = answer(query.fetch_all(&self.lists)).await?;
        recovery_counts(rows)
    }
}

/// Inserts recoveries of threads that exist. At most [`MAX_ROWS`].
async fn begin_recoveries(
    connection: &mut SqliteConnection,
    recoveries: &[Recovery],
) -> Result<(), Fault> {
    let room = room(recoveries.len());
    let mut query = sqlx::query(with_rows(BEGIN_RECOVERIES, room, RECOVERY_WIDTH));
    for recovery in recoveries {
        let end = recovery.end.as_ref();
        query = query
            .bind(recovery.thread_id.as_str())
            .bind(recovery.epoch)
            .bind(recovery.cause.as_str())
            .bind(recovery.previous_owner)
            .bind(recovery.replica.as_str())
            .bind(recovery.from_seq.cast_signed())
            .bind(recovery.started_at.millis())
            .bind(end.and_then(|end| end.strategy).map(RecoveryStrategy::as_str))
            .bind(end.and_then(|end| end.to_seq).map(Seq::cast_signed))
            .bind(end.map(|end| amount(end.duration_ms)))
            .bind(end.map(|end| end.result.as_str()))
            .bind(end.and_then(|end| end.detail.as_deref()).map(str::as_bytes));
    }
    for _ in 0..(room - recoveries.len()) * RECOVERY_WIDTH {
        query = query.bind(None::<i64>);
    }
    query.execute(connection).await?;
    Ok(())
}
