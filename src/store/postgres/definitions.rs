//! Definitions and stored workflows.

use async_trait::async_trait;

use crate::model::{Namespace, Timestamp};
use crate::store::rows::{row_limit, text};
use crate::store::{Definitions, Result, StoreError, StoredWorkflow, WorkflowRow};

use super::PostgresStore;
use super::fault::answer;

/// How often to try again when another version is stored at the same moment.
const SAVE_TRIES: u32 = 20;

const DEFINITION: &str = "SELECT text FROM @definitions WHERE hash = $1";

const SAVE: &str = "
WITH d AS (
    INSERT INTO @definitions (hash, text) VALUES ($2, $3) ON CONFLICT DO NOTHING),
newest AS MATERIALIZED (
    SELECT name, version, definition, created_at FROM @workflows
    WHERE name = $1 ORDER BY version DESC LIMIT 1),
made AS (
    INSERT INTO @workflows (name, version, definition, created_at)
    SELECT $1, coalesce((SELECT version FROM newest), 0) + 1, $2, $4
    WHERE NOT EXISTS (SELECT FROM newest WHERE definition = $2)
    ON CONFLICT DO NOTHING RETURNING name, version, definition, created_at)
SELECT *, true AS made FROM made
UNION ALL SELECT *, false FROM newest WHERE definition = $2";

const WORKFLOW: &str = "
SELECT name, version, definition, created_at FROM @workflows
WHERE name = $1 AND ($2::bigint IS NULL OR version = $2) ORDER BY version DESC LIMIT 1";

const WORKFLOWS: &str = "
SELECT DISTINCT ON (name) name, version, definition, created_at FROM @workflows
WHERE left(name, strpos(name, '/')) = $3 AND ($1::text IS NULL OR name > $1)
ORDER BY name, version DESC LIMIT $2";

#[derive(Debug, sqlx::FromRow)]
struct Saved {
    #[sqlx(flatten)]
    row: StoredWorkflow,
    made: bool,
}

#[async_trait]
impl Definitions for PostgresStore {
    async fn definition(&self, hash: &str) -> Result<Option<String>> {
        let query = sqlx::query_scalar(self.sql(DEFINITION)).bind(hash);
        let found: Option<Vec<u8>> = answer(query.fetch_optional(&self.general)).await?;
        found.map(text).transpose()
    }

    async fn save_workflow(
        &self,
        name: &str,
        hash: &str,
        text: &str,
        now: Timestamp,
    ) -> Result<(WorkflowRow, bool)> {
        for _ in 0..SAVE_TRIES {
            let query = sqlx::query_as(self.sql(SAVE))
                .bind(name)
                .bind(hash)
                .bind(text.as_bytes())
                .bind(now.millis());
            let saved: Option<Saved> = answer(query.fetch_optional(&self.general)).await?;
            if let Some(Saved { row, made }) = saved {
                return Ok((row.decode()?, made));
            }
        }
        Err(StoreError::Unavailable("versions of this workflow keep racing".to_owned()))
    }

    async fn workflow(&self, name: &str, version: Option<u32>) -> Result<Option<WorkflowRow>> {
        let query = sqlx::query_as(self.sql(WORKFLOW)).bind(name).bind(version.map(i64::from));
        let row: Option<StoredWorkflow> = answer(query.fetch_optional(&self.general)).await?;
        row.map(StoredWorkflow::decode).transpose()
    }

    async fn workflows(
        &self,
        namespace: &Namespace,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<WorkflowRow>> {
        let query = sqlx::query_as(self.sql(WORKFLOWS)).bind(after).bind(row_limit(limit));
        let query = query.bind(namespace.prefix());
        let rows: Vec<StoredWorkflow> = answer(query.fetch_all(&self.lists)).await?;
        rows.into_iter().map(StoredWorkflow::decode).collect()
    }
}
