//! How a file becomes smaller: it gives unused pages back in small parts, once it has the tables for that.
//!
//! Files made by this version have them. An earlier file gets them when all of it is written anew, which
//! the opening does for a small one, and `rethread compact` for any.

use sqlx::sqlite::SqliteAutoVacuum;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::fault::Fault;

/// What new files are made with.
pub(super) const MODE: SqliteAutoVacuum = SqliteAutoVacuum::Incremental;
/// The same as `PRAGMA auto_vacuum` tells it.
const INCREMENTAL: i64 = 2;
/// One page in so many may be unused: what comes next takes it, and the file need not grow for that.
const KEPT_PART: i64 = 8;
/// Unused bytes that are kept however small the file is.
const KEPT_BYTES: i64 = 4 << 20;
/// Pages that are given back in one transaction: 4 MiB, some milliseconds in which others wait.
const PART: i64 = 1024;
/// The largest file that is written anew when it is opened: a fraction of a second.
const SMALL: i64 = 32 << 20;

/// The pages of a file.
#[derive(Debug, Clone, Copy)]
struct Pages {
    all: i64,
    unused: i64,
    bytes: i64,
    can_shrink: bool,
}

impl Pages {
    async fn of(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let mut numbers = [0; 4];
        let pragmas = ["page_count", "freelist_count", "page_size", "auto_vacuum"];
        for (number, pragma) in numbers.iter_mut().zip(pragmas) {
            let sql = AssertSqlSafe(format!("PRAGMA {pragma}"));
            *number = sqlx::query_scalar(sql).fetch_one(&mut *connection).await?;
        }
        let [all, unused, bytes, mode] = numbers;
        Ok(Self { all, unused, bytes, can_shrink: mode == INCREMENTAL })
    }

    /// The number of unused pages beyond those that are kept.
    fn spare(self) -> i64 {
        let kept = (self.all / KEPT_PART).max(KEPT_BYTES / self.bytes.max(1));
        if self.can_shrink { self.unused.saturating_sub(kept).max(0) } else { 0 }
    }
}

/// Gives some unused pages back; returns whether more can be.
pub(super) async fn part(connection: &mut SqliteConnection) -> Result<bool, Fault> {
    let spare = Pages::of(connection).await?.spare();
    if spare > 0 {
        let sql = format!("PRAGMA incremental_vacuum({})", spare.min(PART));
        sqlx::query(AssertSqlSafe(sql)).execute(connection).await?;
    }
    Ok(spare > PART)
}

/// Lets an earlier file shrink from now on if that takes but a moment; else tells how it can.
pub(super) async fn prepare(connection: &mut SqliteConnection) {
    match prepared(connection).await {
        Ok(true) => {}
        Ok(false) => tracing::info!(
            "the database file stays as large as it is, and what is deleted makes room for what comes: \
             to let it shrink, run `rethread compact` while the server is stopped"
        ),
        Err(error) => tracing::warn!(%error, "the database file stays as large as it is"),
    }
}

async fn prepared(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let pages = Pages::of(connection).await?;
    if !pages.can_shrink && pages.all.saturating_mul(pages.bytes) <= SMALL {
        compact(connection).await?;
        return Ok(true);
    }
    Ok(pages.can_shrink)
}

/// Writes the file anew, without unused pages. It takes the room of the file once more meanwhile.
pub(super) async fn compact(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    for sql in ["PRAGMA auto_vacuum = INCREMENTAL", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"] {
        sqlx::query(sql).execute(&mut *connection).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sqlx::Connection as _;

    use super::*;

    async fn fill(connection: &mut SqliteConnection) {
        for sql in ["CREATE TABLE t (x)", "PRAGMA journal_mode = WAL"] {
            sqlx::query(sql).execute(&mut *connection).await.unwrap();
        }
        for _ in 0..40 {
            let sql = "INSERT INTO t VALUES (randomblob(1048576))";
            sqlx::query(sql).execute(&mut *connection).await.unwrap();
        }
    }

    async fn empty(connection: &mut SqliteConnection) {
        sqlx::query("DELETE FROM t").execute(&mut *connection).await.unwrap();
    }

    #[tokio::test]
    async fn unused_pages_are_given_back_in_parts_but_for_a_few() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        sqlx::query("PRAGMA auto_vacuum = INCREMENTAL").execute(&mut connection).await.unwrap();
        fill(&mut connection).await;
        assert!(!part(&mut connection).await.unwrap());
        empty(&mut connection).await;
        let mut parts = 1;
        while part(&mut connection).await.unwrap() {
            parts += 1;
        }
        let left = Pages::of(&mut connection).await.unwrap();
        assert!(parts >= 8, "{parts}");
        assert!(left.all * left.bytes < 8 << 20 && left.unused > 0, "{left:?}");
    }

    #[tokio::test]
    async fn an_earlier_file_shrinks_once_it_was_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
        let options = options.create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        fill(&mut connection).await;
        assert!(!prepared(&mut connection).await.unwrap(), "a large one is left alone");
        empty(&mut connection).await;
        assert!(!part(&mut connection).await.unwrap());
        compact(&mut connection).await.unwrap();
        assert!(std::fs::metadata(&path).unwrap().len() < 1 << 20);
        fill_again(&mut connection).await;
        assert!(prepared(&mut connection).await.unwrap());
        empty(&mut connection).await;
        assert!(part(&mut connection).await.unwrap());
    }

    async fn fill_again(connection: &mut SqliteConnection) {
        let sql = "INSERT INTO t SELECT randomblob(1048576) FROM generate_series(1, 40)";
        let sql = sql.replace("generate_series(1, 40)", "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40) SELECT i FROM n)");
        sqlx::query(AssertSqlSafe(sql)).execute(connection).await.unwrap();
    }
}
