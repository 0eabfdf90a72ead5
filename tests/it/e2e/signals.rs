//! Steps that wait for somebody: signals and approvals.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use rethread::app::SystemClock;
use rethread::model::{Clock, Timestamp};
use serde_json::{Value, json};

use super::support::flows::{flow, gapless, step};
use super::support::{Client, Home, eventually, on_stores};

on_stores!([sqlite, postgres] [
    a_signal_is_kept_for_a_step_that_does_not_wait_yet,
    a_signal_sent_twice_with_one_key_is_delivered_once,
    a_signal_that_nobody_sends_fails_its_step,
    a_signal_races_its_timeout_and_exactly_one_wins,
    a_signal_reaches_a_thread_that_sleeps_and_one_that_was_killed,
    a_person_approves,
    an_approval_expires_with_the_outcome_that_was_chosen_for_it,
    a_signal_to_a_thread_that_has_ended_is_refused,
]);

async fn waiting(client: &Client, thread: &str) {
    client.until(thread, "waits", |status| step(status, "w")["status"] == "waiting").await;
}

fn waits(timeout: Option<&str>) -> Value {
    let mut with = json!({ "name": "go" });
    if let Some(timeout) = timeout {
        with["timeout"] = json!(timeout);
    }
    json!([{ "id": "w", "kind": "signal", "with": with }])
}

async fn a_signal_is_kept_for_a_step_that_does_not_wait_yet(home: Home) {
    let server = home.start().await;
    let client = server.client();
    let steps = json!([
        { "id": "pause", "kind": "sleep", "with": { "for": "400ms" } },
        { "id": "one", "kind": "signal", "dependsOn": ["pause"], "with": { "name": "go" } },
        { "id": "two", "kind": "signal", "dependsOn": ["one"], "with": { "name": "go" } }
    ]);
    client.invoke(&json!({ "workflow": flow(&steps), "threadId": "t" })).await;
    client.post("/threads/t/signals/go", &json!({ "n": 1 })).await.expect(202);
    client.post("/threads/t/signals/other", &json!(null)).await.expect(202);
    client.post("/threads/t/signals/go", &json!({ "n": 2 })).await.expect(202);
    let status = client.completed("t").await;
    assert_eq!(step(&status, "one")["output"], json!({ "n": 1 }));
    assert_eq!(step(&status, "two")["output"], json!({ "n": 2 }));
}

async fn a_signal_sent_twice_with_one_key_is_delivered_once(home: Home) {
    let server = home.start().await;
    let client = server.client();
    let steps = json!([
        { "id": "one", "kind": "signal", "with": { "name": "go" } },
        { "id": "w", "kind": "signal", "dependsOn": ["one"],
          "with": { "name": "go", "timeout": "1s" }, "continueOnError": true }
    ]);
    client.invoke(&json!({ "workflow": flow(&steps), "threadId": "t" })).await;
    let headers = [("idempotency-key", "k"), ("content-type", "application/json")];
    for _ in 0..3 {
        let body = json!({ "n": 1 }).to_string();
        client.send("POST", "/threads/t/signals/go", &headers, body).await.expect(202);
    }
    let status = client.completed("t").await;
    assert_eq!(step(&status, "one")["output"], json!({ "n": 1 }));
    assert_eq!(step(&status, "w")["error"]["code"], "wait_timeout");
    let received = gapless(&client, "t").await;
    let received = received.iter().filter(|event| event["type"] == "signal_received");
    assert_eq!(received.count(), 1);
}

async fn a_signal_that_nobody_sends_fails_its_step(home: Home) {
    let server = home.start().await;
    let client = server.client();
    let workflow = flow(&waits(Some("200ms")));
    client.invoke(&json!({ "workflow": workflow, "threadId": "t" })).await;
    let status = client.ended("t").await;
    assert_eq!(status["status"], "failed");
    assert_eq!(status["error"]["code"], "wait_timeout");
}

/// Threads whose signal and timeout come at the same moment, and how many of them at a time.
const RACES: (usize, usize) = (1_000, 25);

/// A wait that a signal may miss, and one without an end that takes what the first has missed.
fn twice() -> Value {
    let mut steps = waits(Some("300ms"));
    steps[0]["continueOnError"] = json!(true);
    let second = json!({ "id": "late", "kind": "signal", "dependsOn": ["w"],
                         "when": "w.status != 'completed'", "with": { "name": "go" } });
    steps.as_array_mut().unwrap().push(second);
    flow(&steps)
}

/// The moment at which the first wait of a thread ends, as far as this machine's clock can tell.
async fn deadline(client: &Client, thread: &str) -> Duration {
    let begun = |status: &Value| step(status, "w")["startedAt"].is_string();
    let status = client.until(thread, "waits", begun).await;
    // On a busy machine it may be over before anybody has looked.
    let Some(wakes) = step(&status, "w")["wakesAt"].as_str() else { return Duration::ZERO };
    Timestamp::parse(wakes).unwrap().since(SystemClock::start().now())
}

async fn a_signal_races_its_timeout_and_exactly_one_wins(home: Home) {
    let server = home.start().await;
    // Where there may be several replicas, every second signal reaches another one than the invoke.
    let other = if home.store() == "postgres" { Some(home.start().await) } else { None };
    let client = server.client();
    let far = other.as_ref().map_or_else(|| client.clone(), super::support::Server::client);
    let workflow = twice();
    let races = stream::iter(0..RACES.0).map(|number| {
        let sender = if number % 2 == 0 { &client } else { &far };
        race((&client, sender), &workflow, number)
    });
    let outcomes: Vec<bool> = races.buffer_unordered(RACES.1).collect().await;
    let in_time = outcomes.into_iter().filter(|in_time| *in_time).count();
    println!("{in_time} in time, {} too late and taken afterwards", RACES.0 - in_time);
    assert!(in_time > 0 && in_time < RACES.0, "{in_time}: nothing raced");
}

/// Sends a signal at the very moment of the timeout; whether it was in time.
async fn race((client, sender): (&Client, &Client), workflow: &Value, number: usize) -> bool {
    let thread = format!("race-{number}");
    let body = json!({ "workflow": workflow, "threadId": thread });
    insist(client, ("/invoke/async", ""), &body).await;
    // From 50 ms before the timeout to 10 ms after it: the call itself takes some of that.
    let aim = Duration::from_millis(u64::try_from(number % 60).unwrap());
    let left = deadline(client, &thread).await + aim;
    tokio::time::sleep(left.saturating_sub(Duration::from_millis(50))).await;
    let path = format!("/threads/{thread}/signals/go");
    insist(sender, (&path, "k"), &json!({ "n": number })).await;
    outcome(client, &thread, number).await
}

/// Posts until the store has answered: so many threads at a time may be too much for a slow disk.
async fn insist(client: &Client, (path, key): (&str, &str), body: &Value) {
    let mut headers = vec![("content-type", "application/json")];
    if !key.is_empty() {
        headers.push(("idempotency-key", key));
    }
    let answer = eventually("the store answers", async || {
        let answer = client.send("POST", path, &headers, body.to_string()).await;
        (answer.status != 503).then_some(answer)
    })
    .await;
    assert!(matches!(answer.status, 200 | 202), "{}", answer.text());
}

/// Either the wait has the payload, or it timed out and the next one has it; whether in time.
async fn outcome(client: &Client, thread: &str, number: usize) -> bool {
    let status = client.completed(thread).await;
    let (first, second) = (step(&status, "w"), step(&status, "late"));
    let payload = json!({ "n": number });
    let in_time = first["status"] == "completed";
    if in_time {
        assert_eq!(
            (&first["output"], &second["status"]),
            (&payload, &json!("skipped")),
            "{thread}"
        );
    } else {
        assert_eq!(first["error"]["code"], "wait_timeout", "{thread}");
        assert_eq!(second["output"], payload, "{thread}");
    }
    let events = gapless(client, thread).await;
    let count = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
    assert_eq!((count("signal_received"), count("step_complete")), (1, 1), "{thread}");
    assert_eq!(count("step_failed"), usize::from(!in_time), "{thread}");
    in_time
}

async fn a_signal_reaches_a_thread_that_sleeps_and_one_that_was_killed(home: Home) {
    let server = home.start().await;
    let client = server.client();
    let workflow = flow(&waits(None));
    client.invoke(&json!({ "workflow": workflow, "threadId": "t" })).await;
    client.invoke(&json!({ "workflow": workflow, "threadId": "u" })).await;
    waiting(&client, "t").await;
    waiting(&client, "u").await;
    client.post("/threads/t/signals/go", &json!("a")).await.expect(202);
    assert_eq!(client.completed("t").await["output"], json!({ "w": "a" }));
    server.kill9().await;
    let server = home.start().await;
    let client = server.client();
    client.post("/threads/u/signals/go", &json!("b")).await.expect(202);
    let status = client.completed("u").await;
    assert_eq!(status["output"], json!({ "w": "b" }));
    assert_eq!(status["recoveries"], 0, "nobody drove it");
}

async fn a_person_approves(home: Home) {
    let server = home.start().await;
    let client = server.client();
    let steps = json!([
        { "id": "w", "kind": "approval", "with": { "prompt": "Ship {input.what}?" } },
        { "id": "ship", "kind": "transform", "dependsOn": ["w"], "when": "w.output.choice == 'approve'",
          "with": { "from": "{w.output}", "jq": "." } }
    ]);
    let body = json!({ "workflow": flow(&steps), "threadId": "t", "input": { "what": "it" } });
    client.invoke(&body).await;
    waiting(&client, "t").await;
    // A pause and a resume leave the question open.
    client.post("/threads/t/pause", &json!({})).await.expect(200);
    client.post("/threads/t/resume", &json!({})).await.expect(202);
    let open = client.get("/interventions?status=open").await.expect(200).json();
    let one = &open["items"][0];
    assert_eq!((&one["kind"], &one["prompt"]), (&json!("approval"), &json!("Ship it?")));
    assert_eq!(one["choices"], json!(["approve", "reject"]));
    assert_eq!(one["digest"].as_str().unwrap().len(), 64);
    let path = format!("/interventions/{}/resolve", one["id"].as_str().unwrap());
    client.post(&path, &json!({ "choice": "ship" })).await.expect(422);
    client
        .post(&path, &json!({ "choice": "approve", "comment": "go", "by": "ann" }))
        .await
        .expect(200);
    let status = client.completed("t").await;
    let decided = json!({ "choice": "approve", "comment": "go", "by": "ann" });
    assert_eq!(step(&status, "ship")["output"], decided);
    let shown = client.get("/interventions?status=resolved").await.expect(200).json();
    assert_eq!(shown["items"][0]["by"], "ann");
    let again = client.post(&path, &json!({ "choice": "reject" })).await.expect(409);
    assert_eq!(again.json()["code"], "intervention_resolved");
}

async fn an_approval_expires_with_the_outcome_that_was_chosen_for_it(home: Home) {
    let server = home.start().await;
    let client = server.client();
    let approval = |on_timeout: Option<&str>| {
        let mut with = json!({ "prompt": "?", "timeout": "150ms" });
        if let Some(choice) = on_timeout {
            with["onTimeout"] = json!(choice);
        }
        flow(&json!([{ "id": "w", "kind": "approval", "with": with }]))
    };
    client.invoke(&json!({ "workflow": approval(Some("reject")), "threadId": "t" })).await;
    client.invoke(&json!({ "workflow": approval(None), "threadId": "u" })).await;
    let status = client.completed("t").await;
    assert_eq!(step(&status, "w")["output"]["choice"], "reject");
    assert_eq!(step(&status, "w")["output"]["by"], "rethread");
    assert_eq!(client.ended("u").await["error"]["code"], "wait_timeout");
    let open = client.get("/interventions?status=open").await.expect(200).json();
    assert_eq!(open["items"], json!([]));
}

async fn a_signal_to_a_thread_that_has_ended_is_refused(home: Home) {
    let server = home.start().await;
    let client = server.client();
    let steps = json!([{ "id": "a", "kind": "transform", "with": { "jq": "1" } }]);
    client.invoke(&json!({ "workflow": flow(&steps), "threadId": "t" })).await;
    client.completed("t").await;
    let before = client.events("t").await;
    let refused = client.post("/threads/t/signals/go", &json!(1)).await.expect(409);
    assert_eq!(refused.json()["code"], "wrong_state");
    client.post("/threads/t/signals/no%20name", &json!(1)).await.expect(400);
    client.post("/threads/nosuch/signals/go", &json!(1)).await.expect(404);
    assert_eq!(client.events("t").await, before);
}
