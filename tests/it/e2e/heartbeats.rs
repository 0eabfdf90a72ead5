//! Attempts that fall silent, and attempts that only take their time.

use serde_json::{Value, json};

use super::support::flows::{bench, flow, gapless, hanging, step};
use super::support::{Client, Home, Recorder, dead, eventually};

/// The codes of the failures after which a step was tried again.
async fn retried(client: &Client, thread: &str) -> Vec<String> {
    let events = gapless(client, thread).await;
    let retries = events.iter().filter(|event| event["type"] == "step_retry");
    retries.map(|event| event["data"]["error"]["code"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_program_that_falls_silent_is_killed_with_its_children_and_tried_again() {
    let home = Home::memory().await;
    let server = home.launch().set("RETHREAD_EXEC_ALLOW", "sh").start().await;
    let client = server.client();
    // The first attempt says something and waits for a child that never ends.
    let script = "echo alive; if [ $X_RETHREAD_ATTEMPT = 2 ]; then exit 0; fi
                  sleep 1000 & echo $$ $! > pids; wait";
    let steps = json!([{ "id": "s", "kind": "exec", "heartbeatTimeout": "1s", "timeout": "1h",
        "with": { "program": "sh", "args": ["-c", script], "cwd": home.folder.path() } }]);
    let body = json!({ "workflow": flow(&steps), "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    let status = client.completed("t1").await;
    assert_eq!(step(&status, "s")["attempts"], json!(2));
    assert_eq!(step(&status, "s")["output"]["stdout"], "alive\n");
    assert_eq!(retried(&client, "t1").await, ["heartbeat_timeout"]);
    let pids = std::fs::read_to_string(home.folder.path().join("pids")).unwrap();
    assert_eq!(pids.split_whitespace().count(), 2, "{pids:?}");
    for pid in pids.split_whitespace() {
        dead(pid).await;
    }
}

#[tokio::test]
async fn a_program_that_keeps_writing_may_take_longer_than_its_heartbeat_timeout() {
    let home = Home::memory().await;
    let server = home.launch().set("RETHREAD_EXEC_ALLOW", "sh").start().await;
    let script = "for n in 1 2 3 4 5 6 7 8 9 10 11 12; do echo $n >&2; sleep 0.2; done";
    let steps = json!([{ "id": "s", "kind": "exec", "heartbeatTimeout": "2s", "warnAfter": "50ms",
        "with": { "program": "sh", "args": ["-c", script] } }]);
    let body = json!({ "workflow": flow(&steps), "threadId": "t1" });
    let client = server.client();
    client.post("/invoke/async", &body).await.expect(202);
    let status = client.completed("t1").await;
    assert_eq!(step(&status, "s")["attempts"], json!(1));
    assert!(step(&status, "s")["durationMs"].as_u64().unwrap() > 2_000);
    let events = gapless(&client, "t1").await;
    let warnings = events.iter().filter(|event| event["type"] == "step_timeout_warning");
    assert_eq!(warnings.count(), 1);
}

#[tokio::test]
async fn an_answer_that_trickles_completes_and_one_that_stalls_is_tried_again() {
    let (_server, client, recorder) = bench().await;
    let get = |id: &str, path: &str, limit: &str| {
        json!({ "id": id, "kind": "http", "heartbeatTimeout": limit,
                "with": { "url": recorder.url(path) } })
    };
    let steps = json!([
        get("trickles", "trickle/25/trickles", "2s"),
        get("stalls", "stall/stalls", "500ms"),
        get("never", "wait/never", "100ms"),
    ]);
    let mut workflow = flow(&steps);
    workflow["steps"][2]["continueOnError"] = json!(true);
    client.post("/invoke/async", &json!({ "workflow": workflow, "threadId": "t1" })).await;
    let status = client.completed("t1").await;
    let trickles = step(&status, "trickles");
    assert_eq!(trickles["attempts"], json!(1));
    assert_eq!(trickles["output"]["body"], ".".repeat(25));
    assert!(trickles["durationMs"].as_u64().unwrap() > 2_000);
    assert_eq!(step(&status, "stalls")["attempts"], json!(2));
    assert_eq!(step(&status, "stalls")["output"]["body"]["hit"], json!(2));
    let never = step(&status, "never");
    assert_eq!(never["attempts"], json!(3));
    assert_eq!(never["error"]["code"], "heartbeat_timeout");
    assert_eq!(never["error"]["category"], "timeout");
    assert_eq!(recorder.hits_of("never").len(), 3);
    assert_eq!(retried(&client, "t1").await, ["heartbeat_timeout"; 3]);
}

#[tokio::test]
async fn a_silent_attempt_of_a_live_replica_is_told_wherever_one_asks() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let launch =
        || home.launch().set("RETHREAD_STALE_AFTER", "1s").set("RETHREAD_MAX_RUNNING", "1");
    let (first, second) = (launch().start().await, launch().start().await);
    for (server, name) in [(&first, "long"), (&second, "other")] {
        let body = json!({ "workflow": hanging(&recorder, name), "threadId": name });
        server.client().post("/invoke/async", &body).await.expect(202);
        recorder.reached(name, 1).await;
    }
    let watched = async |client: &Client| -> Value {
        let monitor = client.get("/monitor").await.expect(200).json();
        let active = monitor["active"].as_array().unwrap();
        active.iter().find(|thread| thread["threadId"] == "long").unwrap().clone()
    };
    for client in [first.client(), second.client()] {
        eventually("the attempt is found to be silent", async || {
            let stuck = watched(&client).await["stuck"].clone();
            stuck.as_str().filter(|why| why.contains("without a sign of life")).map(drop)
        })
        .await;
    }
    let attempts = |name: &str| recorder.hits_of(name).len();
    assert_eq!((attempts("long"), attempts("other")), (1, 1));
    // The other has no room for it: once its replica is gone, it is stuck.
    first.kill9().await;
    let client = second.client();
    eventually("a thread of a lost replica is stuck", async || {
        watched(&client).await["stuck"].as_str().filter(|why| why.contains("no event")).map(drop)
    })
    .await;
    assert_eq!(client.status("long").await["owner"], Value::Null);
    recorder.release("other");
    recorder.release("long");
    client.completed("long").await;
}

#[tokio::test]
async fn an_attempt_without_a_timeout_has_the_bounds_of_the_server() {
    let home = Home::memory().await;
    let server = home
        .launch()
        .set("RETHREAD_EXEC_ALLOW", "sleep")
        .set("RETHREAD_STEP_TIMEOUT", "600ms")
        .set("RETHREAD_STEP_WARN_AFTER", "200ms")
        .start()
        .await;
    let once = json!({ "maxAttempts": 1 });
    let steps = json!([
        { "id": "bare", "kind": "exec", "retry": once, "continueOnError": true,
          "with": { "program": "sleep", "args": ["1000"] } },
        { "id": "own", "kind": "exec", "retry": once, "timeout": "30s",
          "with": { "program": "sleep", "args": ["1"] } },
        // No attempt is under way in one that waits.
        { "id": "waits", "kind": "sleep", "with": { "for": "1s" } },
    ]);
    let client = server.client();
    client.post("/invoke/async", &json!({ "workflow": flow(&steps), "threadId": "t1" })).await;
    let status = client.completed("t1").await;
    assert_eq!(step(&status, "bare")["error"]["code"], "step_timeout");
    let message = "the attempt took longer than 600 ms";
    assert_eq!(step(&status, "bare")["error"]["message"], message);
    assert_eq!(step(&status, "own")["status"], "completed");
    let events = gapless(&client, "t1").await;
    let warned: Vec<_> =
        events.iter().filter(|event| event["type"] == "step_timeout_warning").collect();
    let of = |id: &str| warned.iter().find(|event| event["stepId"] == id).unwrap();
    assert_eq!(of("bare")["data"]["timeoutMs"], json!(600));
    assert_eq!(of("own")["data"]["timeoutMs"], json!(30_000));
    assert_eq!(warned.len(), 2);
}

#[tokio::test]
async fn a_silent_attempt_is_stuck_until_a_person_has_the_next_one_made() {
    let home = Home::memory().await;
    let server = home
        .launch()
        .set("RETHREAD_EXEC_ALLOW", "sh")
        .set("RETHREAD_STALE_AFTER", "1s")
        .start()
        .await;
    let script = "[ $X_RETHREAD_ATTEMPT = 2 ] || sleep 1000";
    let steps = json!([{ "id": "s", "kind": "exec",
        "with": { "program": "sh", "args": ["-c", script] } }]);
    let client = server.client();
    client.post("/invoke/async", &json!({ "workflow": flow(&steps), "threadId": "t1" })).await;
    eventually("the attempt is found to be silent", async || {
        let events = client.get("/threads/t1/events").await.json()["items"].clone();
        let mut events = events.as_array().unwrap().iter();
        events.any(|event| event["type"] == "step_stale").then_some(())
    })
    .await;
    let monitor = client.get("/monitor").await.json();
    let stuck = monitor["active"][0]["stuck"].as_str().unwrap();
    assert_eq!(stuck, "attempts without a sign of life: s");
    let health = client.get("/health").await.json();
    assert_eq!(health["checks"]["attempts"]["status"], "warning", "{health}");
    let explained = client.get("/threads/t1/explain").await.json();
    let call = &explained["causes"][0]["call"];
    assert_eq!(call["path"], "/threads/t1/steps/s/retry", "{explained}");
    client.post("/threads/t1/steps/s/retry", &json!({})).await.expect(202);
    let status = client.completed("t1").await;
    assert_eq!(step(&status, "s")["attempts"], json!(2));
    assert_eq!(retried(&client, "t1").await, ["cancelled"]);
    let events = gapless(&client, "t1").await;
    let stale = events.iter().filter(|event| event["type"] == "step_stale");
    assert_eq!(stale.count(), 1);
    let health = client.get("/health").await.json();
    assert_eq!(health["checks"]["attempts"]["status"], "healthy", "{health}");
}

#[tokio::test]
async fn a_silent_attempt_is_made_again_where_the_server_is_set_so() {
    let home = Home::memory().await;
    let server = home
        .launch()
        .set("RETHREAD_EXEC_ALLOW", "sh")
        .set("RETHREAD_STALE_AFTER", "1s")
        .set("RETHREAD_STALE_ACTION", "retry")
        .start()
        .await;
    let script = "[ $X_RETHREAD_ATTEMPT = 2 ] || sleep 1000";
    let steps = json!([{ "id": "s", "kind": "exec",
        "with": { "program": "sh", "args": ["-c", script] } }]);
    let client = server.client();
    client.post("/invoke/async", &json!({ "workflow": flow(&steps), "threadId": "t1" })).await;
    let status = client.completed("t1").await;
    assert_eq!(step(&status, "s")["attempts"], json!(2));
    assert_eq!(retried(&client, "t1").await, ["heartbeat_timeout"]);
}
