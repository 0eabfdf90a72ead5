//! Where a server lives: a temporary folder and a database that outlives its processes.

use std::path::PathBuf;

use sqlx::Connection;

use super::server::Launch;
use crate::support::postgres::{OwnCluster, TestDatabase};

/// A database, and a folder for everything else.
#[derive(Debug)]
pub(crate) struct Home {
    /// The working directory of its servers.
    pub(crate) folder: tempfile::TempDir,
    /// `DATABASE_URL`.
    pub(crate) url: String,
}

impl Home {
    fn at(url: impl FnOnce(&tempfile::TempDir) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = url(&folder);
        Self { folder, url }
    }

    /// Nothing outlives the process.
    #[expect(clippy::unused_async, reason = "beside `postgres`")]
    pub(crate) async fn memory() -> Self {
        Self::at(|_| "memory:".to_owned())
    }

    /// A file.
    #[expect(clippy::unused_async, reason = "beside `postgres`")]
    pub(crate) async fn sqlite() -> Self {
        Self::at(|folder| format!("sqlite://{}", folder.path().join("rethread.db").display()))
    }

    /// A fresh database of the test cluster.
    pub(crate) async fn postgres() -> Self {
        let database = TestDatabase::create().await;
        Self::at(|_| database.url)
    }

    /// What a statement beside the servers counts.
    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        let database = TestDatabase { url: self.url.clone() };
        let mut connection = database.connect().await;
        let found = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        found
    }

    /// A database of a cluster of the test's own, which it can take away.
    pub(crate) fn of(cluster: &OwnCluster) -> Self {
        Self::at(|_| cluster.url())
    }

    /// The name of the store.
    pub(crate) fn store(&self) -> &str {
        self.url.split(':').next().unwrap_or_default()
    }

    /// The database's file, where there is one.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("rethread.db")
    }

    /// A server to be started here, with test-sized settings.
    pub(crate) fn launch(&self) -> Launch<'_> {
        Launch::new(self)
    }

    /// A server with test-sized settings.
    pub(crate) async fn start(&self) -> super::Server {
        self.launch().start().await
    }
}
