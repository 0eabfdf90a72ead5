//! Takes threads of another store in: each in one transaction of the writing task.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt;
use sqlx::SqliteConnection;

use crate::model::Timestamp;
use crate::store::{Import, Result, StoredDefinition, StoredKey, StoredWorkflow, ThreadDump};

use super::SqliteStore;
use super::appends::insert_journal;
use super::fault::Fault;
use super::rows::MAX_ROWS;

const INSERT: &str = "
INSERT INTO threads (thread_id, workflow, workflow_version, definition, request_hash,
    idempotency_key, owner, epoch, last_seq, claims, pending, wake_at, created_at, updated_at,
    completed_at, status, summary, metadata)
VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";

/// A key that has expired is taken over; one of the same thread is the same key.
const INSERT_KEY: &str = "
INSERT INTO idempotency (key, request_hash, thread_id, expires_at) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (key) DO UPDATE SET request_hash = ?2, thread_id = ?3, expires_at = ?4
WHERE expires_at <= ?5 OR thread_id = ?3";

/// An id that another thread has stays with that one, as in an append.
const INSERT_INTERVENTION: &str = "
INSERT INTO interventions (id, thread_id, opened_at, resolved_at, body) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING";

const INSERT_VERSION: &str = "
INSERT INTO workflows (name, version, definition, created_at)
SELECT ?1, 1 + coalesce((SELECT max(version) FROM workflows WHERE name = ?1), 0), ?2, ?3
WHERE NOT EXISTS (SELECT 1 FROM workflows WHERE name = ?1 AND definition = ?2 AND created_at = ?3)
  AND NOT EXISTS (SELECT 1 FROM workflows WHERE name = ?1 AND definition = ?2
      AND version = (SELECT max(version) FROM workflows WHERE name = ?1))
RETURNING version";

#[async_trait]
impl Import for SqliteStore {
    async fn insert(&self, dump: &ThreadDump) -> Result<Option<bool>> {
        let (dump, now) = (Arc::new(dump.clone()), self.clock.now());
        self.write(move |connection| async move { put(connection, &dump, now).await }.boxed()).await
    }

    async fn import_definition(&self, definition: &StoredDefinition) -> Result<()> {
        let sql = "INSERT OR IGNORE INTO definitions (hash, text) VALUES (?, ?)";
        let query = sqlx::query(sql).bind(&definition.hash).bind(&definition.text);
        self.execute(query).await.map(drop)
    }

    async fn import_workflow(&self, version: &StoredWorkflow) -> Result<Option<i64>> {
        let version = version.clone();
        self.write(move |connection| {
            async move {
                let query = sqlx::query_scalar(INSERT_VERSION).bind(version.name);
                let query = query.bind(version.definition).bind(version.created_at);
                Ok(query.fetch_optional(connection).await?)
            }
            .boxed()
        })
        .await
    }
}

async fn put(
    connection: &mut SqliteConnection,
    dump: &ThreadDump,
    now: Timestamp,
) -> Result<Option<bool>, Fault> {
    if !insert_thread(connection, dump, now).await? {
        return Ok(None);
    }
    let id = dump.row.thread_id.as_str();
    for part in dump.journal.chunks(MAX_ROWS) {
        let rows: Vec<_> = part.iter().map(|records| (records.epoch, records.row())).collect();
        let rows: Vec<_> = rows.iter().map(|(epoch, row)| (id, *epoch, row)).collect();
        insert_journal(connection, &rows).await?;
    }
    for (key, value) in &dump.belongings.labels {
        let sql = "INSERT INTO labels (thread_id, key, value) VALUES (?, ?, ?)";
        sqlx::query(sql).bind(id).bind(key).bind(value).execute(&mut *connection).await?;
    }
    for message in &dump.belongings.inbox {
        let sql = "INSERT INTO inbox (thread_id, key, body, answer) VALUES (?, ?, ?, ?)";
        let query = sqlx::query(sql).bind(id).bind(&message.key);
        let query = query.bind(&message.body).bind(&message.answer);
        query.execute(&mut *connection).await?;
    }
    for one in &dump.belongings.interventions {
        let query = sqlx::query(INSERT_INTERVENTION).bind(&one.id).bind(id);
        let query = query.bind(one.opened_at).bind(one.resolved_at).bind(&one.body);
        query.execute(&mut *connection).await?;
    }
    match &dump.belongings.key {
        Some(key) => insert_key(connection, id, key, now).await.map(Some),
        None => Ok(Some(true)),
    }
}

async fn insert_thread(
    connection: &mut SqliteConnection,
    dump: &ThreadDump,
    now: Timestamp,
) -> Result<bool, Fault> {
    let (row, untaken) = (&dump.row, dump.belongings.untaken());
    let wake_at = if row.is_due_on_arrival(untaken) { Some(now.millis()) } else { row.wake_at };
    let query = sqlx::query(INSERT)
        .bind(&row.thread_id)
        .bind(&row.workflow)
        .bind(row.workflow_version)
        .bind(&row.definition)
        .bind(&row.request_hash)
        .bind(&row.idempotency_key)
        .bind(row.epoch)
        .bind(row.last_seq)
        .bind(row.claims)
        .bind(i64::try_from(untaken).unwrap_or(i64::MAX))
        .bind(wake_at)
        .bind(row.created_at)
        .bind(row.updated_at)
        .bind(row.completed_at)
        .bind(&row.status)
        .bind(&row.summary)
        .bind(&row.metadata);
    Ok(query.execute(connection).await?.rows_affected() == 1)
}

async fn insert_key(
    connection: &mut SqliteConnection,
    thread: &str,
    key: &StoredKey,
    now: Timestamp,
) -> Result<bool, Fault> {
    let query = sqlx::query(INSERT_KEY).bind(&key.key).bind(&key.request_hash).bind(thread);
    let query = query.bind(now.millis().saturating_add(key.left_ms)).bind(now.millis());
    Ok(query.execute(connection).await?.rows_affected() == 1)
}
