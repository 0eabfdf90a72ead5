//! Outputs that a workflow's own check decides about, before anything goes on from them.

use rethread::model::{Json, canonical_digest};
use serde_json::{Value, json};

use super::support::flows::{flow, gapless, step, types};
use super::support::{Client, Home, Recorder, on_stores};

on_stores!([sqlite, postgres] [
    a_check_that_says_failed_costs_an_attempt,
    a_check_without_an_answer_fails_the_step_at_once,
    a_person_accepts_repeats_skips_or_ends_what_was_blocked,
    a_blocked_output_outlives_its_process,
]);

/// A step that calls the recorder, whose answer counts its hits, and one that depends on it.
fn checked(recorder: &Recorder, name: &str, check: &str) -> Value {
    flow(&json!([
        { "id": "a", "kind": "http", "check": check,
          "with": { "url": recorder.url(&format!("ok/{name}")) } },
        { "id": "b", "kind": "transform", "dependsOn": ["a"],
          "with": { "from": "{a.output}", "jq": ".body.hit" } }
    ]))
}

/// The first answer is to be looked at, later ones are fine.
const BLOCKS_THE_FIRST: &str = "output.body.hit > 1 ? 'success' : 'blocked'";

/// Waits until the step's output is blocked; what is asked about it.
async fn blocked(client: &Client, thread: &str) -> Value {
    let waits = |status: &Value| step(status, "a")["status"] == "waiting";
    let status = client.until(thread, "its output is blocked", waits).await;
    let open = client.get(&format!("/interventions?status=open&threadId={thread}")).await;
    let one = open.expect(200).json()["items"][0].clone();
    assert_eq!((&one["kind"], &one["steps"]), (&json!("blocked"), &json!(["a"])));
    assert_eq!(one["choices"], json!(["accept", "retry", "skip", "abort"]));
    let shown = &step(&status, "a")["blockedOutput"];
    assert_eq!(shown["body"]["hit"], 1);
    // Whoever has seen the output can name it.
    let digest = canonical_digest(&Json::parse(&shown.to_string()).unwrap());
    assert_eq!(one["digest"], digest);
    one
}

async fn resolve(client: &Client, one: &Value, choice: &str) {
    let path = format!("/interventions/{}/resolve", one["id"].as_str().unwrap());
    let decision = json!({ "choice": choice, "digest": one["digest"], "by": "ann" });
    client.post(&path, &decision).await.expect(200);
}

async fn a_check_that_says_failed_costs_an_attempt(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let workflow = checked(&recorder, "x", "output.body.hit == 2");
    client.invoke(&json!({ "workflow": workflow, "threadId": "t" })).await;
    let status = client.completed("t").await;
    assert_eq!(status["output"], json!({ "b": 2 }));
    assert_eq!(recorder.hits_of("x").len(), 2);
    let events = gapless(&client, "t").await;
    let retry = events.iter().find(|event| event["type"] == "step_retry").unwrap();
    assert_eq!(retry["data"]["error"]["code"], "check_failed");

    // It never says anything else: the attempts are used up.
    let workflow = checked(&recorder, "y", "output.status != 200");
    client.invoke(&json!({ "workflow": workflow, "threadId": "u" })).await;
    let status = client.ended("u").await;
    assert_eq!(
        (&status["status"], &status["error"]["code"]),
        (&json!("failed"), &json!("check_failed"))
    );
    assert_eq!(recorder.hits_of("y").len(), 3);
}

async fn a_check_without_an_answer_fails_the_step_at_once(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    for (name, check) in [("x", "output.body.nosuch > 1"), ("y", "'perhaps'")] {
        let workflow = checked(&recorder, name, check);
        client.invoke(&json!({ "workflow": workflow, "threadId": name })).await;
        let status = client.ended(name).await;
        assert_eq!(status["error"]["code"], "check_error", "{check}");
        assert_eq!(recorder.hits_of(name).len(), 1);
    }
    let wrong = json!({ "workflow": checked(&recorder, "z", "b.output == 1") });
    let refused = client.post("/invoke/async", &wrong).await.expect(400);
    assert_eq!(refused.pointers(), ["/workflow/steps/0/check"]);
}

async fn a_person_accepts_repeats_skips_or_ends_what_was_blocked(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    for (choice, end, output, hits) in [
        ("accept", "completed", json!({ "b": 1 }), 1),
        ("retry", "completed", json!({ "b": 2 }), 2),
        ("skip", "completed", json!({ "b": null }), 1),
        ("abort", "aborted", json!(null), 1),
    ] {
        let workflow = checked(&recorder, choice, BLOCKS_THE_FIRST);
        client.invoke(&json!({ "workflow": workflow, "threadId": choice })).await;
        let one = blocked(&client, choice).await;
        assert_eq!(client.status(choice).await["status"], "running");
        resolve(&client, &one, choice).await;
        let status = client.ended(choice).await;
        assert_eq!((&status["status"], &status["output"]), (&json!(end), &output), "{choice}");
        assert!(step(&status, "a").get("blockedOutput").is_none());
        assert_eq!(recorder.hits_of(choice).len(), hits, "{choice}");
        let path = format!("/interventions/{}/resolve", one["id"].as_str().unwrap());
        let again = client.post(&path, &json!({ "choice": "accept" })).await.expect(409);
        assert_eq!(again.json()["code"], "intervention_resolved");
        let events = gapless(&client, choice).await;
        let resolved = events.iter().find(|event| event["type"] == "intervention_resolved");
        assert_eq!(resolved.unwrap()["data"]["digest"], one["digest"]);
    }
    let kinds = types(&client, "accept").await;
    assert_eq!(
        kinds[..6],
        [
            "workflow_start",
            "step_start a",
            "step_waiting a",
            "intervention_opened",
            "intervention_resolved",
            "step_complete a"
        ]
    );
}

async fn a_blocked_output_outlives_its_process(home: Home) {
    // A snapshot at every event: what is kept comes back from it as well.
    let launch = || home.launch().set("RETHREAD_SNAPSHOT_EVERY", "1");
    let (server, recorder) = (launch().start().await, Recorder::start().await);
    let client = server.client();
    let workflow = checked(&recorder, "x", BLOCKS_THE_FIRST);
    client.invoke(&json!({ "workflow": workflow, "threadId": "t" })).await;
    let one = blocked(&client, "t").await;
    let before = client.events("t").await;
    server.kill9().await;

    let server = launch().start().await;
    let client = server.client();
    assert_eq!(blocked(&client, "t").await, one);
    assert_eq!(client.events("t").await, before, "nobody drove it, and nothing was lost");
    resolve(&client, &one, "accept").await;
    let status = client.completed("t").await;
    assert_eq!(status["output"], json!({ "b": 1 }));
    assert_eq!((&status["recoveries"], recorder.hits_of("x").len()), (&json!(0), 1));
}
