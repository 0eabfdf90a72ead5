//! Work of one namespace that takes long leaves places to that of others.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use super::history::{History, thread};
use super::watched::Watched;
use crate::contract::ForkRequest;
use crate::model::{Namespace, ThreadId, ThreadStatus, Timestamp};
use crate::runtime::Handle;
use crate::runtime::types::{Control, RuntimeError};
use crate::store::{Disposition, Journal as _, Leases as _, Threads as _, Write};

/// More than there are places of any kind.
const CROWD: usize = 16;
const MILLISECOND: Duration = Duration::from_millis(1);

/// Makes whatever reads a journal of the namespace `slow` wait for ever.
fn slow(store: &Watched) {
    *store.slow.lock().unwrap() = Namespace::parse("slow");
}

/// Waits until as many journals are read for ever as can be.
async fn crowded(store: &Watched) {
    loop {
        let before = store.slow_reads.load(Ordering::Relaxed);
        tokio::time::sleep(MILLISECOND * 100).await;
        if before > 0 && before == store.slow_reads.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// Writes a thread that is due and driven by nobody.
async fn due(store: &Watched, id: &str) {
    let step = json!([{ "id": "a", "kind": "http", "with": { "url": "http://h/" } }]);
    let Write::Start(mut start) = History::new(id, &step).cut(1).start() else { panic!() };
    start.disposition = Disposition::Release { wake_at: Some(Timestamp::from_millis(1)) };
    let me = store.register("author", Duration::from_hours(1)).await.unwrap();
    store.write(me, &[Write::Start(start)]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn loads_of_one_namespace_leave_a_place_to_another() {
    let store = Watched::new();
    slow(&store);
    for at in 0..CROWD {
        due(&store, &format!("slow/{at}")).await;
    }
    let _runtime = store.runtime(0).await;
    crowded(&store).await;
    due(&store, "other/t").await;
    let completed = async {
        loop {
            let row = store.thread(&thread("other/t")).await.unwrap().unwrap();
            if row.summary.status == ThreadStatus::Completed {
                return;
            }
            tokio::time::sleep(MILLISECOND).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), completed).await.unwrap();
}

/// Does something with a thread of one namespace, whose journal takes for ever, many times at once, and
/// then with one of another.
async fn beside<F>(work: impl Fn(Handle, ThreadId) -> F) -> Result<(), RuntimeError>
where
    F: Future<Output = Result<(), RuntimeError>> + Send + 'static,
{
    let store = Watched::new();
    for id in ["slow/t", "other/t"] {
        History::of_many_steps(id, 1).write(&store).await;
    }
    let runtime = store.runtime(0).await;
    slow(&store);
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        crowd.spawn(work(runtime.handle(), thread("slow/t")));
    }
    crowded(&store).await;
    let other = work(runtime.handle(), thread("other/t"));
    tokio::time::timeout(Duration::from_secs(1), other).await.expect("it waits for the crowd")
}

#[tokio::test(start_paused = true)]
async fn forks_of_one_namespace_leave_a_place_to_another() {
    let fork = |handle: Handle, thread: ThreadId| async move {
        let request = ForkRequest {
            at_seq: 2,
            thread_id: None,
            input: None,
            edits: Vec::new(),
            reason: None,
        };
        handle.fork(&thread, request, Control::default()).await.map(drop)
    };
    beside(fork).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn comparisons_of_one_namespace_leave_a_place_to_another() {
    let diff = |handle: Handle, thread: ThreadId| async move {
        handle.diff(&thread, &thread).await.map(drop)
    };
    beside(diff).await.unwrap();
}
