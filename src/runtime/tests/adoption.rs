//! What becomes of claimed threads that cannot be driven.

use std::time::Duration;

use serde_json::json;

use super::history::{History, thread};
use super::watched::Watched;
use crate::model::{Json, ThreadStatus, Timestamp};
use crate::store::{Disposition, Message, Start, Store as _, ThreadRow, Write};

const MILLISECOND: Duration = Duration::from_millis(1);

/// A thread with one step under way.
fn running() -> Start {
    let step = json!([{ "id": "a", "kind": "http", "with": { "url": "http://h/" } }]);
    let mut history = History::new("t", &step);
    let started = history.appends.split_off(1);
    history.appends[0].extend(started.into_iter().flatten());
    let Write::Start(start) = history.start() else { panic!("the first write is the start") };
    *start
}

async fn row(store: &Watched) -> ThreadRow {
    store.thread(&thread("t")).await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn mail_does_not_make_a_thread_that_cannot_be_loaded_spin() {
    let (store, mut start) = (Watched::new(), running());
    start.records.events = vec!["{}".to_owned(); start.records.events.len()];
    start.disposition = Disposition::Release { wake_at: Some(Timestamp::from_millis(1)) };
    store.write(1, &[Write::Start(Box::new(start))]).await.unwrap();
    let _runtime = store.runtime(0).await;
    while row(&store).await.epoch == 0 || row(&store).await.owner != 0 {
        tokio::time::sleep(MILLISECOND).await;
    }
    let message = Message { key: "k".to_owned(), body: Json::null() };
    store.post(&thread("t"), &message).await.unwrap();
    tokio::time::sleep(Duration::from_mins(1)).await;
    let row = row(&store).await;
    assert!((2..10).contains(&row.epoch), "claimed {} times in a minute", row.epoch);
    assert_eq!(store.inbox(&thread("t")).await.unwrap().len(), 1, "and the message stays");
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_may_kill_whoever_loads_it_is_tried_again_after_its_rest() {
    let store = Watched::new();
    let mut me = store.register("lost", MILLISECOND).await.unwrap();
    store.write(me, &[Write::Start(Box::new(running()))]).await.unwrap();
    for losses in 1..=8 {
        tokio::time::sleep(MILLISECOND * 2).await;
        me = store.register("lost", MILLISECOND).await.unwrap();
        assert_eq!(store.claim(me, 1).await.unwrap()[0].claims, losses);
    }
    tokio::time::sleep(MILLISECOND * 2).await;
    let _runtime = store.runtime(0).await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(row(&store).await.summary.recoveries, 0, "it is left alone");
    tokio::time::sleep(Duration::from_hours(1)).await;
    let row = row(&store).await;
    assert_eq!(row.summary.recoveries, 1, "it could be loaded: {row:?}");
    let status = row.summary.status;
    assert_ne!(status, ThreadStatus::Paused, "nothing of it ran when those replicas were lost");
}
