//! Deletes threads with every row of them.

use async_trait::async_trait;
use futures_util::FutureExt;
use sqlx::SqliteConnection;

use crate::model::{Seq, ThreadId, Timestamp};
use crate::store::rows::row_limit;
use crate::store::{Retention, StoreError};

use super::SqliteStore;
use super::fault::Fault;
use super::writer::transaction;

/// Statuses of threads that have ended; a test holds them to the model's.
const ENDED: &str = "('completed', 'failed', 'aborted')";

/// Deletes the rows of a thread; its own row goes last, as the first of these reads it.
const FORGET: [&str; 9] = [
    "DELETE FROM idempotency WHERE thread_id = ?1
     AND key = (SELECT idempotency_key FROM threads WHERE thread_id = ?1)",
    "DELETE FROM journal WHERE thread_id = ?1",
    "DELETE FROM labels WHERE thread_id = ?1",
    "DELETE FROM inbox WHERE thread_id = ?1",
    "DELETE FROM snapshots WHERE thread_id = ?1",
    "DELETE FROM recoveries WHERE thread_id = ?1",
    "DELETE FROM interventions WHERE thread_id = ?1",
    "DELETE FROM notification_cursors WHERE thread_id = ?1",
    "DELETE FROM threads WHERE thread_id = ?1",
];

#[async_trait]
impl Retention for SqliteStore {
    async fn delete(&self, thread: &ThreadId, head: Option<Seq>) -> Result<bool, StoreError> {
        let id = thread.as_str().to_owned();
        let sql = format!(
            "SELECT thread_id FROM threads WHERE thread_id = ? AND owner = 0 AND status IN {ENDED}
               AND last_seq = coalesce(?, last_seq)"
        );
        let work = transaction(move |connection| {
            async move {
                let query = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
                    .bind(id)
                    .bind(head.map(Seq::cast_signed));
                let found: Vec<String> = query.fetch_all(&mut *connection).await?;
                forget(connection, &found).await?;
                Ok(!found.is_empty())
            }
            .boxed()
        });
        Ok(self.writer.run(work).await?)
    }

    async fn expire(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let (now, limit) = (self.clock.now().millis(), row_limit(limit));
        let sql = format!(
            "SELECT thread_id FROM threads
             WHERE completed_at < ?1 AND updated_at < ?1 AND owner = 0 AND status IN {ENDED}
               AND NOT EXISTS (SELECT 1 FROM notification_cursors c
                   WHERE c.thread_id = threads.thread_id)
             ORDER BY completed_at LIMIT ?2"
        );
        let work = transaction(move |connection| {
            async move {
                let keys = "DELETE FROM idempotency WHERE expires_at <= ?";
                sqlx::query(keys).bind(now).execute(&mut *connection).await?;
                let query = sqlx::query_scalar(sqlx::AssertSqlSafe(sql));
                let query = query.bind(before.millis()).bind(limit);
                let found: Vec<String> = query.fetch_all(&mut *connection).await?;
                forget(connection, &found).await?;
                Ok(found.len())
            }
            .boxed()
        });
        Ok(self.writer.run(work).await?)
    }
}

async fn forget(connection: &mut SqliteConnection, ids: &[String]) -> Result<(), Fault> {
    for id in ids {
        for sql in FORGET {
            sqlx::query(sql).bind(id).execute(&mut *connection).await?;
        }
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
