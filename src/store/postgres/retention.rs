//! Deletes threads and keys.

use async_trait::async_trait;

use crate::model::{Seq, ThreadId, ThreadStatus, Timestamp};
use crate::store::rows::row_limit;
use crate::store::{Retention, StoreError};

use super::PostgresStore;
use super::fault::answer;

/// Deletes a thread; a trigger deletes the rows that belong to it.
const DELETE: &str = "
DELETE FROM @threads WHERE thread_id = $1 AND owner = 0 AND status = ANY($2)
  AND last_seq = coalesce($3, last_seq)";

/// Chooses the rows once: a sub-query with a limit may be run again for every row. A thread stays
/// until every subscription was sent all of it.
const EXPIRE: &str = "
WITH old AS MATERIALIZED (
    SELECT thread_id FROM @threads r
    WHERE completed_at < $1 AND updated_at < $1 AND owner = 0 AND status = ANY($2)
      AND NOT EXISTS (SELECT FROM @notification_cursors c WHERE c.thread_id = r.thread_id)
    ORDER BY completed_at LIMIT $3 FOR UPDATE SKIP LOCKED)
DELETE FROM @threads r USING old
WHERE r.thread_id = old.thread_id
  AND completed_at < $1 AND updated_at < $1 AND owner = 0 AND status = ANY($2)";

const EXPIRE_KEYS: &str = "
WITH old AS MATERIALIZED (
    SELECT key FROM @idempotency WHERE expires_at <= clock_timestamp()
    LIMIT $1 FOR UPDATE SKIP LOCKED)
DELETE FROM @idempotency r USING old WHERE r.key = old.key AND expires_at <= clock_timestamp()";

#[async_trait]
impl Retention for PostgresStore {
    async fn delete(&self, thread: &ThreadId, head: Option<Seq>) -> Result<bool, StoreError> {
        let query = sqlx::query(self.sql(DELETE))
            .bind(thread.as_str())
            .bind(terminal())
            .bind(head.map(Seq::cast_signed));
        let done = answer::<_, StoreError>(query.execute(&self.general)).await?;
        Ok(done.rows_affected() == 1)
    }

    async fn expire(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let keys = sqlx::query(self.sql(EXPIRE_KEYS)).bind(row_limit(limit));
        answer::<_, StoreError>(keys.execute(&self.general)).await?;
        let threads = sqlx::query(self.sql(EXPIRE))
            .bind(before.millis())
            .bind(terminal())
            .bind(row_limit(limit));
        let done = answer::<_, StoreError>(threads.execute(&self.general)).await?;
        Ok(usize::try_from(done.rows_affected()).unwrap_or(usize::MAX))
    }
}

/// The names of the statuses that a thread can be deleted in.
fn terminal() -> Vec<&'static str> {
    let ended = ThreadStatus::ALL.iter().filter(|status| status.is_terminal());
    ended.map(|status| status.as_str()).collect()
}
