//! What is kept beside the journal: snapshots, recoveries, the index of interventions, and tallies.
//!
//! What is written of a thread holds the thread's row by its key while it is written: a deletion
//! that comes at the same time goes before it, and nothing is written, or after, and takes it along.

use sqlx::{Postgres, QueryBuilder};

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

use super::PostgresStore;
use super::fault::answer;

/// One that is older than all that are kept is not written at all. Two at once may leave one too
/// many, until the next.
const SAVE_SNAPSHOT: &str = "
WITH t AS MATERIALIZED (SELECT thread_id FROM @threads WHERE thread_id = $1 FOR KEY SHARE),
kept AS MATERIALIZED (
    SELECT seq FROM (
        SELECT seq FROM @snapshots WHERE thread_id = $1 AND seq <> $2
        UNION ALL SELECT $2) known
    ORDER BY seq DESC LIMIT $8),
gone AS (
    DELETE FROM @snapshots WHERE thread_id = $1 AND seq NOT IN (SELECT seq FROM kept))
INSERT INTO @snapshots (thread_id, seq, kind, version, at, sha256, state)
SELECT thread_id, $2, $3, $4, $5, $6, $7 FROM t WHERE $2 IN (SELECT seq FROM kept)
ON CONFLICT (thread_id, seq) DO UPDATE SET kind = EXCLUDED.kind, version = EXCLUDED.version,
    at = EXCLUDED.at, sha256 = EXCLUDED.sha256, state = EXCLUDED.state";

const SNAPSHOT: &str = "
SELECT seq, kind, version, at, sha256, state FROM @snapshots
WHERE thread_id = $1 AND seq <= $2 ORDER BY seq DESC LIMIT 1";

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

const INTERVENTION_COUNTS: &str = "
SELECT (SELECT count(*) FROM @interventions
        WHERE left(thread_id, strpos(thread_id, '/')) = $1 AND resolved_at IS NULL),
    (SELECT count(*) FROM @interventions WHERE left(thread_id, strpos(thread_id, '/')) = $1)";

/// Rows are locked in the order of names; old hours are left to whoever deletes them already.
const ADD_TALLIES: &str = "
WITH old AS MATERIALIZED (
    SELECT hour, name FROM @tallies WHERE hour < $2 FOR UPDATE SKIP LOCKED),
gone AS (
    DELETE FROM @tallies t USING old WHERE t.hour = old.hour AND t.name = old.name)
INSERT INTO @tallies AS t (hour, name, count)
SELECT $1, name, sum(count)::bigint FROM unnest($3::text[], $4::bigint[]) AS n(name, count)
GROUP BY name ORDER BY name COLLATE \"C\"
ON CONFLICT (hour, name) DO UPDATE SET count = t.count + EXCLUDED.count";

const TALLIES: &str = "
SELECT name, sum(count)::bigint FROM @tallies WHERE hour >= $1 GROUP BY name ORDER BY name";

/// The columns of a batch of recoveries.
#[derive(Debug, Default)]
struct Columns<'a> {
    thread_id: Vec<&'a str>,
    epoch: Vec<i64>,
    cause: Vec<&'static str>,
    previous_owner: Vec<i64>,
    replica: Vec<&'a str>,
    from_seq: Vec<i64>,
    started_at: Vec<i64>,
    strategy: Vec<Option<&'static str>>,
    to_seq: Vec<Option<i64>>,
    duration_ms: Vec<Option<i64>>,
    result: Vec<Option<&'static str>>,
    detail: Vec<Option<&'a [u8]>>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, recovery: &'a Recovery) {
        let end = recovery.end.as_ref();
        self.thread_id.push(recovery.thread_id.as_str());
        self.epoch.push(recovery.epoch);
        self.cause.push(recovery.cause.as_str());
        self.previous_owner.push(recovery.previous_owner);
        self.replica.push(&recovery.replica);
        self.from_seq.push(recovery.from_seq.cast_signed());
        self.started_at.push(recovery.started_at.millis());
        self.strategy.push(end.and_then(|end| end.strategy).map(RecoveryStrategy::as_str));
        self.to_seq.push(end.and_then(|end| end.to_seq).map(Seq::cast_signed));
        self.duration_ms.push(end.map(|end| amount(end.duration_ms)));
        self.result.push(end.map(|end| end.result.as_str()));
        self.detail.push(end.and_then(|end| end.detail.as_deref()).map(str::as_bytes));
    }
}

impl PostgresStore {
    pub(super) async fn do_save_snapshot(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
        let query = sqlx::query(self.sql(SAVE_SNAPSHOT))
            .bind(snapshot.thread_id.as_str())
            .bind(snapshot.seq.cast_signed())
            .bind(snapshot.kind.as_str())
            .bind(i64::from(snapshot.version))
            .bind(snapshot.at.millis())
            .bind(&snapshot.sha256)
            .bind(snapshot.state.as_bytes())
            .bind(row_limit(SNAPSHOTS_KEPT));
        answer::<_, StoreError>(query.execute(&self.general)).await?;
        Ok(())
    }

    pub(super) async fn do_snapshot(
        &self,
        thread: &ThreadId,
        until: Option<Seq>,
    ) -> Result<Option<Snapshot>, StoreError> {
        let query = sqlx::query_as(self.sql(SNAPSHOT)).bind(thread.as_str()).bind(up_to(until));
        let row: Option<RawSnapshot> =
            answer::<_, StoreError>(query.fetch_optional(&self.general)).await?;
        row.map(|row| row.decode(thread)).transpose()
    }

    pub(super) async fn do_begin_recoveries(
        &self,
        recoveries: &[Recovery],
    ) -> Result<(), StoreError> {
        let mut columns = Columns::default();
        for recovery in recoveries {
            columns.push(recovery);
        }
        let query = sqlx::query(self.sql(BEGIN_RECOVERIES))
            .bind(columns.thread_id)
            .bind(columns.epoch)
            .bind(columns.cause)
            .bind(columns.previous_owner)
            .bind(columns.replica)
            .bind(columns.from_seq)
            .bind(columns.started_at)
            .bind(columns.strategy)
            .bind(columns.to_seq)
            .bind(columns.duration_ms)
            .bind(columns.result)
            .bind(columns.detail);
        answer::<_, StoreError>(query.execute(&self.general)).await?;
        Ok(())
    }

    pub(super) async fn do_end_recovery(
        &self,
        thread: &ThreadId,
        epoch: Epoch,
        end: &RecoveryEnd,
    ) -> Result<(), StoreError> {
        let query = sqlx::query(self.sql(END_RECOVERY))
            .bind(thread.as_str())
            .bind(epoch)
            .bind(end.strategy.map(RecoveryStrategy::as_str))
            .bind(end.to_seq.map(Seq::cast_signed))
            .bind(amount(end.duration_ms))
            .bind(end.result.as_str())
            .bind(end.detail.as_deref().map(str::as_bytes));
        answer::<_, StoreError>(query.execute(&self.general)).await?;
        Ok(())
    }

    pub(super) async fn do_recoveries(
        &self,
        thread: &ThreadId,
        before: Option<Epoch>,
        limit: usize,
    ) -> Result<Vec<Recovery>, StoreError> {
        let sql = format!(
            "SELECT {RECOVERY_COLUMNS} FROM @recoveries
             WHERE thread_id = $1 AND epoch < $2 ORDER BY epoch DESC LIMIT $3"
        );
        let query = sqlx::query_as(self.sql(&sql))
            .bind(thread.as_str())
            .bind(before.unwrap_or(Epoch::MAX))
            .bind(row_limit(limit));
        let rows: Vec<RawRecovery> =
            answer::<_, StoreError>(query.fetch_all(&self.general)).await?;
        rows.into_iter().map(|row| row.decode(thread)).collect()
    }

    pub(super) async fn do_recovery_counts(
        &self,
        namespace: &Namespace,
        since: Timestamp,
    ) -> Result<Vec<RecoveryCount>, StoreError> {
        let query = sqlx::query_as(self.sql(RECOVERY_COUNTS));
        let query = query.bind(since.millis()).bind(namespace.prefix());
        let rows: Vec<RawCount> = answer::<_, StoreError>(query.fetch_all(&self.lists)).await?;
        recovery_counts(rows)
    }

    pub(super) async fn do_intervention(
        &self,
        id: &str,
    ) -> Result<Option<InterventionRow>, StoreError> {
        // Text of Postgres holds no NUL: there is no such id.
        if id.contains('\0') {
            return Ok(None);
        }
        let sql = format!("SELECT {INTERVENTION_COLUMNS} FROM @interventions WHERE id = $1");
        let query = sqlx::query_as(self.sql(&sql)).bind(id);
        let row: Option<RawIntervention> =
            answer::<_, StoreError>(query.fetch_optional(&self.general)).await?;
        row.map(RawIntervention::decode).transpose()
    }

    pub(super) async fn do_interventions(
        &self,
        filter: &InterventionFilter,
        limit: usize,
    ) -> Result<Vec<InterventionRow>, StoreError> {
        let table = self.target.schema.name();
        let start = format!("SELECT {INTERVENTION_COLUMNS} FROM {table}.interventions WHERE ");
        let mut list = QueryBuilder::<Postgres>::new(start);
        list.push("left(thread_id, strpos(thread_id, '/')) = ");
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
            // Text of Postgres holds no NUL, and no id has one: only a forged cursor.
            list.push(", ").push_bind(id.replace('\0', "")).push(")");
        }
        list.push(" ORDER BY opened_at DESC, id DESC LIMIT ").push_bind(row_limit(limit));
        let query = list.build_query_as();
        let rows: Vec<RawIntervention> =
            answer::<_, StoreError>(query.fetch_all(&self.lists)).await?;
        rows.into_iter().map(RawIntervention::decode).collect()
    }

    pub(super) async fn do_intervention_counts(
        &self,
        namespace: &Namespace,
    ) -> Result<InterventionCounts, StoreError> {
        let query = sqlx::query_as(self.sql(INTERVENTION_COUNTS)).bind(namespace.prefix());
        answer::<_, StoreError>(query.fetch_one(&self.lists)).await.map(intervention_counts)
    }

    pub(super) async fn do_add_tallies(
        &self,
        at: Timestamp,
        counts: &[(String, u64)],
    ) -> Result<(), StoreError> {
        let hour = tally_hour(at);
        let (names, counts): (Vec<&str>, Vec<i64>) =
            counts.iter().map(|(name, count)| (name.as_str(), amount(*count))).unzip();
        let query = sqlx::query(self.sql(ADD_TALLIES))
            .bind(hour)
            .bind(hour - TALLIES_KEPT)
            .bind(names)
            .bind(counts);
        answer::<_, StoreError>(query.execute(&self.general)).await?;
        Ok(())
    }

    pub(super) async fn do_tallies(
        &self,
        since: Timestamp,
    ) -> Result<Vec<(String, u64)>, StoreError> {
        let query = sqlx::query_as(self.sql(TALLIES)).bind(tally_hour(since));
        let rows: Vec<(String, i64)> =
            answer::<_, StoreError>(query.fetch_all(&self.general)).await?;
        Ok(tallies(rows))
    }
}
