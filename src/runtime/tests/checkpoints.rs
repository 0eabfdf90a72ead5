//! Checkpoints are read from the head backwards, and no further than requested.

use super::history::{History, thread};
use super::watched::Watched;
use crate::contract::{CheckpointQuery, Page};
use crate::model::Seq;
use crate::runtime::Handle;

async fn page(
    handle: &Handle,
    operation: Option<&str>,
    limit: usize,
    cursor: Option<&str>,
) -> Page<(Seq, String)> {
    let query = CheckpointQuery {
        operation: operation.map(str::to_owned),
        limit,
        cursor: cursor.map(|cursor| cursor.parse().unwrap()),
    };
    let page = handle.checkpoints(&thread("t"), query).await.unwrap();
    let items = page.items.into_iter().map(|item| (item.seq, item.operation)).collect();
    Page { items, next_cursor: page.next_cursor }
}

#[tokio::test]
async fn the_newest_ten_of_10_000_events_cost_no_more_than_those_of_a_short_thread() {
    let history = History::of_many_steps("t", 1_000);
    let store = Watched::new();
    history.write(&store).await;
    let runtime = store.runtime(0).await;
    let handle = runtime.handle();
    store.take_events_read();
    let newest = page(&handle, None, 10, None).await;
    let read = store.take_events_read();
    assert!(read <= 200, "{read} events were read for ten checkpoints");
    assert_eq!(newest.items.len(), 10);
    assert_eq!(newest.items[0], (10_002, "workflow_complete".to_owned()));
    assert_eq!(newest.items[1], (10_001, "step_complete".to_owned()));
    // The next page goes on where the first one ended.
    let next = page(&handle, None, 10, newest.next_cursor.as_deref()).await;
    assert!(next.items[0].0 < newest.items[9].0 && store.take_events_read() <= 400);
}

#[tokio::test]
async fn pages_of_any_size_and_operation_put_together_are_the_whole_list() {
    let history = History::of_many_steps("t", 12);
    let store = Watched::new();
    history.write(&store).await;
    let runtime = store.runtime(0).await;
    let handle = runtime.handle();
    for operation in [None, Some("step_"), Some("workflow_start"), Some("nothing")] {
        let events = history.appends.iter().flatten();
        let mut all: Vec<(Seq, String)> = events
            .map(|event| (event.seq, event.body.kind().to_owned()))
            .filter(|(_, kind)| !["step_start", "step_retry"].contains(&kind.as_str()))
            .filter(|(_, kind)| operation.is_none_or(|prefix| kind.starts_with(prefix)))
            .collect();
        all.reverse();
        for limit in [1, 2, 3, 5, 14, 100] {
            let (mut found, mut cursor) = (Vec::new(), None);
            loop {
                let page = page(&handle, operation, limit, cursor.as_deref()).await;
                assert!(page.items.len() <= limit);
                found.extend(page.items);
                cursor = page.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(found, all, "{operation:?} by {limit}");
        }
    }
    assert_eq!(page(&handle, None, 10, Some("1")).await.items, []);
}
