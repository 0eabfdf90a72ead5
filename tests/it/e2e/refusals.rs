//! What people ask that makes no sense: each has its own code, and the journal's head stays where it
//! was.

use serde_json::{Value, json};

use super::support::acts::{Act, finish};
use super::support::flows::flow;
use super::support::{Client, Home, Recorder, on_stores};

on_stores!([sqlite, postgres] [
    what_makes_no_sense_now_has_its_own_code_and_leaves_the_head_alone,
    every_change_on_a_version_that_is_gone_is_refused,
    what_is_too_large_for_an_event_is_refused,
    a_resume_with_an_input_that_the_schema_forbids_is_refused,
]);

/// A call: its method, path and body, and the status and code of its refusal.
type Refusal = (&'static str, String, Value, u16, &'static str);

async fn head(client: &Client, thread: &str) -> Value {
    client.status(thread).await["lastSeq"].clone()
}

/// Makes every call, twice, and sees that each is refused and changes nothing.
async fn refused(client: &Client, thread: &str, calls: &[Refusal]) {
    let before = (head(client, thread).await, client.events(thread).await);
    for (method, path, body, status, code) in calls {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        // Each call is one of its own, whatever was asked before.
        let key = format!("{} {path} {}", before.0, body.chars().take(50).collect::<String>());
        for headers in [
            &[("content-type", "application/json")][..],
            &[("content-type", "application/json"), ("idempotency-key", key.as_str())][..],
        ] {
            let answer = client.send(method, path, headers, body.clone()).await;
            let told = format!("{method} {path} {body}: {}", answer.text());
            assert_eq!(answer.status, *status, "{told}");
            assert_eq!(answer.json()["code"], *code, "{told}");
        }
    }
    assert_eq!((head(client, thread).await, client.events(thread).await), before);
}

fn post(path: &str, body: Value, status: u16, code: &'static str) -> Refusal {
    ("POST", path.to_owned(), body, status, code)
}

async fn what_makes_no_sense_now_has_its_own_code_and_leaves_the_head_alone(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    Act::Pause.prepare((&client, &recorder), "t", true).await;
    let open = client.get("/interventions?threadId=t").await.expect(200).json();
    let resolve = format!("/interventions/{}/resolve", open["items"][0]["id"].as_str().unwrap());
    let running = [
        post("/threads/t/resume", json!({}), 409, "wrong_state"),
        post("/threads/t/steps/nosuch/retry", json!({}), 404, "step_not_found"),
        post("/threads/t/steps/nosuch/skip", json!({}), 404, "step_not_found"),
        post("/threads/t/steps/nosuch/output", json!({ "output": 1 }), 404, "step_not_found"),
        post("/threads/t/steps/t/retry", json!({}), 409, "wrong_step_state"),
        post("/threads/t/steps/u/retry", json!({}), 409, "wrong_step_state"),
        post("/threads/t/steps/w/retry", json!({}), 409, "wrong_step_state"),
        post("/threads/t/steps/t/skip", json!({}), 409, "wrong_step_state"),
        post("/threads/t/steps/t/output", json!({ "output": 1 }), 409, "wrong_state"),
        post(&resolve, json!({ "choice": "perhaps" }), 422, "choice_not_offered"),
        post(
            "/interventions/t~1/resolve",
            json!({ "choice": "approve" }),
            404,
            "intervention_not_found",
        ),
        ("DELETE", "/threads/t".to_owned(), Value::Null, 409, "wrong_state"),
    ];
    refused(&client, "t", &running).await;

    client.post("/threads/t/pause", &json!({})).await.expect(200);
    let paused = [
        post("/threads/t/pause", json!({}), 409, "wrong_state"),
        post("/threads/t/resume", json!({ "fromStep": "nosuch" }), 404, "step_not_found"),
        post("/threads/t/resume", json!({ "skip": ["w", "nosuch"] }), 404, "step_not_found"),
        post("/threads/t/resume", json!({ "skip": ["w", "t"] }), 409, "wrong_step_state"),
        post("/threads/t/resume", json!({ "from": "t" }), 400, "validation_failed"),
        post("/threads/t/steps/r/retry", json!({}), 409, "wrong_state"),
        post("/threads/t/steps/u/output", json!({ "output": 1 }), 409, "wrong_step_state"),
        post("/threads/t/abort", json!({ "reason": "x".repeat(3_000) }), 400, "validation_failed"),
    ];
    refused(&client, "t", &paused).await;

    finish((&client, &recorder), "t").await;
    let ended = [
        post("/threads/t/signals/go", json!(1), 409, "wrong_state"),
        post("/threads/t/abort", json!({}), 409, "wrong_state"),
        post("/threads/t/pause", json!({}), 409, "wrong_state"),
        post("/threads/t/resume", json!({ "fromStep": "t" }), 409, "wrong_state"),
        post("/threads/t/steps/t/skip", json!({}), 409, "wrong_step_state"),
        post("/threads/t/steps/t/retry", json!({}), 409, "wrong_state"),
        post(&resolve, json!({ "choice": "approve" }), 409, "intervention_resolved"),
        post(&resolve, json!({ "choice": "perhaps" }), 409, "intervention_resolved"),
    ];
    refused(&client, "t", &ended).await;
}

async fn every_change_on_a_version_that_is_gone_is_refused(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    for act in Act::ALL {
        let thread = format!("t-{act:?}");
        act.prepare((&client, &recorder), &thread, true).await;
        let before = client.events(&thread).await;
        // A weak tag, and one that no thread ever had, match nothing.
        for gone in ["\"1\"", "\"999\"", "W/\"1\"", "\"x\""] {
            let answer = act.once(&client, &thread, gone).await.expect(412);
            assert_eq!(answer.json()["code"], "precondition_failed", "{act:?}");
        }
        for malformed in ["1", "\"1", "W/1"] {
            act.once(&client, &thread, malformed).await.expect(400);
        }
        assert_eq!(client.events(&thread).await, before, "{act:?}");
        client.post(&format!("/threads/{thread}/abort"), &json!({})).await.expect(200);
        let path = format!("/threads/{thread}");
        client.send("DELETE", &path, &[("if-match", "\"1\"")], "").await.expect(412);
        client.get(&path).await.expect(200);
    }
}

async fn what_is_too_large_for_an_event_is_refused(home: Home) {
    let server = home.launch().set("RETHREAD_MAX_EVENT", "2KiB").start().await;
    let (client, recorder) = (server.client(), Recorder::start().await);
    Act::Edit.prepare((&client, &recorder), "t", true).await;
    let large = "x".repeat(3_000);
    let calls = [
        post("/threads/t/signals/go", json!(large), 413, "payload_too_large"),
        post("/threads/t/steps/k/skip", json!({ "output": large }), 413, "payload_too_large"),
        post("/threads/t/steps/t/output", json!({ "output": large }), 413, "payload_too_large"),
        post("/threads/t/resume", json!({ "input": large }), 413, "payload_too_large"),
    ];
    refused(&client, "t", &calls).await;
}

async fn a_resume_with_an_input_that_the_schema_forbids_is_refused(home: Home) {
    let server = home.start().await;
    let client = server.client();
    let steps = json!([{ "id": "w", "kind": "signal", "with": { "name": "{input.name}" } }]);
    let mut workflow = flow(&steps);
    workflow["inputSchema"] = json!({ "type": "object", "required": ["name"] });
    let body = json!({ "workflow": workflow, "threadId": "t", "input": { "name": "go" } });
    client.invoke(&body).await;
    client.until("t", "waits", |status| status["steps"][0]["status"] == "waiting").await;
    client.post("/threads/t/pause", &json!({})).await.expect(200);
    let calls = [
        post("/threads/t/resume", json!({ "input": {} }), 400, "validation_failed"),
        post("/threads/t/resume", json!({ "input": 1 }), 400, "validation_failed"),
    ];
    refused(&client, "t", &calls).await;
    client
        .post("/threads/t/resume", &json!({ "input": { "name": "on" }, "fromStep": "w" }))
        .await
        .expect(202);
    client.post("/threads/t/signals/on", &json!(1)).await.expect(202);
    client.completed("t").await;
    client.post("/threads/nosuch/resume", &json!({ "input": 1 })).await.expect(404);
}
