//! Many innocent threads share a server with one that kills it.

use serde_json::json;

use super::support::server::Launch;
use super::support::{Home, Recorder, Server, eventually, on_stores};

on_stores!([sqlite, postgres] [
    who_only_waits_for_its_turn_is_not_quarantined,
]);

/// So many that they are not all given back before the culprit has struck again.
const INNOCENT: usize = 300;

/// A single loss is allowed: all but one of those that were lost wait for their turn at once.
fn launch(home: &Home) -> Launch<'_> {
    let launch = home.launch().set("RETHREAD_EXEC_ALLOW", "sh").set("RETHREAD_LEASE", "1s");
    launch.set("RETHREAD_MAX_RECOVERIES", "1")
}

async fn who_only_waits_for_its_turn_is_not_quarantined(home: Home) {
    let recorder = Recorder::start().await;
    let mut server: Option<Server> = Some(launch(&home).start().await);
    let client = server.as_ref().unwrap().client();
    let deadly = json!({ "name": "deadly", "steps": [
        { "id": "wait", "kind": "http", "with": { "url": recorder.url("wait/go") } },
        { "id": "kill", "kind": "exec", "dependsOn": ["wait"],
          "with": { "program": "sh", "args": ["-c", super::poison::KILL_SERVER] } }
    ] });
    client.invoke(&json!({ "workflow": deadly, "threadId": "a-poison" })).await;
    let long = json!({ "name": "long", "steps": [
        { "id": "call", "kind": "http", "with": { "url": recorder.url("wait/long") } }
    ] });
    for n in 0..INNOCENT {
        client.invoke(&json!({ "workflow": long, "threadId": format!("t{n:03}") })).await;
    }
    recorder.reached("long", INNOCENT).await;
    recorder.release("go");
    let mut lives = 1;
    let server = loop {
        assert!(lives < 20, "the culprit is never paused");
        if let Some(mut server) = server.take() {
            let paused = eventually("paused or dead", async || {
                if server.has_died() {
                    return Some(false);
                }
                let answer =
                    server.client().attempt("GET", "/status/a-poison", &[], "").await.ok()?;
                (answer.json()["status"] == "paused").then_some(true)
            });
            if paused.await {
                break server;
            }
        }
        recorder.release("long");
        server = launch(&home).try_start().await.ok();
        lives += 1;
    };
    let client = server.client();
    let open = client.get("/interventions?status=open&limit=100").await.expect(200).json();
    let items = open["items"].as_array().unwrap().iter();
    let asked: Vec<_> = items.map(|item| item["threadId"].clone()).collect();
    assert_eq!(asked, [json!("a-poison")]);
}
