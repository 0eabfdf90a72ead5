//! A machine that was suspended: the store's clock went on meanwhile, and the timers here did not.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::history::{History, thread};
use super::watched::{HANGS, Watched};
use crate::store::{Disposition, Journal as _, Write};

#[tokio::test(start_paused = true)]
async fn a_timer_that_was_due_meanwhile_fires_soon_after() {
    let store = Watched::new();
    let steps = json!([
        // Keeps the driver, which would else leave the thread to the claim.
        { "id": "a", "kind": "http", "timeout": "1d", "with": { "url": HANGS } },
        { "id": "b", "kind": "sleep", "with": { "for": "1h" } },
    ]);
    let Write::Start(mut start) = History::new("t", &steps).start() else { panic!("no start") };
    start.disposition = Disposition::Release { wake_at: Some(start.records.at) };
    store.write(1, &[Write::Start(start)]).await.unwrap();
    let _runtime = store.runtime(0).await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    let slept = async || {
        let page = store.read(&thread("t"), 0, 100).await.unwrap();
        let mut events = page.iter().flat_map(|records| &records.events);
        events.any(|event| event.contains("\"step_complete\""))
    };
    assert!(!slept().await);
    store.suspended.store(3_600_000, Ordering::Relaxed);
    let resumed = Instant::now();
    while !slept().await {
        assert!(resumed.elapsed() < Duration::from_secs(12), "it sleeps on");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
