//! Removes threads that were marked as deleted, part by part.
//!
//! The thread's row goes last, so that nobody starts a thread of that id meanwhile. Every part holds
//! that row: a replica that comes late finds it gone, and takes nothing from a new thread.

use crate::store::Result;
use crate::store::limits::{PART_BYTES, PART_ROWS};

use super::PostgresStore;
use super::fault::{answer, answer_or};
use super::retention::Failed;

/// The tables whose rows may be large, with the column that orders those of a thread and the one that
/// weighs.
const TABLES: [(&str, &str, &str); 4] = [
    ("interventions", "id", "body"),
    ("snapshots", "seq", "state"),
    ("inbox", "key", "body"),
    ("journal", "seq", "payload"),
];

const MARKED: &str = "
SELECT thread_id FROM @threads WHERE owner = -3 AND thread_id > $1 ORDER BY thread_id LIMIT 1";

/// Deletes the first rows that a thread has in a table: so many, or one, and so many bytes, or one row.
const PART: &str = "
WITH held AS MATERIALIZED (
    SELECT FROM @threads WHERE thread_id = $1 AND owner = -3 FOR UPDATE SKIP LOCKED),
part AS MATERIALIZED (
    SELECT place FROM (
        SELECT place, size, sum(size) OVER (ORDER BY name) AS upto FROM (
            SELECT ctid AS place, {key} AS name, octet_length({bytes}) AS size FROM @{table}
            WHERE thread_id = $1 AND EXISTS (SELECT FROM held) ORDER BY {key} LIMIT $2) sizes) summed
    WHERE upto <= $3 OR upto = size),
gone AS (DELETE FROM @{table} WHERE ctid = ANY(ARRAY(SELECT place FROM part)) RETURNING 1)
SELECT EXISTS (SELECT FROM held), EXISTS (SELECT FROM gone)";

/// The trigger takes along what is left.
const LAST: &str = "DELETE FROM @threads WHERE thread_id = $1 AND owner = -3";

impl PostgresStore {
    /// Removes all threads that are marked; one that cannot be removed does not keep the others.
    pub(super) async fn sweep_all(&self) -> Result<()> {
        let mut after = String::new();
        loop {
            let next = sqlx::query_scalar(self.sql(MARKED)).bind(&after);
            let next = answer::<Option<String>>(next.fetch_optional(&self.general));
            let Some(thread) = next.await? else { return Ok(()) };
            match self.sweep_one(&thread).await {
                Ok(()) => {}
                Err(Failed::Part(error)) => {
                    tracing::warn!(thread, %error, "a deleted thread cannot be removed yet");
                }
                Err(Failed::All(error)) => return Err(error),
            }
            after = thread;
        }
    }

    async fn sweep_one(&self, thread: &str) -> Result<(), Failed> {
        for table in TABLES {
            let mut bytes = PART_BYTES;
            loop {
                match self.sweep_part(thread, table, bytes).await {
                    Ok((true, true)) => {}
                    Ok((true, false)) => break,
                    // It is gone, or another replica is at it.
                    Ok((false, _)) => return Ok(()),
                    Err(Failed::Part(_)) if bytes > 0 => bytes /= 2,
                    Err(error) => return Err(error),
                }
            }
        }
        let last = sqlx::query(self.sql(LAST)).bind(thread);
        answer_or::<_, Failed>(last.execute(&self.general)).await?;
        Ok(())
    }

    /// Whether the thread is held here, and whether there was something to delete.
    async fn sweep_part(
        &self,
        thread: &str,
        (table, key, weighs): (&str, &str, &str),
        bytes: i64,
    ) -> Result<(bool, bool), Failed> {
        let sql = PART.replace("{table}", table).replace("{key}", key).replace("{bytes}", weighs);
        // As many times fewer rows as bytes: rows cost as well.
        let rows = (PART_ROWS * bytes / PART_BYTES).max(1);
        let query = sqlx::query_as(self.sql(&sql)).bind(thread).bind(rows).bind(bytes);
        answer_or(query.fetch_one(&self.general)).await
    }
}
