//! Streams of every kind of event. The streams of all tests are held against the API's document; here
//! they carry all that it speaks of.

use std::collections::BTreeSet;

use rethread::model::EventType;
use serde_json::{Value, json};

use super::support::flows::{flow, step, types};
use super::support::{Client, Frame, Home, Recorder, eventually};

fn kinds(frames: &[Frame]) -> BTreeSet<&str> {
    frames.iter().map(|frame| frame.event.as_str()).collect()
}

#[tokio::test]
async fn every_kind_of_event_is_streamed_as_the_document_says() {
    let (home, recorder) = (Home::sqlite().await, Recorder::start().await);
    let launch = || home.launch().set("RETHREAD_STALE_AFTER", "1s");
    let server = launch().start().await;
    let client = server.client();
    let all = client.stream("/stream", &[]).await;
    client.invoke(&json!({ "workflow": eventful(&recorder), "threadId": "failed" })).await;
    waits_and_is_asked(&client).await;
    is_silent_and_edited(&client).await;
    server.kill9().await;
    let mut live = all.rest().await;

    recorder.release("hold");
    let server = launch().start().await;
    let client = server.client();
    let mut all = client.stream("/stream", &[]).await;
    let mut frames = client.stream("/stream/failed", &[]).await.rest().await;
    client
        .post("/threads/failed/fork", &json!({ "atSeq": 1, "threadId": "aborted" }))
        .await
        .expect(202);
    client.post("/threads/aborted/abort", &json!({})).await.expect(200);
    frames.extend(client.stream("/stream/aborted", &[]).await.rest().await);
    let short = flow(&json!([{ "id": "a", "kind": "transform", "with": { "jq": "1" } }]));
    client.invoke(&json!({ "workflow": short, "threadId": "completed" })).await;
    frames.extend(client.stream("/stream/completed", &[]).await.rest().await);
    let known: BTreeSet<&str> = EventType::ALL.iter().map(|kind| kind.name).collect();
    assert_eq!(kinds(&frames), known);

    live.push(all.wait_for("workflow_forked").await);
    live.push(all.wait_for("workflow_aborted").await);
    live.push(all.wait_for("workflow_complete").await);
    assert!(kinds(&live).is_subset(&known) && kinds(&live).len() > 15, "{:?}", kinds(&live));
}

/// A workflow that waits, asks, is silent, retries, fails and is undone, a step after the other.
fn eventful(recorder: &Recorder) -> Value {
    let http = |path: &str| json!({ "url": recorder.url(path) });
    flow(&json!([
        { "id": "a", "kind": "http", "with": http("ok/a"),
          "compensate": { "kind": "http", "with": http("fail/1/una") } },
        { "id": "skipped", "kind": "transform", "when": "false", "with": { "jq": "1" } },
        { "id": "signal", "kind": "signal", "dependsOn": ["a"], "with": { "name": "go" } },
        { "id": "approval", "kind": "approval", "dependsOn": ["signal"],
          "with": { "prompt": "Go on?", "escalateAfter": "100ms" } },
        { "id": "hold", "kind": "http", "dependsOn": ["approval"], "with": http("wait/hold"),
          "timeout": "10m", "warnAfter": "50ms" },
        { "id": "retried", "kind": "http", "dependsOn": ["hold"], "with": http("fail/1/retried") },
        { "id": "failed", "kind": "http", "dependsOn": ["retried"], "with": http("status/404/f") },
    ]))
}

async fn waits_and_is_asked(client: &Client) {
    let waits = |id: &'static str| move |status: &Value| step(status, id)["status"] == "waiting";
    client.until("failed", "waits for the signal", waits("signal")).await;
    client.post("/threads/failed/signals/go", &json!(1)).await.expect(202);
    client.until("failed", "waits for a person", waits("approval")).await;
    let escalated = eventually("the question is escalated", async || {
        let open = client.get("/interventions?status=open").await.expect(200).json();
        Some(open["items"][0].clone()).filter(|one| one["escalatedAt"].is_string())
    });
    let question = format!("/interventions/{}/resolve", escalated.await["id"].as_str().unwrap());
    client.post(&question, &json!({ "choice": "approve" })).await.expect(200);
}

async fn is_silent_and_edited(client: &Client) {
    eventually("the attempt is found to be silent", async || {
        types(client, "failed").await.contains(&"step_stale hold".to_owned()).then_some(())
    })
    .await;
    client.post("/threads/failed/pause", &json!({})).await.expect(200);
    client.post("/threads/failed/steps/a/output", &json!({ "output": 1 })).await.expect(200);
    client.post("/threads/failed/resume", &json!({})).await.expect(202);
}
