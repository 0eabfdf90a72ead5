//! Deletes threads with every row of them: a large one is marked first, and removed part by part.

use async_trait::async_trait;
use futures_util::FutureExt;
use sqlx::SqliteConnection;

use crate::model::{Seq, ThreadId, Timestamp};
use crate::store::limits::{MAX_DELETED_BYTES, MAX_DELETED_EVENTS, PART_BYTES, PART_ROWS};
use crate::store::rows::row_limit;
use crate::store::{Result, Retention};

use super::SqliteStore;
use super::fault::Fault;
use super::shrink;

/// Statuses of threads that have ended; a test holds them to the model's.
const ENDED: &str = "('completed', 'failed', 'aborted')";

const KEY: &str = "DELETE FROM idempotency WHERE thread_id = ?1
    AND key = (SELECT idempotency_key FROM threads WHERE thread_id = ?1)";
const LABELS: &str = "DELETE FROM labels WHERE thread_id = ?1";
const CURSORS: &str = "DELETE FROM notification_cursors WHERE thread_id = ?1";

/// Deletes the rows of a thread; its own row goes last, as the first of these reads it.
const FORGET: [&str; 10] = [
    KEY,
    "DELETE FROM journal WHERE thread_id = ?1",
    LABELS,
    "DELETE FROM inbox WHERE thread_id = ?1",
    "DELETE FROM snapshots WHERE thread_id = ?1",
    "DELETE FROM recoveries WHERE thread_id = ?1",
    "DELETE FROM suspects WHERE thread_id = ?1",
    "DELETE FROM interventions WHERE thread_id = ?1",
    CURSORS,
    "DELETE FROM threads WHERE thread_id = ?1",
];

/// The bytes of the thread `t` in the tables whose rows may be large. Calls that were refused stay in the
/// inbox without an event: each counts for its share of [`MAX_DELETED_BYTES`], so that there are no more
/// of them than of events ([`MAX_DELETED_EVENTS`]), and no more are looked at.
const WEIGHT: &str = "
    (SELECT coalesce(sum(octet_length(payload)), 0) FROM journal j WHERE j.thread_id = t.thread_id)
    + (SELECT coalesce(sum(octet_length(body) + coalesce(octet_length(answer), 0) + 1700), 0)
        FROM (SELECT body, answer FROM inbox i WHERE i.thread_id = t.thread_id LIMIT 20001))
    + (SELECT coalesce(sum(octet_length(state)), 0) FROM snapshots s WHERE s.thread_id = t.thread_id)
    + (SELECT coalesce(sum(octet_length(body)), 0) FROM interventions n
        WHERE n.thread_id = t.thread_id)";

/// Marks a thread as deleted. The epoch is a fence, as at a claim.
const MARK: &str =
    "UPDATE threads SET owner = -3, epoch = epoch + 1, wake_at = NULL WHERE thread_id = ?1";

/// Deletes the first rows that a thread has in a table: so many, and so many bytes, or one row.
const PART: &str = "DELETE FROM {table} WHERE {place} IN (
    SELECT place FROM (
        SELECT place, size, sum(size) OVER (ORDER BY place) AS upto FROM (
            SELECT {key} AS place, octet_length({bytes}) AS size FROM {table}
            WHERE thread_id = ?1 ORDER BY {key} LIMIT ?2))
    WHERE upto <= ?3 OR upto = size)";

/// The tables that are emptied in parts: how a row is found, its key within the thread, its bytes.
const TABLES: [[&str; 4]; 4] = [
    ["interventions", "rowid", "rowid", "body"],
    ["snapshots", "thread_id = ?1 AND seq", "seq", "state"],
    ["inbox", "ordinal", "ordinal", "body"],
    ["journal", "thread_id = ?1 AND seq", "seq", "payload"],
];

/// A thread that may go: its id, whether it is too long to be weighed, and its bytes as far as the
/// events up to there are few enough.
type Old = (String, bool, Option<i64>);

#[async_trait]
impl Retention for SqliteStore {
    async fn delete(&self, thread: &ThreadId, head: Option<Seq>) -> Result<bool> {
        let id = thread.as_str().to_owned();
        let sql = format!(
            "SELECT thread_id, last_seq > ?3 AS long,
                CASE WHEN last_seq <= ?3 THEN {WEIGHT} END AS bytes
             FROM threads t WHERE thread_id = ?1 AND owner = 0 AND status IN {ENDED}
               AND last_seq = coalesce(?2, last_seq)"
        );
        self.write(move |connection| {
            async move {
                let query = sqlx::query_as(sqlx::AssertSqlSafe(sql))
                    .bind(id)
                    .bind(head.map(Seq::cast_signed))
                    .bind(MAX_DELETED_EVENTS);
                let found: Vec<Old> = query.fetch_all(&mut *connection).await?;
                Ok(forget_or_mark(connection, found).await? == 1)
            }
            .boxed()
        })
        .await
    }

    async fn expire(&self, before: Timestamp, limit: usize) -> Result<usize> {
        let (now, limit) = (self.clock.now().millis(), row_limit(limit));
        let sql = format!(
            "WITH old AS MATERIALIZED (
                SELECT thread_id, completed_at, last_seq FROM threads
                WHERE completed_at < ?1 AND updated_at < ?1 AND owner = 0 AND status IN {ENDED}
                  AND NOT EXISTS (SELECT 1 FROM notification_cursors c
                      WHERE c.thread_id = threads.thread_id)
                ORDER BY completed_at, thread_id LIMIT ?2),
             counted AS (
                SELECT *, sum(last_seq) OVER (ORDER BY completed_at, thread_id) AS upto FROM old)
             SELECT thread_id, last_seq > ?3 AS long, CASE WHEN upto <= ?3 THEN {WEIGHT} END AS bytes
             FROM counted t ORDER BY completed_at, thread_id"
        );
        self.write(move |connection| {
            async move {
                let keys = "DELETE FROM idempotency WHERE expires_at <= ?";
                sqlx::query(keys).bind(now).execute(&mut *connection).await?;
                let query = sqlx::query_as(sqlx::AssertSqlSafe(sql));
                let query = query.bind(before.millis()).bind(limit).bind(MAX_DELETED_EVENTS);
                let found: Vec<Old> = query.fetch_all(&mut *connection).await?;
                forget_or_mark(connection, found).await
            }
            .boxed()
        })
        .await
    }

    async fn sweep(&self) -> Result<()> {
        // Each part is a transaction of its own: appends go in between.
        while self.write(|connection| sweep_part(connection).boxed()).await? {}
        Ok(())
    }

    async fn shrink(&self) -> Result<bool> {
        self.write(|connection| shrink::part(connection).boxed()).await
    }
}

/// Deletes threads as far as one transaction may, and marks those that are too large for any; returns
/// how many.
async fn forget_or_mark(
    connection: &mut SqliteConnection,
    found: Vec<Old>,
) -> Result<usize, Fault> {
    let (mut gone, mut room) = (0, MAX_DELETED_BYTES);
    for (id, long, bytes) in found {
        match bytes {
            Some(bytes) if bytes <= room => {
                room -= bytes;
                forget(connection, &id).await?;
            }
            None if !long => break,
            Some(bytes) if bytes <= MAX_DELETED_BYTES => break,
            Some(_) | None => mark(connection, &id).await?,
        }
        gone += 1;
    }
    Ok(gone)
}

async fn mark(connection: &mut SqliteConnection, id: &str) -> Result<(), Fault> {
    for sql in [MARK, KEY, LABELS, CURSORS] {
        sqlx::query(sql).bind(id).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Removes a part of a marked thread, or the last of it; `false`: there is none.
async fn sweep_part(connection: &mut SqliteConnection) -> Result<bool, Fault> {
    let next = "SELECT thread_id FROM threads WHERE owner = -3 ORDER BY thread_id LIMIT 1";
    let next = sqlx::query_scalar(next).fetch_optional(&mut *connection).await?;
    let Some(id): Option<String> = next else { return Ok(false) };
    for [table, place, key, bytes] in TABLES {
        let sql = PART.replace("{table}", table).replace("{place}", place);
        let sql = sqlx::AssertSqlSafe(sql.replace("{key}", key).replace("{bytes}", bytes));
        let part = sqlx::query(sql).bind(&id).bind(PART_ROWS).bind(PART_BYTES);
        if part.execute(&mut *connection).await?.rows_affected() > 0 {
            return Ok(true);
        }
    }
    forget(connection, &id).await?;
    Ok(true)
}

async fn forget(connection: &mut SqliteConnection, id: &str) -> Result<(), Fault> {
    for sql in FORGET {
        sqlx::query(sql).bind(id).execute(&mut *connection).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ThreadStatus;

    #[test]
    fn ended_means_what_the_model_says() {
        for status in ThreadStatus::ALL {
            let named = ENDED.contains(&format!("'{}'", status.as_str()));
            assert_eq!(named, status.is_terminal(), "{status:?}");
        }
    }
}
