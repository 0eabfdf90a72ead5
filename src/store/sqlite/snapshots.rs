//! Snapshots of threads.

use async_trait::async_trait;
use futures_util::FutureExt;
use sqlx::SqliteConnection;

use crate::model::{Seq, ThreadId};
use crate::store::history_rows::up_to;
use crate::store::rows::row_limit;
use crate::store::{Result, SNAPSHOTS_KEPT, Snapshot, Snapshots, StoredSnapshot};

use super::SqliteStore;
use super::fault::{Fault, answer};

const SAVE_SNAPSHOT: &str = "
INSERT OR REPLACE INTO snapshots (thread_id, seq, kind, version, at, sha256, state)
SELECT thread_id, ?2, ?3, ?4, ?5, ?6, ?7 FROM threads WHERE thread_id = ?1";

const PRUNE_SNAPSHOTS: &str = "
DELETE FROM snapshots WHERE thread_id = ?1 AND seq NOT IN (
    SELECT seq FROM snapshots WHERE thread_id = ?1 ORDER BY seq DESC LIMIT ?2)";

const SNAPSHOT: &str = "
SELECT seq, kind, version, at, sha256, state FROM snapshots
WHERE thread_id = ? AND seq <= ? ORDER BY seq DESC LIMIT 1";

#[async_trait]
impl Snapshots for SqliteStore {
    async fn save_snapshot(&self, snapshot: &Snapshot) -> Result<()> {
        let snapshot = snapshot.clone();
        self.write(move |connection| {
            async move { save_snapshot(connection, &snapshot).await }.boxed()
        })
        .await
    }

    async fn snapshot(&self, thread: &ThreadId, until: Option<Seq>) -> Result<Option<Snapshot>> {
        let query = sqlx::query_as(SNAPSHOT).bind(thread.as_str()).bind(up_to(until));
        let row: Option<StoredSnapshot> = answer(query.fetch_optional(&self.readers)).await?;
        row.map(|row| row.decode(thread)).transpose()
    }
}

async fn save_snapshot(
    connection: &mut SqliteConnection,
    snapshot: &Snapshot,
) -> Result<(), Fault> {
    let save = sqlx::query(SAVE_SNAPSHOT)
        .bind(snapshot.thread_id.as_str())
        .bind(snapshot.seq.cast_signed())
        .bind(snapshot.kind.as_str())
        .bind(i64::from(snapshot.version))
        .bind(snapshot.at.millis())
        .bind(&snapshot.sha256)
        .bind(snapshot.state.as_bytes());
    save.execute(&mut *connection).await?;
    let prune = sqlx::query(PRUNE_SNAPSHOTS).bind(snapshot.thread_id.as_str());
    prune.bind(row_limit(SNAPSHOTS_KEPT)).execute(connection).await?;
    Ok(())
}
