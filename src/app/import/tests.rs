//! A move that is broken off, and the fate of the threads that are then in both stores.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::model::{Json, ThreadId, ThreadStatus, Timestamp};
use crate::store::{
    Disposition, Journal as _, Leases as _, MemoryStore, Records, Retention as _, Start, Summary,
    Write,
};

const THREADS: usize = 200;

/// Returns the start of a thread that waits for a replica, or of one that has ended.
fn start(name: &str, ended: bool) -> Write {
    let at = Timestamp::from_millis(1_000);
    let status = if ended { ThreadStatus::Completed } else { ThreadStatus::Queued };
    let wake_at = (!ended).then_some(at);
    Write::Start(Box::new(Start {
        thread_id: ThreadId::parse(name).unwrap(),
        workflow: "w".to_owned(),
        workflow_version: None,
        definition: hex(&Sha256::digest("{}")),
        definition_text: Some("{}".to_owned()),
        request_hash: name.to_owned(),
        metadata: Json::trusted("{}".to_owned()).unwrap(),
        labels: Vec::new(),
        idempotency: None,
        records: Records { first: 1, events: vec!["{}".to_owned()], at },
        more: Vec::new(),
        summary: Summary {
            status,
            completed: 0,
            total: 1,
            current_steps: Vec::new(),
            stale_steps: Vec::new(),
            recoveries: 0,
            error_code: None,
            completed_at: ended.then_some(at),
            forked_from: None,
        },
        disposition: Disposition::Release { wake_at },
        sides: Vec::new(),
    }))
}

/// Opens the file as soon as its earlier holder is gone.
async fn open(path: &Path, ambient: &Ambient) -> SqliteStore {
    loop {
        match SqliteStore::open(path, Arc::clone(&ambient.clock)).await {
            Err(OpenError::Locked(_)) => tokio::task::yield_now().await,
            opened => return opened.unwrap(),
        }
    }
}

/// Breaks the move of a file off after some threads and returns the database it was moved to.
async fn broken_off(path: &Path, ambient: &Ambient, ended: bool) -> MemoryStore {
    let file = open(path, ambient).await;
    let starts: Vec<Write> = (0..THREADS).map(|n| start(&format!("t{n:03}"), ended)).collect();
    file.write(0, &starts).await.unwrap();
    file.close().await;
    let database = MemoryStore::new(Arc::clone(&ambient.clock));
    let some = async {
        while database.thread_ids("", THREADS).await.unwrap().len() < THREADS / 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = some => {}
        moved = import_file(path, &database, ambient) => panic!("moved too fast: {moved:?}"),
    }
    open(path, ambient).await.close().await;
    database
}

async fn ids(store: &impl Archive) -> BTreeSet<String> {
    store.thread_ids("", THREADS * 2).await.unwrap().into_iter().collect()
}

#[tokio::test]
async fn a_thread_that_was_moved_is_not_driven_by_the_next_fallback() {
    let (folder, ambient) = (tempfile::tempdir().unwrap(), Ambient::start());
    let path = folder.path().join("fallback.db");
    let database = broken_off(&path, &ambient, false).await;
    let there = ids(&database).await;

    // The database is gone again: the file stands in once more.
    let file = open(&path, &ambient).await;
    let me = file.register("fallback", Duration::from_hours(1)).await.unwrap();
    let claimed = file.claim(me, THREADS * 2, &[]).await.unwrap();
    let here: BTreeSet<String> =
        claimed.iter().map(|claimed| claimed.thread_id.to_string()).collect();
    let both: Vec<_> = here.intersection(&there).collect();
    assert!(both.is_empty(), "driven from both: {both:?}");
    assert!(here.len() > THREADS / 4, "most that are left go on: {}", here.len());
    file.close().await;

    import_file(&path, &database, &ambient).await.unwrap();
    assert_eq!(ids(&database).await.len(), THREADS);
    let me = database.register("heir", Duration::from_hours(1)).await.unwrap();
    assert_eq!(database.claim(me, THREADS * 2, &[]).await.unwrap().len(), THREADS, "none rests");
    assert!(!path.exists());
}

#[tokio::test]
async fn a_thread_that_was_moved_and_deleted_does_not_come_back() {
    let (folder, ambient) = (tempfile::tempdir().unwrap(), Ambient::start());
    let path = folder.path().join("fallback.db");
    let database = broken_off(&path, &ambient, true).await;
    assert!(database.delete(&ThreadId::parse("t000").unwrap(), None).await.unwrap());
    import_file(&path, &database, &ambient).await.unwrap();
    let there = ids(&database).await;
    assert!(!there.contains("t000"), "it was deleted");
    assert_eq!(there.len(), THREADS - 1);
}
