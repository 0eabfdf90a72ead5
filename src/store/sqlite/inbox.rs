//! Messages to threads.

use async_trait::async_trait;
use futures_util::FutureExt;
use sqlx::SqliteConnection;

use crate::model::{Incarnation, Json, ThreadId};
use crate::store::limits::{MAX_INBOX, MAX_READ_BYTES};
use crate::store::rows::{json, message, row_limit, thread_id};
use crate::store::{Inbox, Message, Posted, StoreError};

use super::SqliteStore;
use super::fault::{Fault, fault};
use super::writer::transaction;

const WAKE: &str = "
UPDATE threads SET pending = pending + 1,
    wake_at = CASE WHEN owner = 0 THEN min(coalesce(wake_at, ?2), ?2) END
WHERE thread_id = ?1";

const INBOX: &str = "
SELECT key, body FROM inbox WHERE thread_id = ?1 AND answer IS NULL AND ordinal <= (
    SELECT max(ordinal) FROM (
        SELECT ordinal, size, sum(size) OVER (ORDER BY ordinal) AS upto FROM (
            SELECT ordinal, octet_length(body) AS size FROM inbox
            WHERE thread_id = ?1 AND answer IS NULL ORDER BY ordinal LIMIT ?2))
    WHERE upto <= ?3 OR upto = size)
ORDER BY ordinal";

const INBOX_OF: &str = "
SELECT key, body FROM inbox
WHERE thread_id = ?1 AND answer IS NULL AND substr(key, 1, length(?2)) = ?2
ORDER BY ordinal LIMIT ?3";

#[async_trait]
impl Inbox for SqliteStore {
    async fn post(&self, thread: &ThreadId, message: &Message) -> Result<Posted, StoreError> {
        let (id, now) = (thread.as_str().to_owned(), self.clock.now().millis());
        let message = message.clone();
        let work = transaction(move |connection| {
            async move { post(connection, &id, &message, now).await }.boxed()
        });
        Ok(self.writer.run(work).await?)
    }

    async fn inbox(&self, thread: &ThreadId) -> Result<Vec<Message>, StoreError> {
        let query = sqlx::query_as(INBOX)
            .bind(thread.as_str())
            .bind(row_limit(MAX_INBOX))
            .bind(row_limit(MAX_READ_BYTES));
        let rows = query.fetch_all(&self.readers).await.map_err(|e| fault(&e))?;
        rows.into_iter().map(message).collect()
    }

    async fn inbox_of(&self, thread: &ThreadId, kind: &str) -> Result<Vec<Message>, StoreError> {
        let query = sqlx::query_as(INBOX_OF).bind(thread.as_str()).bind(kind);
        let query = query.bind(row_limit(MAX_INBOX));
        let rows = query.fetch_all(&self.readers).await.map_err(|e| fault(&e))?;
        rows.into_iter().map(message).collect()
    }

    async fn mail(&self, me: Incarnation) -> Result<Vec<ThreadId>, StoreError> {
        let sql = "SELECT thread_id FROM threads WHERE owner = ? AND owner <> 0 AND pending > 0
                   ORDER BY thread_id";
        let query = sqlx::query_scalar(sql).bind(me);
        let ids: Vec<String> = query.fetch_all(&self.readers).await.map_err(|e| fault(&e))?;
        ids.iter().map(|id| thread_id(id)).collect()
    }

    async fn answer(&self, thread: &ThreadId, key: &str) -> Result<Option<Json>, StoreError> {
        let sql = "SELECT answer FROM inbox WHERE thread_id = ? AND key = ? AND answer IS NOT NULL";
        let query = sqlx::query_scalar(sql).bind(thread.as_str()).bind(key);
        let found: Option<Vec<u8>> =
            query.fetch_optional(&self.readers).await.map_err(|e| fault(&e))?;
        found.map(json).transpose()
    }
}

async fn post(
    connection: &mut SqliteConnection,
    id: &str,
    message: &Message,
    now: i64,
) -> Result<Posted, Fault> {
    let owner = sqlx::query_scalar("SELECT owner FROM threads WHERE thread_id = ? AND owner <> -3")
        .bind(id);
    let Some(owner) = owner.fetch_optional(&mut *connection).await? else {
        return Ok(Posted::NoThread);
    };
    let insert = "INSERT INTO inbox (thread_id, key, body) VALUES (?, ?, ?)
                  ON CONFLICT (thread_id, key) DO NOTHING";
    let body = message.body.as_str().as_bytes();
    let insert = sqlx::query(insert).bind(id).bind(&message.key).bind(body);
    if insert.execute(&mut *connection).await?.rows_affected() == 0 {
        return Ok(Posted::Duplicate);
    }
    sqlx::query(WAKE).bind(id).bind(now).execute(connection).await?;
    Ok(Posted::Stored { owner })
}
