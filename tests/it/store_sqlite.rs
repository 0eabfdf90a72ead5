//! What only SQLite promises.

use std::path::Path;
use std::sync::Arc;

use rethread::model::Clock;
use rethread::store::{
    Disposition, Journal as _, Leases as _, OpenError, SqliteArchive, SqliteStore, Store,
};

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
async fn a_file_is_in_use_by_whatever_name() {
    let folder = tempfile::tempdir().unwrap();
    let name = |name: &str| folder.path().join(name);
    std::os::unix::fs::symlink("a.db", name("link.db")).unwrap();
    let open = async |path: &Path| SqliteStore::open(path, Arc::new(ManualClock::default())).await;
    let first = open(&name("link.db")).await.unwrap();
    assert!(name("a.db.lock").exists() && name("a.db-wal").exists());
    std::fs::create_dir(name("sub")).unwrap();
    std::fs::hard_link(name("a.db"), name("sub/hard.db")).unwrap();
    let refused = async || {
        for path in ["a.db", "link.db", "sub/../a.db", "sub/hard.db"] {
            let second = open(&name(path)).await;
            assert!(matches!(second, Err(OpenError::Locked(_))), "{path} {second:?}");
        }
        let migrated = SqliteStore::migrate_up(&name("sub/hard.db")).await;
        assert!(matches!(migrated, Err(OpenError::Locked(_))), "{migrated:?}");
    };
    refused().await;
    std::fs::remove_file(name("a.db.lock")).unwrap();
    refused().await;
    let me = first.register("test", TTL).await.unwrap();
    first.write(me, &starts([start("t", Disposition::Keep)])).await.unwrap();
    first.close().await;
    let second = open(&name("sub/hard.db")).await.unwrap();
    assert_eq!(second.heads(&[id("t")]).await.unwrap().len(), 1);
    second.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_this_server_has_not_made_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
    for (sql, wanted) in [
        (None, "is empty"),
        (Some("PRAGMA user_version = 1"), "without tables"),
        (Some("CREATE TABLE notes (x)"), "another program (its tables begin with notes)"),
    ] {
        let path = folder.path().join("a.db");
        std::fs::write(&path, "").unwrap();
        if let Some(sql) = sql {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
            let mut other = sqlx::ConnectOptions::connect(&options).await.unwrap();
            sqlx::query(sql).execute(&mut other).await.unwrap();
            sqlx::Connection::close(other).await.unwrap();
        }
        let before = std::fs::read(&path).unwrap();
        let opened = SqliteStore::open(&path, Arc::clone(&clock)).await.map(drop);
        let migrated = SqliteStore::migrate_up(&path).await;
        let inspected = SqliteArchive::open(&path, Arc::clone(&clock)).await.map(drop);
        for refused in [opened, migrated, inspected] {
            let said = refused.unwrap_err().to_string();
            assert!(said.contains("a.db") && said.contains(wanted), "{said}");
        }
        assert!(std::fs::read(&path).unwrap() == before, "{wanted}");
        std::fs::remove_file(&path).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_file_has_lost_its_name_fails_and_writes_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let [path, other] = ["a.db", "b.db"].map(|name| folder.path().join(name));
    let open = async |path: &Path| SqliteStore::open(path, Arc::new(ManualClock::default())).await;
    let store = open(&path).await.unwrap();
    let me = store.register("test", TTL).await.unwrap();
    store.write(me, &starts([start("t", Disposition::Keep)])).await.unwrap();
    store.ping().await.unwrap();
    std::fs::rename(&path, &other).unwrap();
    // Without another write.
    store.failed().await;
    assert!(store.ping().await.unwrap_err().is_transient());
    let refused = store.write(me, &starts([start("u", Disposition::Keep)])).await;
    assert!(refused.unwrap_err().is_transient());
    store.close().await;
    // Nobody has it before the process ends, and the next start is told.
    assert!(matches!(open(&path).await, Err(OpenError::Locked(_))));
    let word = std::fs::read_to_string(folder.path().join("a.db.lock")).unwrap();
    assert!(word.contains("it was moved to") && word.contains("b.db"), "{word}");
    // All that was accepted is in the file, without a log.
    assert_eq!(std::fs::metadata(folder.path().join("a.db-wal")).unwrap().len(), 0);
    let copy = folder.path().join("c.db");
    std::fs::copy(&other, &copy).unwrap();
    let store = open(&copy).await.unwrap();
    assert_eq!(store.heads(&[id("t"), id("u")]).await.unwrap().len(), 1);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_that_was_cut_off_is_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    let [path, unfinished] = ["a.db", "a.db.unfinished"].map(|name| folder.path().join(name));
    std::fs::write(&unfinished, "half").unwrap();
    std::fs::write(folder.path().join("a.db.unfinished-journal"), "half").unwrap();
    let open = async || SqliteStore::open(&path, Arc::new(ManualClock::default())).await.unwrap();
    open().await.close().await;
    // Both names lead to it.
    std::fs::hard_link(&path, &unfinished).unwrap();
    open().await.close().await;
    let left = std::fs::read_dir(folder.path()).unwrap();
    let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["a.db", "a.db.lock"]);
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
