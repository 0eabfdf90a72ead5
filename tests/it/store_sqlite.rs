//! What only SQLite promises.

use std::sync::Arc;

use rethread::model::Clock;
use rethread::store::{Disposition, Journal as _, Leases as _, OpenError, SqliteStore, Store};

use crate::support::beds::TTL;
use crate::support::clock::ManualClock;
use crate::support::writes::{id, start, starts};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_opener_is_told_that_the_file_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
    let first = SqliteStore::open(&path, Arc::clone(&clock)).await.unwrap();
    let second = SqliteStore::open(&path, Arc::clone(&clock)).await;
    assert!(matches!(second, Err(OpenError::Locked(_))), "{second:?}");
    first.close().await;
    SqliteStore::open(&path, clock).await.unwrap().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_of_the_store_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
    let store = SqliteStore::open(&folder.path().join("a.db"), clock).await.unwrap();
    store.register("test", TTL).await.unwrap();
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
        seen.push(entry.file_name().into_string().unwrap());
    }
    seen.sort();
    assert_eq!(seen, ["a.db", "a.db-shm", "a.db-wal", "a.db.lock"]);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_caller_is_gone_still_lands() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::default());
    let store = SqliteStore::open(&folder.path().join("a.db"), clock).await.unwrap();
    let me = store.register("test", TTL).await.unwrap();
    let batch = starts((0..200).map(|n| start(&format!("t{n}"), Disposition::Keep)));
    {
        let mut write = store.write(me, &batch);
        // Polled once, so that the work is handed over, and dropped.
        assert!(futures_util::poll!(&mut write).is_pending());
    }
    // The next write waits for the one before it.
    store.write(me, &starts([start("last", Disposition::Keep)])).await.unwrap();
    assert_eq!(store.heads(&[id("t0"), id("t199")]).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_store_refuses_calls_and_leaves_no_log() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::default());
    let path = folder.path().join("a.db");
    let store = SqliteStore::open(&path, clock).await.unwrap();
    store.register("test", TTL).await.unwrap();
    store.close().await;
    assert!(store.register("test", TTL).await.unwrap_err().is_transient());
    let log = std::fs::metadata(folder.path().join("a.db-wal"));
    assert!(log.is_err() || log.unwrap().len() == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_go_down_and_up_and_a_newer_schema_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    SqliteStore::migrate_up(&path).await.unwrap();
    assert!(SqliteStore::migration_status(&path).await.unwrap().iter().all(|step| step.applied));
    SqliteStore::migrate_down(&path, 0).await.unwrap();
    assert!(SqliteStore::migration_status(&path).await.unwrap().iter().all(|step| !step.applied));
    SqliteStore::migrate_up(&path).await.unwrap();
    let mut connection =
        sqlx::ConnectOptions::connect(&sqlx::sqlite::SqliteConnectOptions::new().filename(&path))
            .await
            .unwrap();
    let newer =
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9000, 'later', true, x'00', 0)";
    sqlx::query(newer).execute(&mut connection).await.unwrap();
    sqlx::Connection::close(connection).await.unwrap();
    let opened = SqliteStore::open(&path, Arc::new(ManualClock::default())).await;
    assert!(matches!(opened, Err(OpenError::Newer { found: 9000, .. })), "{opened:?}");
}
