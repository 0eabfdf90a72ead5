//! The history tables beyond what each call promises: their migrations, and deletions that race.

use std::sync::Arc;
use std::time::Duration;

use rethread::model::{RecoveryCause, ThreadStatus};
use rethread::store::{
    Append, Disposition, Journal as _, Leases as _, PostgresStore, Recoveries as _, Recovery,
    Retention as _, Snapshot, SnapshotKind, Snapshots as _, SqliteStore, Store, Threads as _,
};
use sqlx::{ConnectOptions, Connection};

use crate::support::beds::TTL;
use crate::support::clock::ManualClock;
use crate::support::postgres::TestDatabase;
use crate::support::writes::{AT, append, appends, end, id, indexes, intervention, start, starts};

/// The last migration before the history tables.
const BEFORE: i64 = 1;
/// Between two looks at a condition, and how many there are: together 30 seconds.
const GLANCE: (Duration, u32) = (Duration::from_millis(10), 3_000);
/// How often deletions race.
const ROUNDS: usize = 40;

/// Writes a thread that has something in every table, and ends.
async fn fill(store: &dyn Store, thread: &str) {
    let me = store.register("test", TTL).await.unwrap();
    store.write(me, &starts([start(thread, Disposition::Keep)])).await.unwrap();
    let opening =
        Append { sides: indexes([intervention(thread, thread, 1)]), ..append(thread, 1, 1) };
    store.write(me, &appends([opening])).await.unwrap();
    store.write(me, &appends([end(thread, 1, 2, ThreadStatus::Failed)])).await.unwrap();
    store.save_snapshot(&snapshot(thread)).await.unwrap();
    store.begin_recoveries(&[recovery(thread)]).await.unwrap();
    store.add_tallies(AT, &[("n".to_owned(), 1)]).await.unwrap();
}

/// After down and up: what was derived is gone, threads are not, and all works as on the first day.
async fn forgotten_but_well(store: &dyn Store) {
    assert_eq!(store.read(&id("t"), 0, 9).await.unwrap().len(), 3);
    assert_eq!(store.snapshot(&id("t"), None).await, Ok(None));
    assert_eq!(store.recoveries(&id("t"), None, 9).await, Ok(vec![]));
    assert_eq!(store.intervention("t").await, Ok(None));
    assert_eq!(store.tallies(AT).await, Ok(vec![]));
    store.save_snapshot(&snapshot("t")).await.unwrap();
    assert!(store.snapshot(&id("t"), None).await.unwrap().is_some());
    assert_eq!(store.delete(&id("t"), None).await, Ok(true));
    fill(store, "t").await;
    assert_eq!(store.recoveries(&id("t"), None, 9).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_have_the_same_numbers_and_names_on_both_databases() {
    let folder = tempfile::tempdir().unwrap();
    let database = TestDatabase::create().await;
    let sqlite = SqliteStore::migration_status(&folder.path().join("a.db")).await.unwrap();
    let postgres = PostgresStore::migration_status(&database.settings()).await.unwrap();
    assert_eq!(sqlite, postgres);
    assert!(sqlite.iter().map(|step| step.version).eq(1..=6));
}

#[tokio::test(flavor = "multi_thread")]
async fn history_goes_down_with_its_tables_and_up_again_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let open = async || SqliteStore::open(&path, Arc::new(ManualClock::default())).await.unwrap();
    let store = open().await;
    fill(&store, "t").await;
    store.close().await;
    SqliteStore::migrate_down(&path, BEFORE).await.unwrap();
    let applied = SqliteStore::migration_status(&path).await.unwrap();
    assert!(applied.iter().all(|step| step.applied == (step.version <= BEFORE)));
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let mut connection = options.connect().await.unwrap();
    let left: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_master WHERE name LIKE 'snapshots%' OR name LIKE 'recoveries%'
         OR name LIKE 'interventions%' OR name LIKE 'tallies%'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert_eq!(left, [""; 0]);
    connection.close().await.unwrap();
    let store = open().await;
    forgotten_but_well(&store).await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_goes_down_with_its_tables_and_up_again_on_postgres() {
    let database = TestDatabase::create().await;
    let settings = database.settings();
    let store = PostgresStore::connect(&settings).await.unwrap();
    fill(&store, "t").await;
    fill(&store, "u").await;
    PostgresStore::migrate_down(&settings, BEFORE).await.unwrap();
    // A server of the version before can delete threads with all it knows of.
    assert_eq!(store.delete(&id("u"), None).await, Ok(true));
    assert_eq!(store.read(&id("u"), 0, 9).await, Ok(vec![]));
    assert!(store.snapshot(&id("t"), None).await.is_err());
    store.close().await;
    let store = PostgresStore::connect(&settings).await.unwrap();
    forgotten_but_well(&store).await;
    assert_eq!(orphans(&database).await, 0);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_waits_for_a_deletion_is_not_written() {
    let database = TestDatabase::create().await;
    let store = PostgresStore::connect(&database.settings()).await.unwrap();
    fill(&store, "t").await;
    let mut deleter = database.connect().await;
    let run = "BEGIN; DELETE FROM rethread.threads WHERE thread_id = 't'";
    sqlx::raw_sql(run).execute(&mut deleter).await.unwrap();
    let late = async {
        store.save_snapshot(&snapshot("t")).await.unwrap();
        store.begin_recoveries(&[recovery("t")]).await.unwrap();
    };
    let commit = async {
        let mut watcher = database.connect().await;
        for _ in 0..GLANCE.1 {
            let waiting: i64 =
                sqlx::query_scalar("SELECT count(*) FROM pg_locks WHERE NOT granted")
                    .fetch_one(&mut watcher)
                    .await
                    .unwrap();
            if waiting > 0 {
                return sqlx::raw_sql("COMMIT").execute(&mut deleter).await.unwrap();
            }
            tokio::time::sleep(GLANCE.0).await;
        }
        panic!("nobody waits for the deletion");
    };
    tokio::join!(late, commit);
    assert_eq!(store.thread(&id("t")).await, Ok(None));
    assert_eq!(orphans(&database).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_deletions_leave_no_history_behind() {
    let database = TestDatabase::create().await;
    let store = PostgresStore::connect(&database.settings()).await.unwrap();
    let mut written = 0;
    for round in 0..ROUNDS {
        let thread = format!("t{round}");
        let me = store.register("test", TTL).await.unwrap();
        store.write(me, &starts([start(&thread, Disposition::Keep)])).await.unwrap();
        let ended = end(&thread, 1, 1, ThreadStatus::Failed);
        store.write(me, &appends([ended])).await.unwrap();
        let remember = async {
            let snapshots = (0..3).map(|n| {
                let made = Snapshot { seq: n, ..snapshot(&thread) };
                let store = store.clone();
                async move { store.save_snapshot(&made).await.unwrap() }
            });
            let begun = [recovery(&thread)];
            tokio::join!(futures_util::future::join_all(snapshots), async {
                store.begin_recoveries(&begun).await.unwrap();
            });
            store.snapshot(&id(&thread), None).await.unwrap().is_some()
        };
        let victim = id(&thread);
        let (kept, deleted) = tokio::join!(remember, store.delete(&victim, None));
        written += usize::from(kept);
        assert_eq!(deleted, Ok(true));
    }
    assert!(written < ROUNDS, "{written} snapshots of deleted threads");
    assert_eq!(orphans(&database).await, 0);
}

/// Rows of threads that do not exist.
async fn orphans(database: &TestDatabase) -> i64 {
    let mut connection = database.connect().await;
    let found = sqlx::query_scalar(
        "SELECT count(*) FROM (SELECT thread_id FROM rethread.snapshots
             UNION ALL SELECT thread_id FROM rethread.recoveries
             UNION ALL SELECT thread_id FROM rethread.interventions) kept
         WHERE thread_id NOT IN (SELECT thread_id FROM rethread.threads)",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    found
}

fn snapshot(thread: &str) -> Snapshot {
    Snapshot {
        thread_id: id(thread),
        seq: 2,
        kind: SnapshotKind::Periodic,
        version: 1,
        at: AT,
        sha256: "hash".to_owned(),
        state: "{}".to_owned(),
    }
}

fn recovery(thread: &str) -> Recovery {
    Recovery {
        thread_id: id(thread),
        epoch: 1,
        cause: RecoveryCause::Crashed,
        previous_owner: 7,
        replica: "replica".to_owned(),
        from_seq: 1,
        started_at: AT,
        end: None,
    }
}
