//! Bounds of whole threads: the workflow's `timeout`, the grace of an abort, and bounds that the
//! server multiplies.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::flows::{gapless, hanging, step};
use super::support::{Home, Recorder, on_stores};

on_stores!([sqlite, postgres] [
    a_thread_that_takes_too_long_fails_wherever_it_stands,
    a_deadline_outlives_the_process_that_set_it,
    an_abort_with_a_grace_keeps_what_ends_in_time,
    an_abort_cancels_what_outlives_its_grace,
    bounds_are_multiplied_by_what_the_server_says,
]);

async fn a_thread_that_takes_too_long_fails_wherever_it_stands(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let mut call = hanging(&recorder, "late");
    call["timeout"] = json!("300ms");
    let waits = json!({ "id": "s", "kind": "signal", "with": { "name": "never" } });
    let parked = json!({ "name": "parked", "timeout": "300ms", "steps": [waits] });
    for (thread, workflow) in [("called", call), ("parked", parked)] {
        client.invoke(&json!({ "workflow": workflow, "threadId": thread })).await;
        let status = client.ended(thread).await;
        assert_eq!(status["status"], "failed", "{status:#}");
        assert_eq!(status["error"]["code"], "workflow_timeout");
        assert_eq!(status["error"]["category"], "timeout");
        assert_eq!(step(&status, "s")["status"], "pending");
    }
    recorder.dropped("late").await;
    // It has its whole time again once somebody resumes it.
    client.post("/threads/parked/resume", &json!({})).await.expect(202);
    client.post("/threads/parked/signals/never", &json!({ "n": 1 })).await.expect(202);
    client.completed("parked").await;
}

async fn a_deadline_outlives_the_process_that_set_it(home: Home) {
    let server = home.start().await;
    let client = server.client();
    let waits = json!({ "id": "s", "kind": "signal", "with": { "name": "never" } });
    let workflow = json!({ "name": "parked", "timeout": "1500ms", "steps": [waits] });
    client.invoke(&json!({ "workflow": workflow, "threadId": "t" })).await;
    let waiting = |status: &Value| step(status, "s")["status"] == "waiting";
    let before = client.until("t", "it waits", waiting).await;
    server.kill9().await;
    let server = home.start().await;
    let client = server.client();
    let status = client.ended("t").await;
    assert_eq!(status["error"]["code"], "workflow_timeout");
    let start = &gapless(&client, "t").await[0];
    assert_eq!(start["data"]["deadline"], before["deadline"]);
    let deadline = before["deadline"].as_str().unwrap();
    assert!(status["completedAt"].as_str().unwrap() >= deadline, "{status:#}");
}

async fn an_abort_with_a_grace_keeps_what_ends_in_time(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let workflow = hanging(&recorder, "soon");
    client.invoke(&json!({ "workflow": workflow, "threadId": "t" })).await;
    recorder.reached("soon", 1).await;
    let abort = json!({ "grace": "10m", "reason": "enough" });
    let answer = client.post("/threads/t/abort", &abort).await.expect(202);
    assert_eq!(answer.json()["status"], "paused");
    assert!(client.status("t").await["abortsAt"].is_string());
    recorder.release("soon");
    let status = client.ended("t").await;
    assert_eq!(status["status"], "aborted");
    assert_eq!(step(&status, "s")["status"], "completed");
    let events = gapless(&client, "t").await;
    let last = events.last().unwrap();
    assert_eq!(
        (&last["type"], &last["data"]["reason"]),
        (&json!("workflow_aborted"), &json!("enough"))
    );
}

async fn an_abort_cancels_what_outlives_its_grace(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let workflow = hanging(&recorder, "never");
    client.invoke(&json!({ "workflow": workflow, "threadId": "t" })).await;
    recorder.reached("never", 1).await;
    client.post("/threads/t/abort", &json!({ "grace": 300 })).await.expect(202);
    let status = client.ended("t").await;
    assert_eq!(status["status"], "aborted");
    recorder.dropped("never").await;
    let wrong = client.post("/threads/t/abort", &json!({ "grace": "2h" })).await.expect(400);
    assert_eq!(wrong.json()["errors"][0]["pointer"], "/grace");
}

async fn bounds_are_multiplied_by_what_the_server_says(home: Home) {
    let recorder = Recorder::start().await;
    let server = home.launch().set("RETHREAD_TIMEOUT_MULTIPLIER", "0.1").start().await;
    let client = server.client();
    let mut workflow = hanging(&recorder, "never");
    workflow["timeout"] = json!("1h");
    workflow["steps"][0]["timeout"] = json!("3s");
    workflow["steps"][0]["warnAfter"] = json!("1s");
    workflow["steps"][0]["retry"] = json!({ "maxAttempts": 1 });
    client.invoke(&json!({ "workflow": workflow, "threadId": "t" })).await;
    let status = client.ended("t").await;
    assert_eq!(status["error"]["code"], "step_timeout");
    let took = Duration::from_millis(step(&status, "s")["durationMs"].as_u64().unwrap());
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(3), "{took:?}");
    let events = gapless(&client, "t").await;
    let warning = events.iter().find(|event| event["type"] == "step_timeout_warning").unwrap();
    assert_eq!(warning["data"]["timeoutMs"], 300);
}
