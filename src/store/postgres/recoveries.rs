//! The record of recoveries.
//!
//! Beginning one holds the thread's row with `FOR KEY SHARE`: a deletion at the same time either comes first,
//! and nothing is written, or comes after and deletes what was written.

use async_trait::async_trait;

use crate::model::{Epoch, Namespace, RecoveryStrategy, Seq, ThreadId, Timestamp};
use crate::store::history_rows::{
    RECOVERY_COLUMNS, RawCount, RawRecovery, amount, recovery_counts,
};
use crate::store::rows::row_limit;
use crate::store::{Recoveries, Recovery, RecoveryCount, RecoveryEnd, Result};

use super::PostgresStore;
use super::fault::answer;

/// Threads are locked in the order of their ids, as everywhere.
const BEGIN_RECOVERIES: &str = "
WITH r AS MATERIALIZED (
    SELECT r.* FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::text[],
        $6::bigint[], $7::bigint[], $8::text[], $9::bigint[], $10::bigint[], $11::text[],
        $12::bytea[]) WITH ORDINALITY
        AS r(thread_id, epoch, cause, previous_owner, replica, from_seq, started_at, strategy,
             to_seq, duration_ms, result, detail, n)
    JOIN @threads t USING (thread_id)
    ORDER BY t.thread_id, r.n FOR KEY SHARE OF t)
INSERT INTO @recoveries (thread_id, epoch, cause, previous_owner, replica, from_seq, started_at,
    strategy, to_seq, duration_ms, result, detail)
SELECT thread_id, epoch, cause, previous_owner, replica, from_seq, started_at, strategy,
    to_seq, duration_ms, result, detail FROM r
ON CONFLICT DO NOTHING";

const END_RECOVERY: &str = "
UPDATE @recoveries SET strategy = $3, to_seq = $4, duration_ms = $5, result = $6, detail = $7
WHERE thread_id = $1 AND epoch = $2";

const RECOVERY_COUNTS: &str = "
SELECT cause, result, count(*), sum(duration_ms)::float8 FROM @recoveries
WHERE left(thread_id, strpos(thread_id, '/')) = $2 AND started_at >= $1 GROUP BY cause, result";

#[async_trait]
impl Recoveries for PostgresStore {
    async fn begin_recoveries(&self, recoveries: &[Recovery]) -> Result<()> {
        let query = sqlx::query(self.sql(BEGIN_RECOVERIES))
            .bind(column(recoveries, |one| one.thread_id.as_str()))
            .bind(column(recoveries, |one| one.epoch))
            .bind(column(recoveries, |one| one.cause.as_str()))
            .bind(column(recoveries, |one| one.previous_owner))
            .bind(column(recoveries, |one| one.replica.as_str()))
            .bind(column(recoveries, |one| one.from_seq.cast_signed()))
            .bind(column(recoveries, |one| one.started_at.millis()))
            .bind(column(recoveries, |one| Some(one.end.as_ref()?.strategy?.as_str())))
            .bind(column(recoveries, |one| one.end.as_ref()?.to_seq.map(Seq::cast_signed)))
            .bind(column(recoveries, |one| Some(amount(one.end.as_ref()?.duration_ms))))
            .bind(column(recoveries, |one| Some(one.end.as_ref()?.result.as_str())))
            .bind(column(recoveries, |one| Some(one.end.as_ref()?.detail.as_deref()?.as_bytes())));
        self.execute(query).await.map(drop)
    }

    async fn end_recovery(&self, thread: &ThreadId, epoch: Epoch, end: &RecoveryEnd) -> Result<()> {
        let query = sqlx::query(self.sql(END_RECOVERY))
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
            "SELECT {RECOVERY_COLUMNS} FROM @recoveries
             WHERE thread_id = $1 AND epoch < $2 ORDER BY epoch DESC LIMIT $3"
        );
        let query = sqlx::query_as(self.sql(&sql))
            .bind(thread.as_str())
            .bind(before.unwrap_or(Epoch::MAX))
            .bind(row_limit(limit));
        let rows: Vec<RawRecovery> = answer(query.fetch_all(&self.general)).await?;
        rows.into_iter().map(|row| row.decode(thread)).collect()
    }

    async fn recovery_counts(
        &self,
        namespace: &Namespace,
        since: Timestamp,
    ) -> Result<Vec<RecoveryCount>> {
        let query = sqlx::query_as(self.sql(RECOVERY_COUNTS));
        let query = query.bind(since.millis()).bind(namespace.prefix());
        let rows: Vec<RawCount> = answer(query.fetch_all(&self.lists)).await?;
        recovery_counts(rows)
    }
}

/// One column of these rows.
fn column<'r, T>(rows: &'r [Recovery], of: impl Fn(&'r Recovery) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}
