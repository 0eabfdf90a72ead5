//! Reads the tables as they lie there, one autocommitted statement at a time.

use async_trait::async_trait;

use crate::store::archive::{DELETED, STORED_COLUMNS};
use crate::store::limits::MAX_READ_BYTES;
use crate::store::rows::row_limit;
use crate::store::{
    Archive, Belongings, Result, StoredDefinition, StoredRecords, StoredSnapshot, StoredThread,
    StoredWorkflow, ThreadTable,
};

use super::PostgresStore;
use super::fault::answer;

const IDS: &str = "
SELECT thread_id FROM @threads WHERE thread_id > $1 AND owner <> -3 ORDER BY thread_id LIMIT $2";

const RECORDS: &str = "
SELECT seq, first_seq, epoch, at, crc, payload FROM @journal
WHERE thread_id = $1 AND seq > $2 AND seq <= (
    SELECT max(seq) FROM (
        SELECT seq, sum(size) OVER (ORDER BY seq) - size AS before FROM (
            SELECT seq, octet_length(payload) AS size FROM @journal
            WHERE thread_id = $1 AND seq > $2 ORDER BY seq LIMIT $3) sizes) summed
    WHERE before < $4)
ORDER BY seq";

const LABELS: &str = "SELECT key, value FROM @labels WHERE thread_id = $1 ORDER BY key";

const INTERVENTIONS: &str = "
SELECT id, opened_at, resolved_at, body FROM @interventions WHERE thread_id = $1
ORDER BY id COLLATE \"C\"";

const INBOX: &str = "SELECT key, body, answer FROM @inbox WHERE thread_id = $1 ORDER BY ordinal";

const KEY: &str = "
SELECT key, request_hash,
    ceil(extract(epoch FROM expires_at - clock_timestamp()) * 1000)::bigint AS left_ms
FROM @idempotency WHERE key = $1 AND thread_id = $2 AND expires_at > clock_timestamp()";

const SNAPSHOTS: &str = "
SELECT seq, kind, version, at, sha256, state FROM @snapshots
WHERE thread_id = $1 AND seq > $2 ORDER BY seq LIMIT $3";

/// Goes from id to id, not from row to row: a journal has many rows a thread. `{}` is the table.
const IDS_IN: &str = "
WITH RECURSIVE ids AS (
    (SELECT thread_id AS id, 1::bigint AS n FROM @{} WHERE thread_id > $1
     ORDER BY thread_id LIMIT 1)
    UNION ALL
    SELECT (SELECT r.thread_id FROM @{} r WHERE r.thread_id > ids.id
            ORDER BY r.thread_id LIMIT 1), n + 1
    FROM ids WHERE id IS NOT NULL AND n < $2)
SELECT id, EXISTS (SELECT FROM @threads t WHERE t.thread_id = id) FROM ids WHERE id IS NOT NULL";

const DEFINITIONS: &str =
    "SELECT hash, text FROM @definitions WHERE hash > $1 ORDER BY hash LIMIT $2";

const DEFINITION: &str = "SELECT hash, text FROM @definitions WHERE hash = $1";

const WORKFLOWS: &str = "
SELECT name, version, definition, created_at FROM @workflows
WHERE (name, version) > ($1, $2) ORDER BY name, version LIMIT $3";

#[async_trait]
impl Archive for PostgresStore {
    async fn thread_ids(&self, after: &str, limit: usize) -> Result<Vec<String>> {
        let query = sqlx::query_scalar(self.sql(IDS)).bind(after).bind(row_limit(limit));
        answer(query.fetch_all(&self.general)).await
    }

    async fn stored_thread(&self, thread: &str) -> Result<Option<StoredThread>> {
        let sql = self.sql(&format!(
            "SELECT {STORED_COLUMNS} FROM @threads WHERE thread_id = $1 AND owner <> {DELETED}"
        ));
        answer(sqlx::query_as(sql).bind(thread).fetch_optional(&self.general)).await
    }

    async fn stored_records(
        &self,
        thread: &str,
        after: i64,
        limit: usize,
    ) -> Result<Vec<StoredRecords>> {
        let query = sqlx::query_as(self.sql(RECORDS)).bind(thread).bind(after);
        let query = query.bind(row_limit(limit)).bind(row_limit(MAX_READ_BYTES));
        answer(query.fetch_all(&self.general)).await
    }

    async fn belongings(&self, thread: &StoredThread) -> Result<Belongings> {
        let id = &thread.thread_id;
        let labels = sqlx::query_as(self.sql(LABELS)).bind(id);
        let inbox = sqlx::query_as(self.sql(INBOX)).bind(id);
        let key = sqlx::query_as(self.sql(KEY)).bind(&thread.idempotency_key).bind(id);
        let interventions = sqlx::query_as(self.sql(INTERVENTIONS)).bind(id);
        Ok(Belongings {
            labels: answer(labels.fetch_all(&self.general)).await?,
            inbox: answer(inbox.fetch_all(&self.general)).await?,
            key: answer(key.fetch_optional(&self.general)).await?,
            interventions: answer(interventions.fetch_all(&self.general)).await?,
        })
    }

    async fn stored_snapshots(
        &self,
        thread: &str,
        after: i64,
        limit: usize,
    ) -> Result<Vec<StoredSnapshot>> {
        let query = sqlx::query_as(self.sql(SNAPSHOTS)).bind(thread).bind(after);
        answer(query.bind(row_limit(limit)).fetch_all(&self.general)).await
    }

    async fn ids_in(
        &self,
        table: ThreadTable,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, bool)>> {
        let sql = self.sql(&IDS_IN.replace("{}", table.as_str()));
        let query = sqlx::query_as(sql).bind(after).bind(row_limit(limit));
        answer(query.fetch_all(&self.general)).await
    }

    async fn stored_definitions(&self, after: &str, limit: usize) -> Result<Vec<StoredDefinition>> {
        let query = sqlx::query_as(self.sql(DEFINITIONS)).bind(after).bind(row_limit(limit));
        answer(query.fetch_all(&self.general)).await
    }

    async fn stored_definition(&self, hash: &str) -> Result<Option<StoredDefinition>> {
        let query = sqlx::query_as(self.sql(DEFINITION)).bind(hash);
        answer(query.fetch_optional(&self.general)).await
    }

    async fn stored_workflows(
        &self,
        (name, version): (&str, i64),
        limit: usize,
    ) -> Result<Vec<StoredWorkflow>> {
        let query = sqlx::query_as(self.sql(WORKFLOWS)).bind(name).bind(version);
        answer(query.bind(row_limit(limit)).fetch_all(&self.general)).await
    }
}
