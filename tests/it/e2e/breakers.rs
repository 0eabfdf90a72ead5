//! Circuit breakers: a target that is away is left alone, by every thread, until it is back.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::flows::{bench, gapless, step};
use super::support::{Client, Recorder, eventually};

/// A workflow of one call, with a breaker like this.
fn call(url: &str, attempts: u32, breaker: &Value) -> Value {
    json!({ "name": "w", "steps": [{ "id": "s", "kind": "http", "with": { "url": url },
        "retry": { "maxAttempts": attempts, "initialInterval": "20ms" }, "breaker": breaker }] })
}

async fn fail(client: &Client, recorder: &Recorder, times: usize, breaker: &Value) {
    for _ in 0..times {
        let workflow = call(&recorder.url("status/503/x"), 1, breaker);
        let status = client.run(&json!({ "workflow": workflow })).await;
        assert_eq!(status["error"]["code"], "http_status");
    }
}

async fn circuit(client: &Client) -> Value {
    let health = client.get("/health").await.expect(200).json();
    let circuits = health["circuits"].as_array().unwrap();
    assert_eq!(circuits.len(), 1, "{health:#}");
    circuits[0].clone()
}

#[tokio::test]
async fn an_open_circuit_lets_nothing_through_and_one_probe_after_its_time() {
    let (_server, client, recorder) = bench().await;
    let breaker = json!({ "resetTimeout": "2s" });
    fail(&client, &recorder, 4, &breaker).await;
    let closed = circuit(&client).await;
    assert_eq!((&closed["state"], &closed["failures"]), (&json!("closed"), &json!(4)));
    assert_eq!(closed["openedAt"], json!(null));
    fail(&client, &recorder, 1, &breaker).await;

    // Other threads are refused at once, and nothing reaches the target.
    for number in 0..5 {
        let workflow = call(&recorder.url("wait/p"), 100, &breaker);
        let body = json!({ "workflow": workflow, "threadId": format!("t{number}") });
        client.post("/invoke/async", &body).await.expect(202);
    }
    for number in 0..5 {
        let thread = format!("t{number}");
        let refused = |status: &Value| step(status, "s")["error"]["code"] == "circuit_open";
        let status = client.until(&thread, "is refused", refused).await;
        assert_eq!(step(&status, "s")["error"]["recoverable"], json!(true));
        assert_eq!(step(&status, "s")["error"]["category"], "external");
    }
    let health = client.get("/health").await.expect(200).json();
    assert_eq!(health["status"], "warning", "{health:#}");
    assert_eq!(health["checks"]["circuits"]["status"], "warning");
    let open = circuit(&client).await;
    assert_eq!(open["key"], recorder.url("").trim_start_matches("http://").trim_end_matches('/'));
    assert!(open["openedAt"].is_string() && open["retryAt"].is_string(), "{open:#}");
    let metrics = client.get("/metrics").await.text().to_owned();
    for line in ["rethread_circuits_open 1", "rethread_circuit_turns_total{to=\"open\"} 1"] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }

    // The retry waits for the half-open moment, and then one of them finds out.
    recorder.reached("p", 1).await;
    let since = recorder.hits_of("p")[0].at - recorder.hits_of("x")[4].at;
    assert!(since >= Duration::from_secs(2), "{since:?}");
    assert_eq!(circuit(&client).await["state"], "half_open");
    assert_eq!(recorder.hits_of("p").len(), 1);
    recorder.release("p");
    for number in 0..5 {
        client.completed(&format!("t{number}")).await;
    }
    assert_eq!(recorder.hits_of("p").len(), 5);
    let closed = circuit(&client).await;
    assert_eq!((&closed["state"], &closed["failures"]), (&json!("closed"), &json!(0)));
    assert_eq!(client.get("/health").await.json()["status"], "healthy");
    let events = gapless(&client, "t0").await;
    let retry = events.iter().find(|event| event["type"] == "step_retry").unwrap();
    assert_eq!(retry["data"]["error"]["code"], "circuit_open");
    assert!(retry["data"]["delayMs"].as_u64().unwrap() > 500, "{retry:#}");
}

#[tokio::test]
async fn a_probe_that_fails_opens_the_circuit_again() {
    let (_server, client, recorder) = bench().await;
    let breaker = json!({ "failureThreshold": 2, "resetTimeout": "500ms" });
    fail(&client, &recorder, 2, &breaker).await;
    let workflow = call(&recorder.url("down/d"), 100, &breaker);
    let thread = client.invoke(&json!({ "workflow": workflow })).await;
    recorder.reached("d", 3).await;
    let hits = recorder.hits_of("d");
    for pair in hits.windows(2) {
        let between = pair[1].at - pair[0].at;
        assert!(between >= Duration::from_millis(500), "{between:?}");
    }
    recorder.release("d");
    client.completed(&thread).await;
}

#[tokio::test]
async fn a_probe_that_is_aborted_gives_its_place_to_another() {
    let (_server, client, recorder) = bench().await;
    let breaker = json!({ "failureThreshold": 1, "resetTimeout": "300ms" });
    fail(&client, &recorder, 1, &breaker).await;
    let body = json!({ "workflow": call(&recorder.url("wait/p"), 100, &breaker), "threadId": "p" });
    client.post("/invoke/async", &body).await.expect(202);
    recorder.reached("p", 1).await;
    client.post("/threads/p/abort", &json!({})).await.expect(200);
    client.run(&json!({ "workflow": call(&recorder.url("ok/q"), 100, &breaker) })).await;
    assert_eq!(recorder.hits_of("q").len(), 1);
    assert_eq!(circuit(&client).await["state"], "closed");
}

#[tokio::test]
async fn a_key_is_shared_by_whoever_names_it_and_what_is_no_failure_of_the_target_does_not_count() {
    let (_server, client, recorder) = bench().await;
    let other = Recorder::start().await;
    let breaker = json!({ "key": "payments", "failureThreshold": 2, "resetTimeout": "1h" });
    for _ in 0..3 {
        let gone = call(&recorder.url("status/404/gone"), 1, &breaker);
        client.run(&json!({ "workflow": gone })).await;
    }
    assert_eq!(circuit(&client).await["failures"], json!(0));
    fail(&client, &recorder, 2, &breaker).await;
    // Another target under the same key: the circuit is one.
    let status = client.run(&json!({ "workflow": call(&other.url("ok/o"), 1, &breaker) })).await;
    assert_eq!(status["error"]["code"], "circuit_open");
    assert_eq!(other.hits().len(), 0);
    // The same target under its own key is another.
    let own = call(&recorder.url("ok/own"), 1, &json!({}));
    assert_eq!(client.run(&json!({ "workflow": own })).await["status"], "completed");
    let health = client.get("/health").await.json();
    assert_eq!(health["circuits"][0]["key"], "payments");
    assert_eq!(health["circuits"][1]["state"], "closed");
}

#[tokio::test]
async fn a_key_that_reads_like_a_host_and_a_threshold_of_its_own_stop_no_other_workflow() {
    let (_server, client, recorder) = bench().await;
    let host = recorder.url("").trim_start_matches("http://").trim_end_matches('/').to_owned();
    let once = json!({ "failureThreshold": 1, "resetTimeout": "24h" });
    let keyed = json!({ "key": host, "failureThreshold": 1, "resetTimeout": "24h" });
    for breaker in [&once, &keyed] {
        fail(&client, &recorder, 1, breaker).await;
        let refused = call(&recorder.url("ok/refused"), 1, breaker);
        let status = client.run(&json!({ "workflow": refused })).await;
        assert_eq!(status["error"]["code"], "circuit_open", "{breaker}");
    }
    let innocent = call(&recorder.url("ok/innocent"), 1, &json!({}));
    assert_eq!(client.run(&json!({ "workflow": innocent })).await["status"], "completed");
    let health = client.get("/health").await.json();
    let circuits = health["circuits"].as_array().unwrap();
    let told: Vec<_> = circuits.iter().map(|it| (&it["key"], &it["scope"], &it["state"])).collect();
    let (key, target) = (json!("key"), json!("target"));
    let expected = [(&target, "open"), (&key, "open"), (&target, "closed")];
    for ((shown, scope, state), (kind, is)) in told.iter().zip(expected) {
        assert_eq!((*shown, *scope, *state), (&json!(host), kind, &json!(is)), "{health:#}");
    }
    assert_eq!(told.len(), 3, "{health:#}");
}

#[tokio::test]
async fn who_asks_to_be_left_alone_is_by_every_thread() {
    let (_server, client, recorder) = bench().await;
    let first = call(&recorder.url("busy/4/x"), 3, &json!({}));
    client.post("/invoke/async", &json!({ "workflow": first, "threadId": "a" })).await.expect(202);
    client.until("a", "waits", |status| step(status, "s")["status"] == "retrying").await;
    let other = call(&recorder.url("ok/y"), 3, &json!({}));
    client.post("/invoke/async", &json!({ "workflow": other, "threadId": "b" })).await.expect(202);
    let refused = |status: &Value| step(status, "s")["error"]["code"] == "circuit_open";
    client.until("b", "is refused", refused).await;
    let health = client.get("/health").await.json();
    assert!(health["circuits"][0]["coolsUntil"].is_string(), "{health:#}");
    assert_eq!(health["circuits"][0]["state"], "closed");
    client.completed("a").await;
    client.completed("b").await;
    let left_alone = recorder.hits_of("y")[0].at - recorder.hits_of("x")[0].at;
    assert!(left_alone >= Duration::from_secs(4), "{left_alone:?}");
}

#[tokio::test]
async fn a_short_wait_costs_no_attempt() {
    let (_server, client, recorder) = bench().await;
    let first = call(&recorder.url("later/x"), 3, &json!({}));
    client.post("/invoke/async", &json!({ "workflow": first, "threadId": "a" })).await.expect(202);
    client.until("a", "waits", |status| step(status, "s")["status"] == "retrying").await;
    let status =
        client.run(&json!({ "workflow": call(&recorder.url("ok/y"), 1, &json!({})) })).await;
    assert_eq!(status["status"], "completed");
    let left_alone = recorder.hits_of("y")[0].at - recorder.hits_of("x")[0].at;
    assert!(left_alone >= Duration::from_secs(1), "{left_alone:?}");
}

#[tokio::test]
async fn programs_have_circuits_too() {
    let home = super::support::Home::memory().await;
    let server = home.launch().set("RETHREAD_EXEC_ALLOW", "false").start().await;
    let client = server.client();
    let workflow = json!({ "name": "w", "steps": [{ "id": "s", "kind": "exec",
        "with": { "program": "false" }, "retry": { "maxAttempts": 1 } }] });
    for _ in 0..5 {
        let status = client.run(&json!({ "workflow": workflow })).await;
        assert_eq!(status["error"]["code"], "exit_nonzero");
    }
    let status = client.run(&json!({ "workflow": workflow })).await;
    assert_eq!(status["error"]["code"], "circuit_open");
    let open = eventually("the circuit is shown", async || {
        Some(circuit(&client).await).filter(|circuit| circuit["state"] == "open")
    })
    .await;
    assert_eq!((&open["key"], &open["failures"]), (&json!("exec:false"), &json!(5)));
}
