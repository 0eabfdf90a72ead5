//! What people are asked: a decision holds for what was seen, and a question that nobody answers is
//! escalated.

use rethread::model::hex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::support::flows::{flow, gapless, step};
use super::support::{Client, Home, Recorder, eventually, on_stores};

on_stores!([sqlite, postgres] [
    a_decision_about_something_else_is_refused_and_nothing_is_written,
    what_is_asked_about_changes_and_is_asked_anew,
    another_input_asks_anew,
    a_question_is_escalated_once_whatever_happens_to_its_process,
    a_paused_thread_is_escalated_too,
]);

/// A value, and an approval of it.
fn asking(more: &Value) -> Value {
    let mut with = json!({ "prompt": "Ship {a.output} to {input.to}?" });
    for (key, value) in more.as_object().unwrap() {
        with[key] = value.clone();
    }
    flow(&json!([
        { "id": "a", "kind": "transform", "with": { "jq": "1" } },
        { "id": "w", "kind": "approval", "dependsOn": ["a"], "with": with }
    ]))
}

async fn invoke(client: &Client, workflow: &Value) -> Value {
    let body = json!({ "workflow": workflow, "threadId": "t", "input": { "to": "Rome" } });
    client.invoke(&body).await;
    client.until("t", "waits", |status| step(status, "w")["status"] == "waiting").await;
    open(client).await
}

/// The one question that is open.
async fn open(client: &Client) -> Value {
    let open = client.get("/interventions?status=open").await.expect(200).json();
    assert_eq!(open["items"].as_array().unwrap().len(), 1, "{open:#}");
    open["items"][0].clone()
}

fn path(one: &Value) -> String {
    format!("/interventions/{}/resolve", one["id"].as_str().unwrap())
}

async fn escalated(client: &Client) -> Value {
    eventually("it is escalated", async || {
        let one = open(client).await;
        one["escalatedAt"].is_string().then_some(one)
    })
    .await
}

async fn count(client: &Client, kind: &str) -> usize {
    gapless(client, "t").await.iter().filter(|event| event["type"] == kind).count()
}

async fn a_decision_about_something_else_is_refused_and_nothing_is_written(home: Home) {
    let server = home.start().await;
    let client = server.client();
    let one = invoke(&client, &asking(&json!({ "choices": ["approve"] }))).await;
    // As the documentation says, by hand.
    let about = r#"{"choices":["approve"],"prompt":"Ship 1 to Rome?"}"#;
    let digest = hex(&Sha256::digest(about.as_bytes()));
    assert_eq!(one["digest"], digest);
    let before = client.events("t").await;
    let other = json!({ "choice": "approve", "digest": "0".repeat(64) });
    let refused = client.post(&path(&one), &other).await.expect(409);
    assert_eq!(refused.json()["code"], "digest_mismatch");
    assert!(refused.text().contains(&digest), "{}", refused.text());
    let wrong = json!({ "choice": "approve", "digest": 7 });
    assert_eq!(client.post(&path(&one), &wrong).await.expect(400).pointers(), ["/digest"]);
    assert_eq!(client.events("t").await, before);
    let seen = json!({ "choice": "approve", "digest": digest });
    client.post(&path(&one), &seen).await.expect(200);
    client.completed("t").await;
    let events = gapless(&client, "t").await;
    let resolved = events.iter().find(|event| event["type"] == "intervention_resolved").unwrap();
    assert_eq!(resolved["data"]["digest"], digest);
}

async fn what_is_asked_about_changes_and_is_asked_anew(home: Home) {
    let server = home.start().await;
    let client = server.client();
    let old = invoke(&client, &asking(&json!({}))).await;
    client.post("/threads/t/pause", &json!({})).await.expect(200);
    client.post("/threads/t/steps/a/output", &json!({ "output": 2 })).await.expect(200);
    // What was asked about is gone at once, and not only once the thread goes on.
    let approve = json!({ "choice": "approve" });
    let late = client.post(&path(&old), &approve).await.expect(409);
    assert_eq!(late.json()["code"], "intervention_resolved");
    let none = client.get("/interventions?status=open").await.expect(200).json();
    assert_eq!(none["items"], json!([]));
    client.post("/threads/t/resume", &json!({})).await.expect(202);
    let new = open(&client).await;
    assert_eq!(new["prompt"], "Ship 2 to Rome?");
    assert_ne!(new["id"], old["id"]);
    // Who still looks at the old one cannot decide the new one.
    let stale = json!({ "choice": "approve", "digest": old["digest"] });
    let refused = client.post(&path(&new), &stale).await.expect(409);
    assert_eq!(refused.json()["code"], "digest_mismatch");
    let seen = json!({ "choice": "approve", "digest": new["digest"] });
    client.post(&path(&new), &seen).await.expect(200);
    let status = client.completed("t").await;
    assert_eq!(step(&status, "w")["output"]["choice"], "approve");
    let events = gapless(&client, "t").await;
    let resolved: Vec<_> =
        events.iter().filter(|event| event["type"] == "intervention_resolved").collect();
    let told: Vec<_> = resolved.iter().map(|event| &event["data"]["choice"]).collect();
    assert_eq!(told, ["changed", "approve"]);
    assert_eq!(resolved[0]["data"]["digest"], old["digest"]);
}

async fn another_input_asks_anew(home: Home) {
    let server = home.start().await;
    let client = server.client();
    let old = invoke(&client, &asking(&json!({}))).await;
    client.post("/threads/t/pause", &json!({})).await.expect(200);
    client.post("/threads/t/resume", &json!({})).await.expect(202);
    assert_eq!(open(&client).await, old, "nothing has changed");
    client.post("/threads/t/pause", &json!({})).await.expect(200);
    let resume = json!({ "input": { "to": "Oslo" } });
    client.post("/threads/t/resume", &resume).await.expect(202);
    let new = open(&client).await;
    assert_eq!(new["prompt"], "Ship 1 to Oslo?");
    client.post(&path(&new), &json!({ "choice": "reject" })).await.expect(200);
    client.completed("t").await;
}

async fn a_question_is_escalated_once_whatever_happens_to_its_process(home: Home) {
    let launch = || home.launch().set("RETHREAD_SNAPSHOT_EVERY", "1");
    let server = launch().start().await;
    let client = server.client();
    let patience = json!({ "escalateAfter": "300ms", "timeout": "1h" });
    let one = invoke(&client, &asking(&patience)).await;
    assert!(one["escalatesAt"].is_string());
    // It is due while nobody is there.
    server.kill9().await;
    let server = launch().start().await;
    let client = server.client();
    let one = escalated(&client).await;
    server.kill9().await;
    let server = launch().start().await;
    let client = server.client();
    client.post("/threads/t/pause", &json!({})).await.expect(200);
    client.post("/threads/t/resume", &json!({})).await.expect(202);
    assert_eq!(open(&client).await, one);
    let events = gapless(&client, "t").await;
    let told: Vec<_> =
        events.iter().filter(|event| event["type"] == "intervention_escalated").collect();
    assert_eq!(told.len(), 1);
    let data = &told[0]["data"];
    assert_eq!((&data["id"], &data["prompt"]), (&one["id"], &json!("Ship 1 to Rome?")));
    assert_eq!((&data["kind"], &data["openedAt"]), (&json!("approval"), &one["openedAt"]));
    client.post(&path(&one), &json!({ "choice": "approve" })).await.expect(200);
    client.completed("t").await;
    assert_eq!(count(&client, "intervention_escalated").await, 1);
    server.sigterm_and_wait().await;
    // The index says what the journal does.
    let verified = home.launch().output(&["verify"]).await;
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

async fn a_paused_thread_is_escalated_too(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let workflow = json!({ "name": "w", "onFailure": "pause", "escalateAfter": "200ms", "steps": [
        { "id": "a", "kind": "http", "with": { "url": recorder.url("fail/1/a") },
          "retry": { "maxAttempts": 1 } }
    ] });
    client.invoke(&json!({ "workflow": workflow, "threadId": "t" })).await;
    client.until("t", "it is paused", |status| status["status"] == "paused").await;
    let one = escalated(&client).await;
    assert_eq!(one["kind"], "failure");
    assert_eq!(client.status("t").await["status"], "paused");
    client.post(&path(&one), &json!({ "choice": "retry" })).await.expect(200);
    client.completed("t").await;
    assert_eq!(count(&client, "intervention_escalated").await, 1);
}
