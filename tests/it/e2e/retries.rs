//! Attempts: which are made, when, and how often, seen by the client and by the one that is called.

use std::time::Duration;

use serde_json::json;

use super::support::Recorder;
use super::support::flows::{bench, flow, step, types};

#[tokio::test]
async fn attempts_are_counted_and_carry_one_key() {
    let (_server, client, recorder) = bench().await;
    let steps = json!([{ "id": "s", "kind": "http",
        "with": { "method": "POST", "url": recorder.url("fail/2/x"), "json": { "a": "{input}" } } }]);
    let body = json!({ "workflow": flow(&steps), "input": [1], "threadId": "t1" }).to_string();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = [("content-type", "application/json"), ("traceparent", trace)];
    client.send("POST", "/invoke/async", &headers, body).await.expect(202);
    let status = client.completed("t1").await;
    assert_eq!(step(&status, "s")["attempts"], json!(3));
    assert_eq!(step(&status, "s")["output"]["body"], json!({ "name": "x", "hit": 3 }));
    let hits = recorder.hits_of("x");
    let attempts: Vec<_> = hits.iter().map(|hit| hit.attempt).collect();
    assert_eq!(attempts, [1, 2, 3]);
    for hit in &hits {
        assert_eq!(hit.key, "t1/s");
        assert_eq!(hit.body, r#"{"a":[1]}"#);
        let given = hit.headers["traceparent"].to_str().unwrap();
        assert!(given.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{given}");
    }
    assert!(hits[1].at - hits[0].at >= Duration::from_millis(20));
    assert!(hits[2].at - hits[1].at >= Duration::from_millis(40));
    let expected = [
        "workflow_start",
        "step_start s",
        "step_retry s",
        "step_start s",
        "step_retry s",
        "step_start s",
        "step_complete s",
        "workflow_complete",
    ];
    assert_eq!(types(&client, "t1").await, expected);
}

#[tokio::test]
async fn only_what_may_pass_is_tried_again() {
    let (_server, client, _) = bench().await;
    let table = [
        (400, 1),
        (401, 1),
        (403, 1),
        (404, 1),
        (409, 1),
        (422, 1),
        (408, 3),
        (425, 3),
        (429, 3),
        (500, 3),
        (503, 3),
    ];
    for (code, attempts) in table {
        // A target of its own: failures in a row would open the circuit of one for all.
        let recorder = Recorder::start().await;
        let url = recorder.url(&format!("status/{code}/s{code}"));
        let steps = json!([{ "id": "s", "kind": "http", "with": { "url": url } }]);
        let status = client.run(&json!({ "workflow": flow(&steps) })).await;
        assert_eq!(status["status"], "failed", "{code}");
        assert_eq!(status["error"]["code"], "http_status", "{code}");
        assert_eq!(status["error"]["recoverable"], json!(attempts > 1), "{code}");
        assert_eq!(recorder.hits_of(&format!("s{code}")).len(), attempts, "{code}");
    }
    // Named by the step: of what may pass, only what it lists is tried again.
    for (code, named, attempts) in [
        (500, "http_status", 3),
        (500, "external", 3),
        (500, "timeout", 1),
        (404, "http_status", 1),
    ] {
        let recorder = Recorder::start().await;
        let name = format!("named-{code}-{named}");
        let url = recorder.url(&format!("status/{code}/{name}"));
        let mut steps = json!([{ "id": "s", "kind": "http", "with": { "url": url } }]);
        steps[0]["retry"] = json!({ "retryOn": [named], "maxAttempts": 3, "initialInterval": 1 });
        client.run(&json!({ "workflow": flow(&steps) })).await;
        assert_eq!(recorder.hits_of(&name).len(), attempts, "{name}");
    }
    let recorder = Recorder::start().await;
    // A message that says it is hopeless is believed, whatever the status.
    let url = recorder.url("status/500/FORBIDDEN");
    let steps = json!([{ "id": "s", "kind": "http", "with": { "url": url } }]);
    client.run(&json!({ "workflow": flow(&steps) })).await;
    assert_eq!(recorder.hits_of("FORBIDDEN").len(), 1);
}

#[tokio::test]
async fn retry_after_is_waited_for_up_to_the_longest_interval() {
    let (_server, client, recorder) = bench().await;
    let run = async |name: &str, longest: &str| {
        let url = recorder.url(&format!("later/{name}"));
        let mut steps = json!([{ "id": "s", "kind": "http", "with": { "url": url } }]);
        steps[0]["retry"] = json!({ "initialInterval": "10ms", "maxInterval": longest });
        let status = client.run(&json!({ "workflow": flow(&steps) })).await;
        assert_eq!(status["status"], "completed");
        let hits = recorder.hits_of(name);
        hits[1].at - hits[0].at
    };
    assert!(run("long", "10s").await >= Duration::from_secs(1));
    let cut = run("cut", "100ms").await;
    assert!(cut >= Duration::from_millis(90) && cut < Duration::from_secs(1), "{cut:?}");
}

#[tokio::test]
async fn a_thread_goes_on_past_a_step_that_may_fail() {
    let (_server, client, recorder) = bench().await;
    let steps = json!([
        { "id": "bad", "kind": "http", "with": { "url": recorder.url("status/500/bad") },
          "continueOnError": true },
        { "id": "after", "kind": "transform", "dependsOn": ["bad"],
          "with": { "jq": ".", "from": ["{bad.output}", "{bad.status}", "{bad.error.code}"] } },
    ]);
    let status = client.run(&json!({ "workflow": flow(&steps) })).await;
    assert_eq!(status["status"], "completed");
    assert_eq!(step(&status, "bad")["status"], "failed");
    assert_eq!(step(&status, "bad")["attempts"], json!(3));
    assert_eq!(status["output"], json!({ "after": [null, "failed", "http_status"] }));
}

#[tokio::test]
async fn a_timeout_bounds_an_attempt_and_a_warning_comes_once() {
    let (_server, client, recorder) = bench().await;
    let steps = json!([{ "id": "s", "kind": "http", "with": { "url": recorder.url("wait/never") },
        "timeout": "300ms", "warnAfter": "50ms", "retry": { "maxAttempts": 2, "initialInterval": 1 } }]);
    let body = json!({ "workflow": flow(&steps), "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    let status = client.ended("t1").await;
    assert_eq!(status["status"], "failed");
    assert_eq!(status["error"]["code"], "step_timeout");
    assert_eq!(status["error"]["category"], "timeout");
    assert_eq!(recorder.hits_of("never").len(), 2);
    let expected = [
        "workflow_start",
        "step_start s",
        "step_timeout_warning s",
        "step_retry s",
        "step_start s",
        "step_timeout_warning s",
        "step_failed s",
        "workflow_failed",
    ];
    assert_eq!(types(&client, "t1").await, expected);
}
