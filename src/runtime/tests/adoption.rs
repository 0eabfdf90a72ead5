//! What becomes of claimed threads that cannot be driven.

use std::time::Duration;

use serde_json::json;

use super::history::{History, thread};
use super::watched::Watched;
use crate::model::{Json, Timestamp};
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
