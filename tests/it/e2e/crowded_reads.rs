//! Readers that ask for much of single threads hold up nobody but each other.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::Executor;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::support::flows::flow;
use super::support::{Client, Home};
use crate::support::postgres::TestDatabase;

const READER: &str = "0123456789abcdef-one";
const OWNER: &str = "0123456789abcdef-own";
const OTHER: &str = "0123456789abcdef-two";
/// Readers at once: more than a replica has connections.
const CLIENTS: usize = 48;
/// Longest that others wait meanwhile: less than a read takes here until the store gives it up.
const OTHERS_WAIT: Duration = Duration::from_secs(4);
/// Routes that show something of one thread.
const ROUTES: [&str; 8] = [
    "/threads/big",
    "/status/big",
    "/threads/big/events",
    "/threads/big/checkpoints",
    "/threads/big/explain",
    "/threads/big/diagnostics",
    "/threads/big/diff/big",
    "/threads/big/recoveries",
];

/// Reads a stored workflow for ever.
async fn read(client: Client) {
    loop {
        let answer = client.get("/workflows/w").await.expect(503);
        let code = answer.json()["code"].clone();
        assert!(code == "overloaded" || code == "storage_unavailable", "{code}");
        assert!(!answer.header("retry-after").is_empty());
    }
}

/// Starts a thread, sends it a signal and waits for its end, as somebody whom nothing concerns.
async fn take_a_turn(client: &Client, thread: &str, steps: &Value) {
    let asked = Instant::now();
    let path = format!("/threads/{thread}");
    let body = json!({ "workflow": flow(steps), "threadId": thread });
    client.post("/invoke/async", &body).await.expect(202);
    client.get(&format!("{path}/events")).await.expect(200);
    client.post(&format!("{path}/signals/go"), &json!(1)).await.expect(202);
    while client.get(&path).await.expect(200).json()["status"] != "completed" {
        assert!(asked.elapsed() < OTHERS_WAIT, "a turn takes {:?}", asked.elapsed());
    }
    assert!(asked.elapsed() < OTHERS_WAIT, "a turn took {:?}", asked.elapsed());
}

#[tokio::test]
async fn a_crowd_of_readers_stops_no_claim_no_message_and_no_read_of_another_namespace() {
    let home = Home::postgres().await;
    let keys = format!("r:{READER}:reader:one,o:{OWNER}:admin:one,w:{OTHER}:admin:two");
    let server = home.launch().set("RETHREAD_API_KEYS", &keys).start().await;
    let [reader, owner, other] = [READER, OWNER, OTHER].map(|key| server.client().with_key(key));
    let steps = json!([{ "id": "a", "kind": "signal", "with": { "name": "go" } }]);
    owner.post("/workflows", &flow(&steps)).await.expect(201);
    let big = json!({ "workflow": flow(&steps), "threadId": "big" });
    owner.post("/invoke/async", &big).await.expect(202);
    // Stands for reads that take seconds each.
    let mut slow = TestDatabase { url: home.url.clone() }.connect().await;
    slow.execute("BEGIN; LOCK TABLE rethread.workflows IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let mut readers = JoinSet::new();
    (0..CLIENTS).for_each(|_| drop(readers.spawn(read(reader.clone()))));
    // Every route wants a place, and finds none as soon as the crowd has them all.
    let refused = ROUTES.map(|route| {
        let reader = &reader;
        async move {
            loop {
                let answer = reader.get(route).await;
                if answer.status == 503 && answer.json()["code"] == "overloaded" {
                    return;
                }
            }
        }
    });
    let refused = futures_util::future::join_all(refused);
    let refused = tokio::time::timeout(Duration::from_mins(1), refused);
    let watch = async {
        for turn in 0..4 {
            take_a_turn(&other, &format!("t{turn}"), &steps).await;
        }
    };
    tokio::select! {
        ((), refused) = futures_util::future::join(watch, refused) => {
            assert!(refused.is_ok(), "a route takes no place");
        }
        ended = readers.join_next() => panic!("a reader: {ended:?}"),
    }
    readers.shutdown().await;
    slow.execute("ROLLBACK").await.unwrap();
}
