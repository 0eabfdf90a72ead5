//! Snapshots of threads.
//!
//! A write holds the thread's row with `FOR KEY SHARE`: a deletion at the same time either comes first,
//! and nothing is written, or comes after and deletes what was written.

use async_trait::async_trait;

use crate::model::{Seq, ThreadId};
use crate::store::history_rows::up_to;
use crate::store::rows::row_limit;
use crate::store::{Result, SNAPSHOTS_KEPT, Snapshot, Snapshots, StoredSnapshot};

use super::PostgresStore;
use super::fault::answer;

/// A snapshot that is older than all kept ones is not written at all. Two at once may leave one too
/// many, until the next.
const SAVE_SNAPSHOT: &str = "
WITH t AS MATERIALIZED (SELECT thread_id FROM @threads WHERE thread_id = $1 FOR KEY SHARE),
kept AS MATERIALIZED (
    SELECT seq FROM (
        SELECT seq FROM @snapshots WHERE thread_id = $1 AND seq <> $2
        UNION ALL SELECT $2) known
    ORDER BY seq DESC LIMIT $8),
gone AS (
    DELETE FROM @snapshots WHERE thread_id = $1 AND seq NOT IN (SELECT seq FROM kept))
INSERT INTO @snapshots (thread_id, seq, kind, version, at, sha256, state)
SELECT thread_id, $2, $3, $4, $5, $6, $7 FROM t WHERE $2 IN (SELECT seq FROM kept)
ON CONFLICT (thread_id, seq) DO UPDATE SET kind = EXCLUDED.kind, version = EXCLUDED.version,
    at = EXCLUDED.at, sha256 = EXCLUDED.sha256, state = EXCLUDED.state";

const SNAPSHOT: &str = "
SELECT seq, kind, version, at, sha256, state FROM @snapshots
WHERE thread_id = $1 AND seq <= $2 ORDER BY seq DESC LIMIT 1";

#[async_trait]
impl Snapshots for PostgresStore {
    async fn save_snapshot(&self, snapshot: &Snapshot) -> Result<()> {
        let query = sqlx::query(self.sql(SAVE_SNAPSHOT))
            .bind(snapshot.thread_id.as_str())
            .bind(snapshot.seq.cast_signed())
            .bind(snapshot.kind.as_str())
            .bind(i64::from(snapshot.version))
            .bind(snapshot.at.millis())
            .bind(&snapshot.sha256)
            .bind(snapshot.state.as_bytes())
            .bind(row_limit(SNAPSHOTS_KEPT));
        self.execute(query).await.map(drop)
    }

    async fn snapshot(&self, thread: &ThreadId, until: Option<Seq>) -> Result<Option<Snapshot>> {
        let query = sqlx::query_as(self.sql(SNAPSHOT)).bind(thread.as_str()).bind(up_to(until));
        let row: Option<StoredSnapshot> = answer(query.fetch_optional(&self.general)).await?;
        row.map(|row| row.decode(thread)).transpose()
    }
}
