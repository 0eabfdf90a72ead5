//! Messages to threads.

use async_trait::async_trait;
use futures_util::FutureExt;
use sqlx::SqliteConnection;

use crate::model::{Incarnation, Json, ThreadId};
use crate::store::limits::{
    MAX_INBOX, MAX_READ_BYTES, MAX_UNTAKEN, MAX_UNTAKEN_BYTES, SMALL_MESSAGE,
};
use crate::store::rows::{json, message, row_limit, thread_id};
use crate::store::{Inbox, Message, Posted, Result};

use super::SqliteStore;
use super::fault::{Fault, answer};

/// A thread's owner, the number and the bytes of its untaken messages, and whether it has one of a key.
const FOUND: &str = "
SELECT owner, pending, CASE WHEN pending = 0 THEN 0 ELSE (
        SELECT coalesce(sum(octet_length(body)), 0) FROM inbox
        WHERE thread_id = ?1 AND answer IS NULL) END,
    EXISTS (SELECT 1 FROM inbox WHERE thread_id = ?1 AND key = ?2)
FROM threads WHERE thread_id = ?1 AND owner <> -3";

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
    async fn post(&self, thread: &ThreadId, message: &Message) -> Result<Posted> {
        self.post_within(MAX_UNTAKEN, thread, message).await
    }

    async fn post_apart(&self, thread: &ThreadId, message: &Message) -> Result<Posted> {
        self.post_within(usize::MAX, thread, message).await
    }

    async fn inbox(&self, thread: &ThreadId) -> Result<Vec<Message>> {
        let query = sqlx::query_as(INBOX)
            .bind(thread.as_str())
            .bind(row_limit(MAX_INBOX))
            .bind(row_limit(MAX_READ_BYTES));
        let rows = answer(query.fetch_all(&self.readers)).await?;
        rows.into_iter().map(message).collect()
    }

    async fn inbox_of(&self, thread: &ThreadId, kind: &str) -> Result<Vec<Message>> {
        let query = sqlx::query_as(INBOX_OF).bind(thread.as_str()).bind(kind);
        let query = query.bind(row_limit(MAX_INBOX));
        let rows = answer(query.fetch_all(&self.readers)).await?;
        rows.into_iter().map(message).collect()
    }

    async fn mail(&self, me: Incarnation) -> Result<Vec<ThreadId>> {
        let sql = "SELECT thread_id FROM threads WHERE owner = ? AND owner <> 0 AND pending > 0
                   ORDER BY thread_id";
        let query = sqlx::query_scalar(sql).bind(me);
        let ids: Vec<String> = answer(query.fetch_all(&self.readers)).await?;
        ids.iter().map(|id| thread_id(id)).collect()
    }

    async fn answer(&self, thread: &ThreadId, key: &str) -> Result<Option<Json>> {
        let sql = "SELECT answer FROM inbox WHERE thread_id = ? AND key = ? AND answer IS NOT NULL";
        let query = sqlx::query_scalar(sql).bind(thread.as_str()).bind(key);
        let found: Option<Vec<u8>> = answer(query.fetch_optional(&self.readers)).await?;
        found.map(json).transpose()
    }
}

impl SqliteStore {
    async fn post_within(
        &self,
        most: usize,
        thread: &ThreadId,
        message: &Message,
    ) -> Result<Posted> {
        let (id, now) = (thread.as_str().to_owned(), self.clock.now().millis());
        let message = message.clone();
        self.write(move |connection| {
            async move { post(connection, &id, &message, (now, most)).await }.boxed()
        })
        .await
    }
}

async fn post(
    connection: &mut SqliteConnection,
    id: &str,
    message: &Message,
    (now, most): (i64, usize),
) -> Result<Posted, Fault> {
    let found = sqlx::query_as(FOUND).bind(id).bind(&message.key);
    let found: Option<(i64, i64, i64, bool)> = found.fetch_optional(&mut *connection).await?;
    let Some((owner, pending, bytes, known)) = found else { return Ok(Posted::NoThread) };
    if known {
        return Ok(Posted::Duplicate);
    }
    let body = message.body.as_str().as_bytes();
    let fits = pending == 0
        || body.len() <= SMALL_MESSAGE
        || bytes + row_limit(body.len()) <= row_limit(MAX_UNTAKEN_BYTES);
    if pending >= row_limit(most) || !fits {
        return Ok(Posted::Full);
    }
    let insert = "INSERT INTO inbox (thread_id, key, body) VALUES (?, ?, ?)";
    let insert = sqlx::query(insert).bind(id).bind(&message.key).bind(body);
    insert.execute(&mut *connection).await?;
    sqlx::query(WAKE).bind(id).bind(now).execute(connection).await?;
    Ok(Posted::Stored { owner })
}
