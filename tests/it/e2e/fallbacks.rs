//! What stands in for a step that has used its attempts.

use serde_json::json;

use super::support::flows::{bench, flow, gapless, step, types};
use super::support::{Home, Recorder, on_stores};

on_stores!([sqlite, postgres] [
    a_fallback_goes_on_behind_a_crash,
]);

#[tokio::test]
async fn an_output_stands_in_for_the_step_and_the_journal_says_so() {
    let (_server, client, recorder) = bench().await;
    let steps = json!([
        { "id": "s", "kind": "http", "with": { "url": recorder.url("status/500/x") },
          "fallback": { "output": { "cached": true, "why": "{s.error.code}", "for": "{input}" } } },
        { "id": "after", "kind": "transform", "dependsOn": ["s"],
          "with": { "jq": ".", "from": ["{s.output}", "{s.status}"] } },
    ]);
    let body = json!({ "workflow": flow(&steps), "input": 5, "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    let status = client.completed("t1").await;
    assert_eq!(recorder.hits_of("x").len(), 3);
    let output = json!({ "cached": true, "why": "http_status", "for": 5 });
    assert_eq!(status["output"]["after"], json!([output, "completed"]));
    assert_eq!(step(&status, "s")["fallback"], json!(true));
    assert!(step(&status, "after").get("fallback").is_none());
    let events = gapless(&client, "t1").await;
    let complete = events.iter().find(|event| event["type"] == "step_complete").unwrap();
    assert_eq!(complete["data"]["fallback"], json!(true));
    assert_eq!(complete["data"]["error"]["code"], "http_status");
    assert!(!events.iter().any(|event| event["type"] == "step_failed"));
}

#[tokio::test]
async fn a_step_stands_in_under_a_key_and_a_policy_of_its_own() {
    let (_server, client, recorder) = bench().await;
    let other = Recorder::start().await;
    let steps = json!([{ "id": "s", "kind": "http", "with": { "url": recorder.url("status/404/x") },
        "fallback": { "kind": "http",
            "with": { "method": "POST", "url": other.url("fail/1/f"), "json": "{s.error.message}" },
            "retry": { "maxAttempts": 2, "initialInterval": "10ms" } } }]);
    client
        .post("/invoke/async", &json!({ "workflow": flow(&steps), "threadId": "t1" }))
        .await
        .expect(202);
    let status = client.completed("t1").await;
    assert_eq!(step(&status, "s")["output"]["body"]["name"], "f");
    assert_eq!(step(&status, "s")["attempts"], json!(3));
    let first = &recorder.hits_of("x")[0];
    assert_eq!((first.key.as_str(), first.attempt), ("t1/s", 1));
    let hits = other.hits_of("f");
    let made: Vec<_> = hits.iter().map(|hit| (hit.key.as_str(), hit.attempt)).collect();
    assert_eq!(made, [("t1/s/fallback", 2), ("t1/s/fallback", 3)]);
    assert_eq!(hits[0].body, r#""HTTP 404 Not Found: x""#);
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
    let events = gapless(&client, "t1").await;
    let marks: Vec<_> = events.iter().map(|event| event["data"]["fallback"] == true).collect();
    assert_eq!(marks, [false, false, true, true, false, true, true, false]);
}

async fn a_fallback_goes_on_behind_a_crash(home: Home) {
    // A snapshot at every event: which phase a step is in comes back from it as well.
    let launch = || home.launch().set("RETHREAD_SNAPSHOT_EVERY", "1");
    let (server, recorder) = (launch().start().await, Recorder::start().await);
    let steps = json!([
        { "id": "a", "kind": "http", "with": { "url": recorder.url("status/404/a") },
          "fallback": { "output": 1 } },
        { "id": "b", "kind": "http", "dependsOn": ["a"],
          "with": { "url": recorder.url("status/404/b") },
          "fallback": { "kind": "http", "with": { "url": recorder.url("wait/f") } } },
    ]);
    let client = server.client();
    let body = json!({ "workflow": flow(&steps), "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    recorder.reached("f", 1).await;
    let before = client.events("t1").await;
    server.kill9().await;

    let server = launch().start().await;
    let client = server.client();
    recorder.reached("f", 2).await;
    recorder.release("f");
    let status = client.completed("t1").await;
    assert_eq!(client.events("t1").await[..before.len()], before[..]);
    assert_eq!(step(&status, "a")["output"], json!(1));
    assert_eq!(step(&status, "b")["output"]["body"]["name"], "f");
    // What was used up is not tried again.
    assert_eq!(["a", "b"].map(|name| recorder.hits_of(name).len()), [1, 1]);
    let made: Vec<_> =
        recorder.hits_of("f").iter().map(|hit| (hit.key.clone(), hit.attempt)).collect();
    assert_eq!(made, [("t1/b/fallback".to_owned(), 2), ("t1/b/fallback".to_owned(), 3)]);
}

#[tokio::test]
async fn a_fallback_starts_no_program_that_is_not_allowed() {
    let (_server, client, recorder) = bench().await;
    let steps = json!([{ "id": "s", "kind": "http", "with": { "url": recorder.url("ok/x") },
        "fallback": { "kind": "exec", "with": { "program": "rm" } } }]);
    let answer = client.post("/invoke/async", &json!({ "workflow": flow(&steps) })).await;
    let answer = answer.expect(403);
    assert_eq!(answer.json()["code"], "exec_not_allowed");
    assert_eq!(answer.pointers(), ["/workflow/steps/0/fallback/with/program"]);
}
