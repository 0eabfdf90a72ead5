//! What a killed server leaves behind, and what goes on from it.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::promise::kept_its_promise;
use super::support::flows::{chain, gapless};
use super::support::{Dice, Home, Recorder, eventually, on_stores};

on_stores!([sqlite, postgres] [
    a_lost_attempt_is_made_again_and_completed_steps_are_not,
    a_stream_goes_on_behind_a_crash,
    what_was_accepted_before_a_crash_completes,
    threads_under_load_survive_one_crash_after_another,
    timers_survive_a_crash,
    a_parked_thread_is_nobodys_and_wakes_in_time,
    a_parked_thread_hears_what_is_asked_of_it,
]);

async fn a_lost_attempt_is_made_again_and_completed_steps_are_not(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let workflow = chain(&recorder, &["ok/one", "wait/two", "ok/three"]);
    client
        .post("/invoke/async", &json!({ "workflow": workflow, "threadId": "t1" }))
        .await
        .expect(202);
    recorder.reached("two", 1).await;
    let before = client.events("t1").await;
    server.kill9().await;

    let server = home.start().await;
    let client = server.client();
    assert_eq!(client.events("t1").await[..before.len()], before[..]);
    recorder.reached("two", 2).await;
    recorder.release("two");
    let status = client.completed("t1").await;
    assert_eq!(status["recoveries"], json!(1));
    let after = client.events("t1").await;
    assert_eq!(after[..before.len()], before[..]);
    let recovered: Value = serde_json::from_str(&after[before.len()]).unwrap();
    assert_eq!(recovered["type"], "workflow_recovered");
    // On Postgres a short lease may run out before the lost session is noticed.
    let causes =
        if home.store() == "sqlite" { &["crashed"][..] } else { &["crashed", "disconnected"] };
    assert!(causes.contains(&recovered["data"]["cause"].as_str().unwrap()), "{recovered:#}");
    assert_eq!(recovered["data"]["fromSeq"], json!(before.len()));
    assert_eq!(recovered["data"]["steps"], json!(["s1"]));
    let counts = ["one", "two", "three"].map(|name| recorder.hits_of(name).len());
    assert_eq!(counts, [1, 2, 1]);
    let attempts: Vec<_> = recorder.hits_of("two").iter().map(|hit| hit.attempt).collect();
    assert_eq!(attempts, [1, 2]);
    kept_its_promise(&client, &recorder, "t1").await;

    // The same bytes once more, from a third process.
    drop(server);
    let server = home.start().await;
    assert_eq!(server.client().events("t1").await, after);
}

async fn a_stream_goes_on_behind_a_crash(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let workflow = chain(&recorder, &["ok/one", "wait/two"]);
    client
        .post("/invoke/async", &json!({ "workflow": workflow, "threadId": "t1" }))
        .await
        .expect(202);
    let mut stream = client.stream("/stream/t1", &[]).await;
    recorder.reached("two", 1).await;
    let mut frames = vec![stream.next().await.unwrap()];
    server.kill9().await;
    frames.extend(stream.rest().await);

    recorder.release("two");
    let server = home.start().await;
    let client = server.client();
    let seen = frames.last().unwrap().id.clone().unwrap();
    let stream = client.stream("/stream/t1", &[("last-event-id", &seen)]).await;
    frames.extend(stream.rest().await);
    let data: Vec<_> = frames.into_iter().map(|frame| frame.data).collect();
    assert_eq!(data, client.events("t1").await);
}

async fn what_was_accepted_before_a_crash_completes(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let body = |number: usize| {
        let workflow = chain(&recorder, &["delay/20/x", "ok/x"]);
        json!({ "workflow": workflow, "threadId": format!("t{number}"), "input": number })
    };
    let mut calls = JoinSet::new();
    for number in 0..40 {
        let (client, text) = (server.client(), body(number).to_string());
        let recorder = recorder.clone();
        calls.spawn(async move {
            // In four waves, so that the crash finds threads in every state.
            recorder.reached("x", number / 10 * 4).await;
            let headers = [("content-type", "application/json")];
            let answer = client.attempt("POST", "/invoke/async", &headers, text).await;
            (number, answer.map(|answer| answer.status))
        });
    }
    recorder.reached("x", 12).await;
    server.kill9().await;
    let answers: Vec<_> = calls.join_all().await;

    let server = home.start().await;
    let client = server.client();
    let mut accepted = 0;
    for (number, answer) in answers {
        if let Ok(status) = answer {
            assert_eq!(status, 202);
            accepted += 1;
        } else {
            // Nobody knows whether it was accepted: it is asked again, and is one thread.
            let again = client.post("/invoke/async", &body(number)).await;
            assert!(matches!(again.status, 200 | 202), "{}", again.text());
        }
    }
    assert!(accepted > 0);
    for number in 0..40 {
        kept_its_promise(&client, &recorder, &format!("t{number}")).await;
    }
}

async fn threads_under_load_survive_one_crash_after_another(home: Home) {
    let recorder = Recorder::start().await;
    let mut dice = Dice(2026);
    let mut server = home.start().await;
    for number in 0..50 {
        let workflow = chain(&recorder, &["ok/x", "delay/10/x", "fail/1/x", "ok/x", "delay/5/x"]);
        let body = json!({ "workflow": workflow, "threadId": format!("t{number}") });
        server.client().post("/invoke/async", &body).await.expect(202);
    }
    let mut reached = 0;
    for _ in 0..3 {
        reached = (reached + 20 + dice.below(60)).max(recorder.hits().len() + 1);
        // The work may be over before the last crash.
        let done = async || {
            let list = server.client().get("/threads?status=completed&limit=200").await.json();
            list["items"].as_array().unwrap().len() == 50
        };
        eventually("more requests", async || {
            (recorder.hits().len() >= reached || done().await).then_some(())
        })
        .await;
        server.kill9().await;
        server = home.start().await;
    }
    let client = server.client();
    for number in 0..50 {
        kept_its_promise(&client, &recorder, &format!("t{number}")).await;
    }
}

async fn timers_survive_a_crash(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let workflow = json!({ "name": "w", "steps": [
        { "id": "short", "kind": "sleep", "with": { "for": "2s" } },
        { "id": "retried", "kind": "http", "with": { "url": recorder.url("fail/1/r") },
          "retry": { "initialInterval": "2s", "jitter": false } },
    ]});
    let client = server.client();
    client
        .post("/invoke/async", &json!({ "workflow": workflow, "threadId": "t1" }))
        .await
        .expect(202);
    let waiting =
        client.until("t1", "waits", |status| status["steps"][1]["status"] == "retrying").await;
    let due = waiting["steps"][1]["wakesAt"].clone();
    server.kill9().await;
    let server = home.start().await;
    let client = server.client();
    // The moment was drawn once and is kept.
    assert_eq!(client.status("t1").await["steps"][1]["wakesAt"], due);
    client.completed("t1").await;
    let events = gapless(&client, "t1").await;
    let retries = events.iter().filter(|event| event["type"] == "step_retry").count();
    let waits = events.iter().filter(|event| event["type"] == "step_waiting").count();
    assert_eq!((retries, waits, recorder.hits_of("r").len()), (1, 1, 2));
}

async fn a_parked_thread_is_nobodys_and_wakes_in_time(home: Home) {
    let server = home.start().await;
    let client = server.client();
    let steps = json!([
        { "id": "long", "kind": "sleep", "with": { "for": "11s" } },
        { "id": "end", "kind": "transform", "dependsOn": ["long"],
          "with": { "jq": ".sleptMs", "from": "{long.output}" } },
    ]);
    let body = json!({ "workflow": { "name": "w", "steps": steps }, "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    client.until("t1", "is parked", |status| status["owner"].is_null()).await;
    server.kill9().await;
    let server = home.start().await;
    let status = server.client().completed("t1").await;
    let slept = status["output"]["end"].as_u64().unwrap();
    assert!((11_000..14_000).contains(&slept), "{slept}");
    // Nobody was lost on the way: it had no owner.
    assert_eq!(status["recoveries"], json!(0));
}

async fn a_parked_thread_hears_what_is_asked_of_it(home: Home) {
    let server = home.start().await;
    let client = server.client();
    let steps = json!([{ "id": "s", "kind": "sleep", "with": { "for": "1h" } }]);
    let body = json!({ "workflow": { "name": "w", "steps": steps }, "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    let is_parked = |status: &Value| status["owner"].is_null() && status["status"] == "running";
    client.until("t1", "is parked", is_parked).await;
    client.delete("/threads/t1").await.expect(409);
    client.post("/threads/t1/abort", &json!({})).await.expect(200);
    assert_eq!(client.status("t1").await["status"], "aborted");
    client.post("/threads/t1/resume", &json!({})).await.expect(202);
    let parked = client.until("t1", "is parked again", is_parked).await;
    assert_eq!(parked["steps"][0]["status"], "waiting");
}

#[tokio::test]
async fn no_more_threads_are_taken_over_than_there_is_room_for() {
    let (home, recorder) = (Home::sqlite().await, Recorder::start().await);
    let server = home.start().await;
    for number in 0..60 {
        let workflow = chain(&recorder, &["wait/all"]);
        let body = json!({ "workflow": workflow, "threadId": format!("t{number}") });
        server.client().post("/invoke/async", &body).await.expect(202);
    }
    recorder.reached("all", 60).await;
    server.kill9().await;
    let server = home.launch().set("RETHREAD_MAX_RUNNING", "2").start().await;
    let client = server.client();
    recorder.reached("all", 62).await;
    let monitor = client.get("/monitor").await.json();
    assert_eq!((&monitor["driving"], &monitor["capacity"]), (&json!(2), &json!(2)));
    assert_eq!(recorder.hits_of("all").len(), 62);
    recorder.release("all");
    for number in 0..60 {
        client.completed(&format!("t{number}")).await;
    }
}
