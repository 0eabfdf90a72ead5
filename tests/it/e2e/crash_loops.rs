//! Servers that are killed from outside again and again: no thread is taken for the cause.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::support::{Client, Home, Recorder, eventually, on_stores};

on_stores!([sqlite, postgres] [
    after_many_short_lives_all_are_at_work_soon_and_none_is_paused,
    after_some_longer_lives_all_are_at_work_soon_and_none_is_paused,
]);

const THREADS: usize = 60;
/// How long it may take until all are at work once nobody kills servers any more.
const SOON: Duration = Duration::from_secs(10);

async fn after_many_short_lives_all_are_at_work_soon_and_none_is_paused(home: Home) {
    survive(&home, 15, Duration::from_millis(60)).await;
}

async fn after_some_longer_lives_all_are_at_work_soon_and_none_is_paused(home: Home) {
    survive(&home, 5, Duration::from_secs(2)).await;
}

/// Returns how many threads are driven, and how many wait because servers were lost with them.
async fn counts(client: &Client) -> (u64, u64) {
    let report = client.get("/health").await.json();
    let checks = &report["checks"];
    let number = |check: &str, member: &str| checks[check]["value"][member].as_u64().unwrap();
    let waiting = number("suspects", "waiting");
    assert_eq!(checks["suspects"]["status"] == "critical", waiting > 0, "{report:#}");
    (number("capacity", "driving"), waiting)
}

async fn survive(home: &Home, crashes: usize, life: Duration) {
    let recorder = Recorder::start().await;
    let mut server = home.start().await;
    let client = server.client();
    let long = json!({ "name": "long", "steps": [
        { "id": "call", "kind": "http", "with": { "url": recorder.url("wait/long") } }
    ] });
    for n in 0..THREADS {
        client.invoke(&json!({ "workflow": long, "threadId": format!("t{n}") })).await;
    }
    recorder.reached("long", THREADS).await;
    for _ in 0..crashes {
        server.kill9().await;
        server = home.start().await;
        // What is tested is how long a server lives.
        tokio::time::sleep(life).await;
    }
    server.kill9().await;
    let server = home.start().await;
    let (client, began) = (server.client(), Instant::now());
    // Each of them was lost and has not got on: a resume starts it at once, if it waits.
    for n in 0..3 {
        client.post(&format!("/threads/t{n}/resume"), &json!({})).await.expect(202);
    }
    eventually("all are at work", async || {
        let (driven, waiting) = counts(&client).await;
        (driven == u64::try_from(THREADS).unwrap() && waiting == 0).then_some(())
    })
    .await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    recorder.release("long");
    for n in 0..THREADS {
        client.completed(&format!("t{n}")).await;
    }
    let asked = client.get("/interventions").await.expect(200).json();
    assert_eq!(asked["items"], json!([]), "nobody is suspected");
}
