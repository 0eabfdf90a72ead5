//! Threads that leave this file for another store: whoever is there must not be driven here.
//!
//! A move may be broken off, and the file stand in for the database once more. What may be in both
//! is marked before it is put there, by an owner that is no replica and whose lease never expires;
//! what certainly is there is marked so that it is not put there again. Called by `app` alone.

use crate::store::Result;
use crate::store::archive::LEAVING;

use super::SqliteStore;
use super::rows::{MAX_ROWS, room, with_list};

/// A thread that was driven here is due, wherever it goes on.
const LEAVE: &str = "
UPDATE threads SET owner = -1,
    wake_at = CASE WHEN owner > 0 AND (completed_at IS NULL OR pending > 0) THEN ? ELSE wake_at END
WHERE owner >= 0 AND thread_id IN ({})";

const STAY: &str = "UPDATE threads SET owner = 0 WHERE owner = ? AND thread_id IN ({})";

const GO: &str = "UPDATE threads SET owner = -2 WHERE owner = ? AND thread_id IN ({})";

impl SqliteStore {
    /// Marks threads that are about to be moved: nobody claims them here any more.
    pub async fn leave(&self, threads: &[String]) -> Result<()> {
        self.mark(LEAVE, self.clock.now().millis(), threads).await
    }

    /// Takes back that threads are about to be moved: they are not in the other store.
    pub async fn stay(&self, threads: &[String]) -> Result<()> {
        self.mark(STAY, LEAVING, threads).await
    }

    /// Marks threads that were moved ([`crate::store::StoredThread::is_gone`]).
    pub async fn go(&self, threads: &[String]) -> Result<()> {
        self.mark(GO, LEAVING, threads).await
    }

    async fn mark(&self, sql: &'static str, first: i64, threads: &[String]) -> Result<()> {
        for part in threads.chunks(MAX_ROWS) {
            let room = room(part.len());
            let mut query = sqlx::query(with_list(sql, room)).bind(first);
            for id in part {
                query = query.bind(id);
            }
            for _ in part.len()..room {
                query = query.bind(None::<&str>);
            }
            self.execute(query).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::archive::GONE;

    #[test]
    fn marks_are_those_that_the_archive_knows() {
        assert!(LEAVE.contains(&format!("owner = {LEAVING},")));
        assert!(GO.contains(&format!("owner = {GONE} ")));
    }
}
