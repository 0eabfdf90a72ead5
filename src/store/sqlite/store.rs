//! The store itself: its writer, its pool of readers, and its own affairs.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqlitePool};
use sqlx::{Sqlite, SqliteConnection};

use crate::model::Clock;
use crate::store::rows::secret;
use crate::store::{Disk, Hints, Presence, Result, Store, StoreError, StoreInfo};

use super::FileHold;
use super::bounded::Bounded;
use super::fault::{Fault, answer};
use super::writer::Writer;

/// A store in an SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) writer: Arc<Writer>,
    pub(super) readers: SqlitePool,
    /// For what readers are shown of single threads ([`Store::for_readers`]).
    pub(super) shown: SqlitePool,
    /// For what clients may ask for in any amount.
    pub(super) lists: Bounded,
    /// The first incarnation that this process registered.
    pub(super) first_own: Arc<AtomicI64>,
}

impl SqliteStore {
    /// Keeps other processes away from the file also once the store is closed, until the hold is
    /// dropped: for whoever renames it. `None` if it is closed already.
    pub fn hold(&self) -> Option<FileHold> {
        self.writer.hold()
    }

    /// Runs `work` in a transaction; commits it, or on failure rolls it back.
    pub(super) async fn write<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, Fault>>
            + Send
            + 'static,
    {
        Ok(self.writer.run(work).await?)
    }

    /// The same, before everything that waits to be written: for what a lease depends on.
    pub(super) async fn write_first<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, Fault>>
            + Send
            + 'static,
    {
        Ok(self.writer.run_first(work).await?)
    }

    /// Runs one statement in a transaction; the number of rows that it changed.
    pub(super) async fn execute(
        &self,
        query: Query<'static, Sqlite, SqliteArguments>,
    ) -> Result<u64> {
        self.write(|connection| {
            async move { Ok(query.execute(connection).await?.rows_affected()) }.boxed()
        })
        .await
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn info(&self) -> StoreInfo {
        StoreInfo { backend: "sqlite", durable: true, writers: 1 }
    }

    fn disk(&self) -> Option<Disk> {
        Some(self.writer.disk())
    }

    async fn failed(&self) {
        self.writer.failed().await;
    }

    async fn ping(&self) -> Result<()> {
        if self.writer.has_failed() {
            return Err(StoreError::Unavailable("nothing is written any more".to_owned()));
        }
        answer(sqlx::query("SELECT 1").execute(&self.readers)).await.map(drop)
    }

    async fn takes_writes(&self) -> Result<()> {
        // A page goes into the log, whatever it says.
        let touch = "UPDATE replicas SET name = name WHERE incarnation = (SELECT max(incarnation) FROM replicas)";
        self.execute(sqlx::query(touch)).await.map(drop)
    }

    async fn shared_secret(&self, name: &str, candidate: [u8; 32]) -> Result<[u8; 32]> {
        let name = name.to_owned();
        self.write(move |connection| {
            async move {
                sqlx::query("INSERT OR IGNORE INTO secrets (name, value) VALUES (?, ?)")
                    .bind(&name)
                    .bind(candidate.as_slice())
                    .execute(&mut *connection)
                    .await?;
                let query = sqlx::query_scalar("SELECT value FROM secrets WHERE name = ?");
                let value: Vec<u8> = query.bind(name).fetch_one(connection).await?;
                Ok(secret(value)?)
            }
            .boxed()
        })
        .await
    }

    fn for_readers(&self) -> Option<(Arc<dyn Store>, usize)> {
        let connections = usize::try_from(self.shown.options().get_max_connections()).unwrap_or(1);
        let store = Self {
            clock: Arc::clone(&self.clock),
            writer: Arc::clone(&self.writer),
            readers: self.shown.clone(),
            shown: self.shown.clone(),
            lists: self.lists.clone(),
            first_own: Arc::clone(&self.first_own),
        };
        Some((Arc::new(store), connections))
    }

    async fn close(&self) {
        self.lists.close().await;
        self.shown.close().await;
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// No other process can open the file, so that no replica has to be shown anything.
impl Presence for SqliteStore {}

/// No other process can open the file, so that no hint has a receiver.
impl Hints for SqliteStore {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::app::SystemClock;
    use crate::model::ThreadId;
    use crate::store::{InterventionFilter, Interventions as _, Threads as _};

    /// More lists than there are connections of any kind.
    const LISTS: usize = 12;

    /// Makes every list of interventions go on for ever.
    async fn never_end(store: &SqliteStore) {
        for sql in [
            "ALTER TABLE interventions RENAME TO kept",
            "CREATE VIEW interventions AS
             WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c)
             SELECT kept.* FROM c LEFT JOIN kept",
        ] {
            store.execute(sqlx::query(sql)).await.unwrap();
        }
    }

    #[tokio::test]
    async fn lists_without_an_end_hold_up_no_other_read_and_are_ended() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock::start());
        let store = SqliteStore::open(&folder.path().join("a.db"), clock).await.unwrap();
        never_end(&store).await;
        let filter = InterventionFilter::default();
        for _ in 0..LISTS {
            let list = store.interventions(&filter, 1);
            assert!(tokio::time::timeout(Duration::from_millis(20), list).await.is_err());
        }
        let thread = ThreadId::parse("t").unwrap();
        assert_eq!(store.thread(&thread).await, Ok(None));
        let ended = store.interventions(&filter, 1).await;
        assert!(matches!(ended, Err(StoreError::Unavailable(_))), "{ended:?}");
        store.close().await;
    }
}
