//! When snapshots are written, and that no thread ever waits for one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::history::{History, json_of, thread};
use super::watched::{ANSWER, Watched};
use crate::contract::{InvokeRequest, WorkflowSource};
use crate::model::{Event, EventBody, Json, ThreadStatus, WorkflowPaused};
use crate::runtime::drive::driver::Driver;
use crate::runtime::drive::load::load;
use crate::runtime::drive::snapshots::{appended, before_recovery};
use crate::runtime::settings::SNAPSHOT_WRITERS;
use crate::runtime::{Handle, Invoke, Runtime};
use crate::store::{SnapshotKind, Snapshots as _};

fn chain(steps: usize) -> Value {
    let step = |at: usize| {
        let needs: Vec<String> = at.checked_sub(1).map(|at| format!("s{at}")).into_iter().collect();
        json!({ "id": format!("s{at}"), "kind": "http", "with": { "url": "http://h/" },
                "dependsOn": needs })
    };
    json!({ "name": "w", "steps": (0..steps).map(step).collect::<Vec<_>>(), "output": 1 })
}

/// Runs a chain of steps to its end.
async fn run(handle: &Handle, id: &str, steps: usize) {
    let invoke = Invoke {
        namespace: crate::model::Namespace::default(),
        request: InvokeRequest {
            workflow: Some(WorkflowSource::Inline(json_of(&chain(steps)))),
            thread_id: Some(thread(id)),
            ..InvokeRequest::default()
        },
        idempotency_key: None,
        by: "tests".to_owned(),
        role: None,
        traceparent: None,
    };
    handle.invoke(invoke).await.unwrap();
    assert!(handle.wait_for_end(&thread(id), Duration::from_mins(1)).await.unwrap());
}

fn written(handle: &Handle, kind: SnapshotKind) -> u64 {
    let counts = handle.snapshot_counts().written;
    counts.iter().find(|(name, _)| *name == kind.as_str()).unwrap().1
}

fn skipped(handle: &Handle, reason: &str) -> u64 {
    let counts = handle.snapshot_counts().skipped;
    counts.iter().find(|(name, _)| *name == reason).unwrap().1
}

/// Waits until no snapshot is being written.
async fn settled(runtime: &Runtime) {
    let writers = Arc::clone(&runtime.handle().core().snapshot_writers);
    let all = u32::try_from(SNAPSHOT_WRITERS).unwrap();
    drop(writers.acquire_many(all).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn all_snapshots_together_are_no_larger_than_the_journal() {
    const STEPS: usize = 200;
    let store = Watched::new();
    let runtime = store.runtime(20).await;
    run(&runtime.handle(), "t", STEPS).await;
    settled(&runtime).await;
    let sizes = store.snapshot_sizes.lock().unwrap().clone();
    let count = written(&runtime.handle(), SnapshotKind::Periodic);
    assert_eq!(u64::try_from(sizes.len()).unwrap(), count);
    // One at every 20th event would be 20 of them, with 100 outputs in the middle one.
    assert!((2..=6).contains(&count), "{count}");
    let journal = STEPS * (ANSWER + 300);
    let total: usize = sizes.iter().sum();
    assert!(total < journal * 3 / 2, "{total} bytes of snapshots of a journal of {journal}");
    // The remaining tail is not worth another one.
    let loaded = load(&runtime.handle().core(), &thread("t"), None).await.unwrap();
    let tail = loaded.tail;
    assert!(tail.base > 0 && (tail.events <= 21 || tail.bytes <= tail.base + 2_000), "{tail:?}");
}

#[tokio::test(start_paused = true)]
async fn a_small_thread_pays_for_none_and_0_writes_none() {
    let store = Watched::new();
    let runtime = store.runtime(200).await;
    run(&runtime.handle(), "small", 6).await;
    settled(&runtime).await;
    let never = Watched::new();
    let other = never.runtime(0).await;
    run(&other.handle(), "large", 120).await;
    settled(&other).await;
    for (store, runtime) in [(store, runtime), (never, other)] {
        assert!(store.snapshot_sizes.lock().unwrap().is_empty());
        let counts = runtime.handle().snapshot_counts();
        assert!(counts.written.iter().chain(&counts.skipped).all(|(_, count)| *count == 0));
    }
}

#[tokio::test(start_paused = true)]
async fn threads_go_on_while_the_store_hangs_on_snapshots() {
    let store = Watched::new();
    store.hangs.store(true, Ordering::Relaxed);
    let runtime = store.runtime(5).await;
    let handle = runtime.handle();
    let began = tokio::time::Instant::now();
    for id in ["a", "b", "c", "d"] {
        run(&handle, id, 40).await;
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(skipped(&handle, "busy") > 0);
    // Hanging writes are given up, which frees their writers.
    settled(&runtime).await;
    assert!(skipped(&handle, "failed") > 0);
    store.hangs.store(false, Ordering::Relaxed);
    run(&handle, "e", 40).await;
    settled(&runtime).await;
    assert!(written(&handle, SnapshotKind::Periodic) > 0);
}

/// Creates a driver of the thread as its history left it.
async fn driver(runtime: &Runtime, history: &History) -> Driver {
    let core = runtime.handle().core();
    let authority = core.authority();
    let mut driver = Driver::new(core, authority, history.live().clone(), 1).unwrap();
    driver.tail = load(&driver.core, &history.live().thread_id, None).await.unwrap().tail;
    driver
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_worth_a_snapshot_however_small_the_thread() {
    let history = History::new("t", &chain(2)["steps"]);
    let store = Watched::new();
    history.write(&store).await;
    let runtime = store.runtime(0).await;
    let mut driver = driver(&runtime, &history).await;
    let paused =
        WorkflowPaused { by: "ann".to_owned(), reason: None, aborts_at: None, compensate: false };
    let seq = driver.state.last_seq + 1;
    let at = driver.state.updated_at;
    let event = Event { seq, at, body: EventBody::WorkflowPaused(paused) };
    driver.state.apply(&event);
    assert_eq!(driver.state.status, ThreadStatus::Paused);
    appended(&mut driver, &[event], 100);
    settled(&runtime).await;
    let snapshot = store.snapshot(&thread("t"), None).await.unwrap().unwrap();
    assert_eq!((snapshot.seq, snapshot.kind), (seq, SnapshotKind::Pause));
    assert_eq!(written(&runtime.handle(), SnapshotKind::Pause), 1);
    assert_eq!(driver.tail.events, 0);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_is_too_large_is_not_written_and_not_tried_at_once_again() {
    let history = History::of_many_steps("t", 2);
    let store = Watched::new();
    history.write(&store).await;
    let runtime = store.runtime(5).await;
    let mut driver = driver(&runtime, &history).await;
    driver.state.input = Json::string(&"x".repeat(17 << 20));
    for _ in 0..100 {
        appended(&mut driver, &[], 1_000);
    }
    settled(&runtime).await;
    assert_eq!(skipped(&runtime.handle(), "too_large"), 1);
    assert_eq!(store.snapshot(&thread("t"), None).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_recovery_writes_a_snapshot_first_if_it_had_to_read_much() {
    let store = Watched::new();
    let (long, short) = (History::of_many_steps("long", 6), History::of_many_steps("short", 2));
    long.write(&store).await;
    short.write(&store).await;
    let runtime = store.runtime(200).await;
    let handle = runtime.handle();
    for (history, worth) in [(&short, 0), (&long, 1), (&long, 1)] {
        let id = &history.live().thread_id;
        let mut loaded = load(&handle.core(), id, None).await.unwrap();
        before_recovery(&handle.core(), &mut loaded);
        settled(&runtime).await;
        assert_eq!(written(&handle, SnapshotKind::Recovery), worth, "{id}");
    }
    let snapshot = store.snapshot(&thread("long"), None).await.unwrap().unwrap();
    assert_eq!((snapshot.seq, snapshot.kind), (long.live().last_seq, SnapshotKind::Recovery));
}
