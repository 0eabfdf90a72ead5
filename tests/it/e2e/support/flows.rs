//! Workflows that tests run, and ways to look at what became of them.

use serde_json::{Value, json};

use super::{Client, Home, Recorder, Server};

/// A server with memory as its store, and a recorder.
pub(crate) async fn bench() -> (Server, Client, Recorder) {
    let server = Home::memory().await.start().await;
    let client = server.client();
    (server, client, Recorder::start().await)
}

/// A workflow of these steps, with quick retries.
pub(crate) fn flow(steps: &Value) -> Value {
    let retry = json!({ "maxAttempts": 3, "initialInterval": "20ms", "jitter": false });
    json!({ "name": "w", "steps": steps, "defaults": { "retry": retry } })
}

/// Steps that call the recorder one after another; the paths say how it answers. Many threads that
/// it fails on purpose do not open its circuit: that has tests of its own.
pub(crate) fn chain(recorder: &Recorder, paths: &[&str]) -> Value {
    let mut steps = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        let depends: Vec<_> = index.checked_sub(1).iter().map(|at| format!("s{at}")).collect();
        let retry = json!({ "initialInterval": "20ms" });
        steps.push(json!({
            "id": format!("s{index}"), "kind": "http", "with": { "url": recorder.url(path) },
            "dependsOn": depends, "retry": retry, "breaker": { "failureThreshold": 1000 }
        }));
    }
    json!({ "name": "chain", "steps": steps })
}

/// The step of this id in a status document.
pub(crate) fn step<'a>(status: &'a Value, id: &str) -> &'a Value {
    status["steps"].as_array().unwrap().iter().find(|step| step["id"] == id).unwrap()
}

/// The types of a thread's events, with their step where they have one.
pub(crate) async fn types(client: &Client, thread: &str) -> Vec<String> {
    let read = |text: &String| {
        let event: Value = serde_json::from_str(text).unwrap();
        let kind = event["type"].as_str().unwrap().to_owned();
        event["stepId"].as_str().map_or_else(|| kind.clone(), |step| format!("{kind} {step}"))
    };
    client.events(thread).await.iter().map(read).collect()
}

/// Events, read as JSON, after it was seen that none is missing.
pub(crate) async fn gapless(client: &Client, thread: &str) -> Vec<Value> {
    let texts = client.events(thread).await;
    let events: Vec<Value> = texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event["seq"], json!(index + 1), "{thread}");
    }
    events
}

/// Three steps without anything outside: `a`, then `b` and `c`.
pub(crate) fn workflow(name: &str) -> Value {
    json!({ "name": name, "steps": [
        { "id": "a", "kind": "transform", "with": { "jq": ".x + 1", "from": "{input}" } },
        { "id": "b", "kind": "transform", "dependsOn": ["a"],
          "with": { "jq": ". * 2", "from": "{a.output}" } },
        { "id": "c", "kind": "transform", "dependsOn": ["a"],
          "with": { "jq": "[., .]", "from": "{a.output}" } },
    ]})
}

/// One step that hangs until the recorder lets it go.
pub(crate) fn hanging(recorder: &Recorder, name: &str) -> Value {
    let url = recorder.url(&format!("wait/{name}"));
    json!({ "name": "hanging", "steps": [{ "id": "s", "kind": "http", "with": { "url": url } }] })
}
