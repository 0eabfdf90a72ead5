//! No task ends silently: a panic of one that serves all threads ends the process, a panic of one
//! that serves a thread releases the thread.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::history::{History, thread};
use super::watched::Watched;
use crate::model::ThreadStatus;
use crate::runtime::Runtime;
use crate::runtime::core::Core;
use crate::runtime::lease::roster::Activity;
use crate::store::{Disposition, Journal as _, ThreadRow, Threads as _, Write};

const LIMIT: Duration = Duration::from_mins(1);

/// Starts a runtime over an empty store.
async fn started() -> (Runtime, Arc<Core>) {
    let runtime = Watched::new().runtime(0).await;
    let core = runtime.handle().core();
    (runtime, core)
}

/// Returns the names of the tasks that serve all threads.
fn serving_all(core: &Core) -> Vec<Arc<str>> {
    let names = core.roster.activities().into_iter().filter_map(|work| match work {
        Activity::Other(name) => Some(name),
        Activity::Load(_) | Activity::Drive(_) => None,
    });
    names.collect()
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_any_task_that_serves_all_threads_ends_the_process() {
    let names = serving_all(&started().await.1);
    assert!(names.len() > 12 && names.iter().any(|name| &**name == "the lease"), "{names:?}");
    for name in names {
        let (runtime, core) = started().await;
        // Each has been polled once, so it waits.
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(!runtime.broken().is_cancelled());
        core.roster.sabotage(Activity::Other(Arc::clone(&name)));
        let broken = tokio::time::timeout(LIMIT, runtime.broken().cancelled_owned()).await;
        assert!(broken.is_ok(), "nobody noticed that {name} panicked");
    }
}

/// Writes a thread that is due.
async fn due() -> Arc<Watched> {
    let store = Watched::new();
    let step = json!([{ "id": "a", "kind": "http", "with": { "url": "http://h/" } }]);
    let Write::Start(mut start) = History::new("t", &step).start() else { panic!("no start") };
    start.disposition = Disposition::Release { wake_at: Some(start.records.at) };
    store.write(1, &[Write::Start(start)]).await.unwrap();
    store
}

/// Lets the first task of the thread panic; returns the thread once it has ended.
async fn ended_after_a_panic(activity: fn(crate::model::ThreadId) -> Activity) -> ThreadRow {
    let store = due().await;
    let runtime = store.runtime(0).await;
    runtime.handle().core().roster.sabotage(activity(thread("t")));
    let ended = async {
        loop {
            let row = store.thread(&thread("t")).await.unwrap().unwrap();
            if row.summary.status == ThreadStatus::Completed {
                return row;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIMIT, ended).await.expect("the thread stands still")
}

#[tokio::test(start_paused = true)]
async fn a_thread_whose_driver_panics_is_claimed_again_and_ends() {
    assert_eq!(ended_after_a_panic(Activity::Drive).await.epoch, 2);
}

#[tokio::test(start_paused = true)]
async fn a_thread_whose_loader_panics_is_claimed_again_and_ends() {
    assert_eq!(ended_after_a_panic(Activity::Load).await.epoch, 2);
}
