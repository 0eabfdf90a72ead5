//! Definitions and stored workflows.

use async_trait::async_trait;
use futures_util::FutureExt;
use sqlx::SqliteConnection;

use crate::model::{Namespace, Timestamp};
use crate::store::rows::{row_limit, text};
use crate::store::{Definitions, Result, StoredWorkflow, WorkflowRow};

use super::SqliteStore;
use super::fault::{Fault, answer};

const NEWEST: &str = "
SELECT name, version, definition, created_at FROM workflows
WHERE name = ?1 AND (?2 IS NULL OR version = ?2) ORDER BY version DESC LIMIT 1";

const SAVE: &str = "
INSERT INTO workflows (name, version, definition, created_at)
VALUES (?1, 1 + coalesce((SELECT max(version) FROM workflows WHERE name = ?1), 0), ?2, ?3)
RETURNING name, version, definition, created_at";

const WORKFLOWS: &str = "
SELECT name, version, definition, created_at FROM workflows AS w
WHERE substr(name, 1, instr(name, '/')) = ?3 AND (?1 IS NULL OR name > ?1)
  AND version = (SELECT max(version) FROM workflows WHERE name = w.name)
ORDER BY name LIMIT ?2";

#[async_trait]
impl Definitions for SqliteStore {
    async fn definition(&self, hash: &str) -> Result<Option<String>> {
        let query = sqlx::query_scalar("SELECT text FROM definitions WHERE hash = ?").bind(hash);
        let found: Option<Vec<u8>> = answer(query.fetch_optional(&self.readers)).await?;
        found.map(text).transpose()
    }

    async fn save_workflow(
        &self,
        name: &str,
        hash: &str,
        text: &str,
        now: Timestamp,
    ) -> Result<(WorkflowRow, bool)> {
        let (name, hash, text) = (name.to_owned(), hash.to_owned(), text.to_owned());
        self.write(move |connection| {
            async move { save(connection, (&name, &hash, &text), now).await }.boxed()
        })
        .await
    }

    async fn workflow(&self, name: &str, version: Option<u32>) -> Result<Option<WorkflowRow>> {
        let query = sqlx::query_as(NEWEST).bind(name).bind(version.map(i64::from));
        let row: Option<StoredWorkflow> = answer(query.fetch_optional(&self.readers)).await?;
        row.map(StoredWorkflow::decode).transpose()
    }

    async fn workflows(
        &self,
        namespace: &Namespace,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<WorkflowRow>> {
        let query = sqlx::query_as(WORKFLOWS).bind(after).bind(row_limit(limit));
        let query = query.bind(namespace.prefix());
        let rows: Vec<StoredWorkflow> = answer(query.fetch_all(&self.lists)).await?;
        rows.into_iter().map(StoredWorkflow::decode).collect()
    }
}

async fn save(
    connection: &mut SqliteConnection,
    (name, hash, definition): (&str, &str, &str),
    now: Timestamp,
) -> Result<(WorkflowRow, bool), Fault> {
    sqlx::query("INSERT OR IGNORE INTO definitions (hash, text) VALUES (?, ?)")
        .bind(hash)
        .bind(definition.as_bytes())
        .execute(&mut *connection)
        .await?;
    let newest = sqlx::query_as(NEWEST).bind(name).bind(None::<i64>);
    let newest: Option<StoredWorkflow> = newest.fetch_optional(&mut *connection).await?;
    if let Some(row) = newest.map(StoredWorkflow::decode).transpose()?
        && row.definition == hash
    {
        return Ok((row, false));
    }
    let made = sqlx::query_as(SAVE).bind(name).bind(hash).bind(now.millis());
    let made: StoredWorkflow = made.fetch_one(connection).await?;
    Ok((made.decode()?, true))
}
