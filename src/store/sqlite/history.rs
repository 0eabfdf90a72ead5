//! What is kept beside the journal: snapshots, recoveries, the index of interventions, and tallies.

use futures_util::FutureExt;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use crate::model::{Epoch, Namespace, RecoveryStrategy, Seq, ThreadId, Timestamp};
use crate::store::history_rows::{
    INTERVENTION_COLUMNS, RECOVERY_COLUMNS, RawCount, RawIntervention, RawRecovery, RawSnapshot,
    amount, intervention_counts, recovery_counts, tallies, up_to,
};
use crate::store::limits::{TALLIES_KEPT, tally_hour};
use crate::store::rows::row_limit;
use crate::store::{
    InterventionCounts, InterventionFilter, InterventionRow, Recovery, RecoveryCount, RecoveryEnd,
    SNAPSHOTS_KEPT, Snapshot, StoreError,
};

use super::SqliteStore;
use super::fault::{Fault, fault};
use super::rows::{MAX_ROWS, room, with_rows};
use super::writer::transaction;

const SAVE_SNAPSHOT: &str = "
INSERT OR REPLACE INTO snapshots (thread_id, seq, kind, version, at, sha256, state)
SELECT thread_id, ?2, ?3, ?4, ?5, ?6, ?7 FROM threads WHERE thread_id = ?1";

const PRUNE_SNAPSHOTS: &str = "
DELETE FROM snapshots WHERE thread_id = ?1 AND seq NOT IN (
    SELECT seq FROM snapshots WHERE thread_id = ?1 ORDER BY seq DESC LIMIT ?2)";

const SNAPSHOT: &str = "
SELECT seq, kind, version, at, sha256, state FROM snapshots
WHERE thread_id = ? AND seq <= ? ORDER BY seq DESC LIMIT 1";

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

const INTERVENTION_COUNTS: &str = "
SELECT (SELECT count(*) FROM interventions
        WHERE substr(thread_id, 1, instr(thread_id, '/')) = ?1 AND resolved_at IS NULL),
    (SELECT count(*) FROM interventions WHERE substr(thread_id, 1, instr(thread_id, '/')) = ?1)";

const INDEX_INTERVENTION: &str = "
INSERT INTO interventions (id, thread_id, opened_at, resolved_at, body) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET opened_at = excluded.opened_at,
    resolved_at = excluded.resolved_at, body = excluded.body
WHERE thread_id = excluded.thread_id";

const FORGET_TALLIES: &str = "DELETE FROM tallies WHERE hour < ?";

const ADD_TALLY: &str = "
INSERT INTO tallies (hour, name, count) VALUES (?, ?, ?)
ON CONFLICT (hour, name) DO UPDATE SET count = count + excluded.count";

const TALLIES: &str = "
SELECT name, sum(count) FROM tallies WHERE hour >= ? GROUP BY name ORDER BY name";

impl SqliteStore {
    pub(super) async fn do_save_snapshot(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
        let snapshot = snapshot.clone();
        let work = transaction(move |connection| {
            async move { save_snapshot(connection, &snapshot).await }.boxed()
        });
        Ok(self.writer.run(work).await?)
    }

    pub(super) async fn do_snapshot(
        &self,
        thread: &ThreadId,
        until: Option<Seq>,
    ) -> Result<Option<Snapshot>, StoreError> {
        let query = sqlx::query_as(SNAPSHOT).bind(thread.as_str()).bind(up_to(until));
        let row: Option<RawSnapshot> =
            query.fetch_optional(&self.readers).await.map_err(|e| fault(&e))?;
        row.map(|row| row.decode(thread)).transpose()
    }

    pub(super) async fn do_begin_recoveries(
        &self,
        recoveries: &[Recovery],
    ) -> Result<(), StoreError> {
        let recoveries = recoveries.to_vec();
        let work = transaction(move |connection| {
            async move {
                for part in recoveries.chunks(MAX_ROWS) {
                    begin_recoveries(connection, part).await?;
                }
                Ok(())
            }
            .boxed()
        });
        Ok(self.writer.run(work).await?)
    }

    pub(super) async fn do_end_recovery(
        &self,
        thread: &ThreadId,
        epoch: Epoch,
        end: &RecoveryEnd,
    ) -> Result<(), StoreError> {
        let (thread, end) = (thread.clone(), end.clone());
        let work = transaction(move |connection| {
            async move {
                let query = sqlx::query(END_RECOVERY)
                    .bind(thread.as_str())
                    .bind(epoch)
                    .bind(end.strategy.map(RecoveryStrategy::as_str))
                    .bind(end.to_seq.map(Seq::cast_signed))
                    .bind(amount(end.duration_ms))
                    .bind(end.result.as_str())
                    .bind(end.detail.as_deref().map(str::as_bytes));
                query.execute(connection).await?;
                Ok(())
            }
            .boxed()
        });
        Ok(self.writer.run(work).await?)
    }

    pub(super) async fn do_recoveries(
        &self,
        thread: &ThreadId,
        before: Option<Epoch>,
        limit: usize,
    ) -> Result<Vec<Recovery>, StoreError> {
        let sql = format!(
            "SELECT {RECOVERY_COLUMNS} FROM recoveries
             WHERE thread_id = ? AND epoch < ? ORDER BY epoch DESC LIMIT ?"
        );
        let query = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(thread.as_str())
            .bind(before.unwrap_or(Epoch::MAX))
            .bind(row_limit(limit));
        let rows: Vec<RawRecovery> = query.fetch_all(&self.readers).await.map_err(|e| fault(&e))?;
        rows.into_iter().map(|row| row.decode(thread)).collect()
    }

    pub(super) async fn do_recovery_counts(
        &self,
        namespace: &Namespace,
        since: Timestamp,
    ) -> Result<Vec<RecoveryCount>, StoreError> {
        let query = sqlx::query_as(RECOVERY_COUNTS).bind(namespace.prefix()).bind(since.millis());
        let rows: Vec<RawCount> = query.fetch_all(&self.readers).await.map_err(|e| fault(&e))?;
        recovery_counts(rows)
    }

    pub(super) async fn do_intervention(
        &self,
        id: &str,
    ) -> Result<Option<InterventionRow>, StoreError> {
        let sql = format!("SELECT {INTERVENTION_COLUMNS} FROM interventions WHERE id = ?");
        let query = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(id);
        let row: Option<RawIntervention> =
            query.fetch_optional(&self.readers).await.map_err(|e| fault(&e))?;
        row.map(RawIntervention::decode).transpose()
    }

    pub(super) async fn do_interventions(
        &self,
        filter: &InterventionFilter,
        limit: usize,
    ) -> Result<Vec<InterventionRow>, StoreError> {
        let start = format!("SELECT {INTERVENTION_COLUMNS} FROM interventions WHERE ");
        let mut list = QueryBuilder::<Sqlite>::new(start);
        list.push("substr(thread_id, 1, instr(thread_id, '/')) = ");
        list.push_bind(filter.namespace.prefix());
        if let Some(open) = filter.open {
            list.push(if open {
                " AND resolved_at IS NULL"
            } else {
                " AND resolved_at IS NOT NULL"
            });
        }
        if let Some(thread) = &filter.thread {
            list.push(" AND thread_id = ").push_bind(thread.as_str());
        }
        if let Some((at, id)) = &filter.before {
            list.push(" AND (opened_at, id) < (").push_bind(at.millis());
            list.push(", ").push_bind(id).push(")");
        }
        list.push(" ORDER BY opened_at DESC, id DESC LIMIT ").push_bind(row_limit(limit));
        let query = list.build_query_as();
        let rows: Vec<RawIntervention> =
            query.fetch_all(&self.readers).await.map_err(|e| fault(&e))?;
        rows.into_iter().map(RawIntervention::decode).collect()
    }

    pub(super) async fn do_intervention_counts(
        &self,
        namespace: &Namespace,
    ) -> Result<InterventionCounts, StoreError> {
        let query = sqlx::query_as(INTERVENTION_COUNTS).bind(namespace.prefix());
        query.fetch_one(&self.readers).await.map(intervention_counts).map_err(|e| fault(&e))
    }

    pub(super) async fn do_add_tallies(
        &self,
        at: Timestamp,
        counts: &[(String, u64)],
    ) -> Result<(), StoreError> {
        let (hour, counts) = (tally_hour(at), counts.to_vec());
        let work = transaction(move |connection| {
            async move {
                let oldest = hour - TALLIES_KEPT;
                sqlx::query(FORGET_TALLIES).bind(oldest).execute(&mut *connection).await?;
                for (name, count) in &counts {
                    let query = sqlx::query(ADD_TALLY).bind(hour).bind(name).bind(amount(*count));
                    query.execute(&mut *connection).await?;
                }
                Ok(())
            }
            .boxed()
        });
        Ok(self.writer.run(work).await?)
    }

    pub(super) async fn do_tallies(
        &self,
        since: Timestamp,
    ) -> Result<Vec<(String, u64)>, StoreError> {
        let query = sqlx::query_as(TALLIES).bind(tally_hour(since));
        let rows: Vec<(String, i64)> =
            query.fetch_all(&self.readers).await.map_err(|e| fault(&e))?;
        Ok(tallies(rows))
    }
}

async fn save_snapshot(
    connection: &mut SqliteConnection,
    snapshot: &Snapshot,
) -> Result<(), Fault> {
    let save = sqlx::query(SAVE_SNAPSHOT)
        .bind(snapshot.thread_id.as_str())
        .bind(snapshot.seq.cast_signed())
        .bind(snapshot.kind.as_str())
        .bind(i64::from(snapshot.version))
        .bind(snapshot.at.millis())
        .bind(&snapshot.sha256)
        .bind(snapshot.state.as_bytes());
    save.execute(&mut *connection).await?;
    let prune = sqlx::query(PRUNE_SNAPSHOTS).bind(snapshot.thread_id.as_str());
    prune.bind(row_limit(SNAPSHOTS_KEPT)).execute(connection).await?;
    Ok(())
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

/// Puts what an append of `thread` says about interventions into the index.
pub(super) async fn index_interventions(
    connection: &mut SqliteConnection,
    thread: &ThreadId,
    rows: &[InterventionRow],
) -> Result<(), Fault> {
    for row in rows {
        let query = sqlx::query(INDEX_INTERVENTION)
            .bind(&row.id)
            .bind(thread.as_str())
            .bind(row.opened_at.millis())
            .bind(row.resolved_at.map(Timestamp::millis))
            .bind(row.body.as_str().as_bytes());
        query.execute(&mut *connection).await?;
    }
    Ok(())
}
