//! Messages to threads.

use async_trait::async_trait;

use crate::model::{Incarnation, Json, ThreadId};
use crate::store::limits::{
    MAX_INBOX, MAX_READ_BYTES, MAX_UNTAKEN, MAX_UNTAKEN_BYTES, SMALL_MESSAGE,
};
use crate::store::rows::{json, message, row_limit, thread_id};
use crate::store::{Inbox, Message, Posted, Result};

use super::PostgresStore;
use super::fault::answer;
use super::pool::Pool;

/// Always writes the thread's row: so a message and a release of the thread come one after the
/// other, and whichever is second sees the first. Bytes are summed as of the statement's begin: what
/// others post at the same moment may go beyond the bound once.
const POST: &str = "
WITH t AS MATERIALIZED (
    SELECT thread_id, pending FROM @threads WHERE thread_id = $1 AND owner <> -3 FOR UPDATE),
room AS MATERIALIZED (
    SELECT thread_id FROM t WHERE pending < $4 AND (pending = 0 OR octet_length($3) <= $6
        OR octet_length($3) + (SELECT coalesce(sum(octet_length(body)), 0) FROM @inbox
            WHERE thread_id = $1 AND answer IS NULL) <= $5)),
i AS (
    INSERT INTO @inbox (thread_id, key, body) SELECT thread_id, $2, $3 FROM room
    ON CONFLICT DO NOTHING RETURNING thread_id),
u AS (
    UPDATE @threads r SET pending = r.pending + 1,
        wake_at = CASE WHEN r.owner = 0 THEN least(r.wake_at, @now_ms()) END
    FROM i WHERE r.thread_id = i.thread_id RETURNING r.owner)
SELECT EXISTS (SELECT FROM t), (SELECT owner FROM u),
    NOT EXISTS (SELECT FROM room)
        AND NOT EXISTS (SELECT FROM @inbox WHERE thread_id = $1 AND key = $2)";

const INBOX: &str = "
SELECT key, body FROM @inbox WHERE thread_id = $1 AND answer IS NULL AND ordinal <= (
    SELECT max(ordinal) FROM (
        SELECT ordinal, size, sum(size) OVER (ORDER BY ordinal) AS upto FROM (
            SELECT ordinal, octet_length(body) AS size FROM @inbox
            WHERE thread_id = $1 AND answer IS NULL ORDER BY ordinal LIMIT $2) sizes) summed
    WHERE upto <= $3 OR upto = size)
ORDER BY ordinal";

const INBOX_OF: &str = "
SELECT key, body FROM @inbox
WHERE thread_id = $1 AND answer IS NULL AND starts_with(key, $2)
ORDER BY ordinal LIMIT $3";

const MAIL: &str = "
SELECT thread_id FROM @threads WHERE owner = $1 AND owner <> 0 AND pending > 0 ORDER BY thread_id";

const ANSWER: &str =
    "SELECT answer FROM @inbox WHERE thread_id = $1 AND key = $2 AND answer IS NOT NULL";

#[async_trait]
impl Inbox for PostgresStore {
    async fn post(&self, thread: &ThreadId, message: &Message) -> Result<Posted> {
        self.post_over((&self.general, MAX_UNTAKEN), thread, message).await
    }

    async fn post_apart(&self, thread: &ThreadId, message: &Message) -> Result<Posted> {
        self.post_over((&self.leases, usize::MAX), thread, message).await
    }

    async fn inbox(&self, thread: &ThreadId) -> Result<Vec<Message>> {
        let query = sqlx::query_as(self.sql(INBOX))
            .bind(thread.as_str())
            .bind(row_limit(MAX_INBOX))
            .bind(row_limit(MAX_READ_BYTES));
        let rows = answer(query.fetch_all(&self.general)).await?;
        rows.into_iter().map(message).collect()
    }

    async fn inbox_of(&self, thread: &ThreadId, kind: &str) -> Result<Vec<Message>> {
        let query = sqlx::query_as(self.sql(INBOX_OF)).bind(thread.as_str()).bind(kind);
        let query = query.bind(row_limit(MAX_INBOX));
        let rows = answer(query.fetch_all(&self.general)).await?;
        rows.into_iter().map(message).collect()
    }

    async fn mail(&self, me: Incarnation) -> Result<Vec<ThreadId>> {
        let query = sqlx::query_scalar(self.sql(MAIL)).bind(me);
        let ids: Vec<String> = answer(query.fetch_all(&self.general)).await?;
        ids.iter().map(|id| thread_id(id)).collect()
    }

    async fn answer(&self, thread: &ThreadId, key: &str) -> Result<Option<Json>> {
        let query = sqlx::query_scalar(self.sql(ANSWER)).bind(thread.as_str()).bind(key);
        let found: Option<Vec<u8>> = answer(query.fetch_optional(&self.general)).await?;
        found.map(json).transpose()
    }
}

impl PostgresStore {
    async fn post_over(
        &self,
        (pool, most): (&Pool, usize),
        thread: &ThreadId,
        message: &Message,
    ) -> Result<Posted> {
        let query = sqlx::query_as(self.sql(POST))
            .bind(thread.as_str())
            .bind(&message.key)
            .bind(message.body.as_str().as_bytes())
            .bind(row_limit(most))
            .bind(row_limit(MAX_UNTAKEN_BYTES))
            .bind(row_limit(SMALL_MESSAGE));
        let (found, owner, full): (bool, Option<i64>, bool) = answer(query.fetch_one(pool)).await?;
        Ok(match owner {
            Some(owner) => Posted::Stored { owner },
            None if !found => Posted::NoThread,
            None if full => Posted::Full,
            None => Posted::Duplicate,
        })
    }
}
