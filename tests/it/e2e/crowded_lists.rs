//! Clients that ask for many lists, which take long, hold up nobody but each other.

use std::time::Duration;

use serde_json::json;
use sqlx::Executor;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::support::flows::flow;
use super::support::{Client, Home};
use crate::support::postgres::TestDatabase;

const READER: &str = "0123456789abcdef-one";
const OTHER: &str = "0123456789abcdef-two";
/// Clients at once: twice the connections that read a thread.
const CLIENTS: usize = 16;
/// Longest that others wait meanwhile: less than a list takes here, with room for a busy machine.
const OTHERS_WAIT: Duration = Duration::from_secs(3);
/// Lists and counts, for each of which there is a place.
const LISTS: [&str; 5] = ["/threads", "/workflows", "/stats", "/interventions", "/monitor"];
/// Beyond the longest time for which a thread stays with the replica that waits for its timer.
const NAP: &str = "11s";

/// So many filters of a list.
fn filters(count: usize) -> String {
    (0..count).map(|at| format!("metadata.k{at}=v")).collect::<Vec<_>>().join("&")
}

/// Asks for lists for ever; none may be answered otherwise than crowded.
async fn ask(client: Client) {
    let path = format!("/threads?{}", filters(8));
    loop {
        let answer = client.get(&path).await.expect(503);
        let code = answer.json()["code"].clone();
        assert!(code == "overloaded" || code == "storage_unavailable", "{code}");
    }
}

#[tokio::test]
async fn lists_that_take_long_stop_no_claim_no_read_and_no_list_of_another_namespace() {
    let home = Home::postgres().await;
    let keys = format!("r:{READER}:reader:one,w:{OTHER}:admin:two");
    let server = home.launch().set("RETHREAD_API_KEYS", &keys).start().await;
    let (reader, other) = (server.client().with_key(READER), server.client().with_key(OTHER));
    let nap = flow(&json!([{ "id": "a", "kind": "sleep", "with": { "for": NAP } }]));
    let thread = other.invoke(&json!({ "workflow": nap })).await;
    // Stands for a table so large that each of these lists takes seconds.
    let mut slow = TestDatabase { url: home.url.clone() }.connect().await;
    slow.execute("BEGIN; LOCK TABLE rethread.labels IN ACCESS EXCLUSIVE MODE").await.unwrap();

    let mut lists = JoinSet::new();
    (0..CLIENTS).for_each(|_| drop(lists.spawn(ask(reader.clone()))));
    let watch = async {
        loop {
            let asked = Instant::now();
            let status = other.get(&format!("/status/{thread}")).await.expect(200);
            assert!(asked.elapsed() < OTHERS_WAIT, "a status took {:?}", asked.elapsed());
            for list in LISTS {
                other.get(list).await.expect(200);
            }
            assert!(asked.elapsed() < OTHERS_WAIT, "lists took {:?}", asked.elapsed());
            if status.json()["status"] == "completed" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let limit = Duration::from_secs(30);
    tokio::select! {
        done = tokio::time::timeout(limit, watch) => done.expect("its timer was not noticed"),
        ended = lists.join_next() => panic!("a list: {ended:?}"),
    }
    lists.shutdown().await;
    slow.execute("ROLLBACK").await.unwrap();
}

#[tokio::test]
async fn a_list_looks_at_eight_members_of_the_metadata_at_the_most() {
    let server = Home::memory().await.start().await;
    let client = server.client();
    client.get(&format!("/threads?{}", filters(8))).await.expect(200);
    let refused = client.get(&format!("/threads?{}", filters(9))).await.expect(400);
    assert!(refused.text().contains("at most 8"), "{}", refused.text());
}
