//! Deletes threads and keys.
//!
//! No statement deletes more than `statement_timeout` allows: threads are weighed first, and a
//! large one is only marked. A marked thread is invisible; `sweep` removes it part by part.

use async_trait::async_trait;

use crate::model::{Seq, ThreadId, ThreadStatus, Timestamp};
use crate::store::limits::{MAX_DELETED_BYTES, MAX_DELETED_EVENTS};
use crate::store::rows::row_limit;
use crate::store::{Result, Retention, StoreError};

use super::PostgresStore;
use super::fault::{answer, answer_or, code};
use super::sqlstate;

/// The bytes of the thread `t` in the tables whose rows may be large.
const WEIGHT: &str = "
    (SELECT coalesce(sum(octet_length(payload)), 0) FROM @journal j WHERE j.thread_id = t.thread_id)
    + (SELECT coalesce(sum(octet_length(body)), 0) FROM @inbox i WHERE i.thread_id = t.thread_id)
    + (SELECT coalesce(sum(octet_length(state)), 0) FROM @snapshots s WHERE s.thread_id = t.thread_id)
    + (SELECT coalesce(sum(octet_length(body)), 0) FROM @interventions n
        WHERE n.thread_id = t.thread_id)";

/// Tells whether one statement can delete a thread.
const IS_LIGHT: &str = "
SELECT CASE WHEN last_seq <= $2 THEN ({WEIGHT}) <= $3 ELSE false END
FROM @threads t WHERE thread_id = $1";

/// The oldest threads that may be deleted; `bytes` is null once their running total of events
/// exceeds `$6`.
const OLD: &str = "
WITH old AS MATERIALIZED (
    SELECT thread_id, completed_at, last_seq FROM @threads r
    WHERE completed_at < $1 AND updated_at < $1 AND owner = 0 AND status = ANY($2)
      AND (completed_at, thread_id) > ($4, $5)
      AND NOT EXISTS (SELECT FROM @notification_cursors c WHERE c.thread_id = r.thread_id)
    ORDER BY completed_at, thread_id LIMIT $3),
counted AS (SELECT *, sum(last_seq) OVER (ORDER BY completed_at, thread_id) AS upto FROM old)
SELECT thread_id, completed_at, last_seq > $6 AS long,
    CASE WHEN upto <= $6 THEN ({WEIGHT})::bigint END AS bytes
FROM counted t ORDER BY completed_at, thread_id";

/// Deletes a thread; a trigger deletes the rows that belong to it.
const DELETE: &str = "
DELETE FROM @threads WHERE thread_id = $1 AND owner = 0 AND status = ANY($2)
  AND last_seq = coalesce($3, last_seq)";

/// Chooses the rows once: Postgres may rerun a locking sub-query for every row. A thread stays
/// until every subscription was sent all of it.
const EXPIRE: &str = "
WITH old AS MATERIALIZED (
    SELECT thread_id FROM @threads r
    WHERE thread_id = ANY($3)
      AND completed_at < $1 AND updated_at < $1 AND owner = 0 AND status = ANY($2)
      AND NOT EXISTS (SELECT FROM @notification_cursors c WHERE c.thread_id = r.thread_id)
    ORDER BY thread_id FOR UPDATE SKIP LOCKED)
DELETE FROM @threads r USING old
WHERE r.thread_id = old.thread_id
  AND completed_at < $1 AND updated_at < $1 AND owner = 0 AND status = ANY($2)";

/// Marks a thread as deleted and deletes its small rows. The new epoch is a fence, as at a claim.
const MARK: &str = "
WITH marked AS (
    UPDATE @threads r SET owner = -3, epoch = epoch + 1, wake_at = NULL
    WHERE thread_id = $1 AND owner = 0 AND status = ANY($2) AND last_seq = coalesce($3, last_seq)
      AND ($4::bigint IS NULL OR completed_at < $4 AND updated_at < $4 AND NOT EXISTS (
          SELECT FROM @notification_cursors c WHERE c.thread_id = r.thread_id))
    RETURNING thread_id, idempotency_key),
keys AS (
    DELETE FROM @idempotency i USING marked m
    WHERE i.key = m.idempotency_key AND i.thread_id = m.thread_id),
labels AS (DELETE FROM @labels l USING marked m WHERE l.thread_id = m.thread_id),
cursors AS (DELETE FROM @notification_cursors c USING marked m WHERE c.thread_id = m.thread_id)
SELECT EXISTS (SELECT FROM marked)";

const EXPIRE_KEYS: &str = "
WITH old AS MATERIALIZED (
    SELECT key FROM @idempotency WHERE expires_at <= clock_timestamp()
    LIMIT $1 FOR UPDATE SKIP LOCKED)
DELETE FROM @idempotency r USING old WHERE r.key = old.key AND expires_at <= clock_timestamp()";

/// A failed statement, by the way to go on.
#[derive(Debug)]
pub(super) enum Failed {
    /// Too much for one statement, or a row that cannot be deleted now: a smaller part may work.
    Part(StoreError),
    /// Any other statement fails too.
    All(StoreError),
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        let code = code(&error);
        let error = StoreError::from(error);
        match (code.as_deref(), &error) {
            (Some(sqlstate::QUERY_CANCELED | sqlstate::LOCK_NOT_AVAILABLE), _)
            | (Some(_), StoreError::Fatal(_) | StoreError::Corrupt { .. }) => Self::Part(error),
            (_, StoreError::Unavailable(_) | StoreError::ReadOnly(_) | StoreError::Full(_))
            | (None, _) => Self::All(error),
        }
    }
}

impl From<Failed> for StoreError {
    fn from(failed: Failed) -> Self {
        let (Failed::Part(error) | Failed::All(error)) = failed;
        error
    }
}

/// A deletable thread.
#[derive(Debug, sqlx::FromRow)]
struct Old {
    thread_id: String,
    completed_at: i64,
    /// Set if it alone has too many events to be weighed.
    long: bool,
    bytes: Option<i64>,
}

#[async_trait]
impl Retention for PostgresStore {
    async fn delete(&self, thread: &ThreadId, head: Option<Seq>) -> Result<bool> {
        match self.delete_whole(thread.as_str(), head).await {
            Ok(Some(deleted)) => Ok(deleted),
            Ok(None) | Err(Failed::Part(_)) => Ok(self.mark(thread.as_str(), head, None).await?),
            Err(Failed::All(error)) => Err(error),
        }
    }

    async fn expire(&self, before: Timestamp, limit: usize) -> Result<usize> {
        let keys = sqlx::query(self.sql(EXPIRE_KEYS)).bind(row_limit(limit));
        answer(keys.execute(&self.general)).await?;
        let mut after = (i64::MIN, String::new());
        loop {
            let old = self.old(before, limit, &after).await?;
            let Some(last) = old.last() else { return Ok(0) };
            after = (last.completed_at, last.thread_id.clone());
            let (whole, large) = parted(old);
            let mut gone = 0;
            for part in whole {
                gone += self.expire_whole(before, part).await?;
            }
            for thread in large {
                gone += self.expire_large(before, &thread).await?;
            }
            if gone > 0 {
                return Ok(gone);
            }
        }
    }

    async fn sweep(&self) -> Result<()> {
        self.sweep_all().await
    }

    async fn shrink(&self) -> Result<bool> {
        self.vacuum().await?;
        Ok(false)
    }
}

impl PostgresStore {
    /// Deletes a thread with one statement; `None` if it is too large for that.
    async fn delete_whole(&self, thread: &str, head: Option<Seq>) -> Result<Option<bool>, Failed> {
        let weigh = sqlx::query_scalar(self.sql(&weighing(IS_LIGHT)))
            .bind(thread)
            .bind(MAX_DELETED_EVENTS)
            .bind(MAX_DELETED_BYTES);
        match answer_or::<Option<bool>, Failed>(weigh.fetch_optional(&self.general)).await {
            Ok(None) => return Ok(Some(false)),
            Ok(Some(false)) => return Ok(None),
            // Delete a thread even if weighing it fails.
            Ok(Some(true)) | Err(Failed::Part(StoreError::Fatal(_))) => {}
            Err(failed) => return Err(failed),
        }
        let query = sqlx::query(self.sql(DELETE))
            .bind(thread)
            .bind(terminal())
            .bind(head.map(Seq::cast_signed));
        let done = answer_or::<_, Failed>(query.execute(&self.general)).await?;
        Ok(Some(done.rows_affected() == 1))
    }

    /// Marks a thread as deleted; with `before`, only one that may be expired.
    async fn mark(
        &self,
        thread: &str,
        head: Option<Seq>,
        before: Option<Timestamp>,
    ) -> Result<bool, Failed> {
        let query = sqlx::query_scalar(self.sql(MARK))
            .bind(thread)
            .bind(terminal())
            .bind(head.map(Seq::cast_signed))
            .bind(before.map(Timestamp::millis));
        answer_or(query.fetch_one(&self.general)).await
    }

    async fn old(
        &self,
        before: Timestamp,
        limit: usize,
        (at, id): &(i64, String),
    ) -> Result<Vec<Old>> {
        let query = sqlx::query_as(self.sql(&weighing(OLD)))
            .bind(before.millis())
            .bind(terminal())
            .bind(row_limit(limit))
            .bind(at)
            .bind(id)
            .bind(MAX_DELETED_EVENTS);
        answer(query.fetch_all(&self.general)).await
    }

    /// Deletes threads with one statement, or half by half if that fails. A thread that fails alone
    /// is deleted like a large one.
    async fn expire_whole(&self, before: Timestamp, threads: Vec<String>) -> Result<usize> {
        let (mut gone, mut parts) = (0, vec![threads]);
        while let Some(mut part) = parts.pop() {
            let query =
                sqlx::query(self.sql(EXPIRE)).bind(before.millis()).bind(terminal()).bind(&part);
            match answer_or::<_, Failed>(query.execute(&self.general)).await {
                Ok(done) => gone += usize::try_from(done.rows_affected()).unwrap_or(usize::MAX),
                Err(Failed::Part(_)) => {
                    if let [thread] = &*part {
                        gone += self.expire_large(before, thread).await?;
                    } else {
                        let rest = part.split_off(part.len() / 2);
                        parts.extend([rest, part]);
                    }
                }
                Err(Failed::All(error)) => return Err(error),
            }
        }
        Ok(gone)
    }

    async fn expire_large(&self, before: Timestamp, thread: &str) -> Result<usize> {
        match self.mark(thread, None, Some(before)).await {
            Ok(marked) => Ok(usize::from(marked)),
            Err(Failed::Part(error)) => {
                tracing::warn!(thread, %error, "an old thread cannot be deleted");
                Ok(0)
            }
            Err(Failed::All(error)) => Err(error),
        }
    }
}

/// Fills in `{WEIGHT}` in a statement.
fn weighing(sql: &str) -> String {
    sql.replace("{WEIGHT}", WEIGHT)
}

/// Splits threads into parts of one statement each, and those too large for any. Threads that were
/// not weighed wait for the next look.
fn parted(old: Vec<Old>) -> (Vec<Vec<String>>, Vec<String>) {
    let (mut whole, mut large, mut room) = (Vec::<Vec<String>>::new(), Vec::new(), 0);
    for Old { thread_id, long, bytes, .. } in old {
        let bytes = match bytes {
            Some(bytes) if bytes <= MAX_DELETED_BYTES => bytes,
            None if !long => continue,
            Some(_) | None => {
                large.push(thread_id);
                continue;
            }
        };
        if let Some(part) = whole.last_mut().filter(|_| bytes <= room) {
            part.push(thread_id);
        } else {
            room = MAX_DELETED_BYTES;
            whole.push(vec![thread_id]);
        }
        room -= bytes;
    }
    (whole, large)
}

/// The names of the terminal statuses.
fn terminal() -> Vec<&'static str> {
    let ended = ThreadStatus::ALL.iter().filter(|status| status.is_terminal());
    ended.map(|status| status.as_str()).collect()
}
