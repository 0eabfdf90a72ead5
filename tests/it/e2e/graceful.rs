//! Orderly ends: what was asked for in time is done, the rest is handed over.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::support::flows::{chain, gapless};
use super::support::{Home, Recorder, beside, dead, eventually, on_stores};

on_stores!([sqlite, postgres] [
    a_step_that_ends_in_the_grace_is_kept,
    a_step_that_does_not_is_handed_over,
    what_could_not_start_any_more_waits_for_no_timer,
]);

/// Long enough for the requests of a test to be answered meanwhile.
const DELAY: Duration = Duration::from_secs(4);

#[tokio::test]
async fn a_server_that_is_told_to_end_is_not_ready_and_serves_on_for_the_delay() {
    let home = Home::memory().await;
    let server = home.launch().set("RETHREAD_SHUTDOWN_DELAY", "4s").start().await;
    let client = server.client();
    let recorder = Recorder::start().await;
    assert_eq!(client.get("/health/ready").await.expect(200).headers.get("connection"), None);
    let told = tokio::time::Instant::now();
    server.signal(Signal::SIGTERM);
    eventually("it is not ready", async || {
        (client.get("/health/ready").await.status == 503).then_some(())
    })
    .await;
    let body = json!({ "workflow": chain(&recorder, &["ok/one"]), "threadId": "t1" });
    let answer = client.post("/invoke", &body).await.expect(200);
    assert_eq!(answer.header("connection"), "close");
    client.get("/health/live").await.expect(200);
    assert!(told.elapsed() < DELAY, "{:?}", told.elapsed());
    let (status, _) = server.wait().await;
    assert!(status.success() && told.elapsed() >= DELAY, "{status} {:?}", told.elapsed());
}

#[tokio::test]
async fn a_server_that_is_interrupted_ends_without_the_delay() {
    let home = Home::memory().await;
    let server = home.launch().set("RETHREAD_SHUTDOWN_DELAY", "60s").start().await;
    server.signal(Signal::SIGINT);
    assert!(server.wait().await.0.success());
    // A second signal does not wait for the delay either.
    let server = home.launch().set("RETHREAD_SHUTDOWN_DELAY", "60s").start().await;
    server.signal(Signal::SIGTERM);
    eventually("it is not ready", async || {
        (server.client().get("/health/ready").await.status == 503).then_some(())
    })
    .await;
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().await.0.code(), Some(1));
}

async fn a_step_that_ends_in_the_grace_is_kept(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let workflow = chain(&recorder, &["wait/one", "ok/two"]);
    client
        .post("/invoke/async", &json!({ "workflow": workflow, "threadId": "t1" }))
        .await
        .expect(202);
    recorder.reached("one", 1).await;
    let stream = client.stream("/stream/t1", &[]).await;
    let ending = beside(server.sigterm_and_wait());
    // The stream ends first: the server is shutting down while the step runs.
    let seen = stream.rest().await;
    assert_eq!(seen.last().unwrap().event, "step_start");
    recorder.release("one");
    assert!(ending.await.unwrap().success());

    let server = home.start().await;
    let client = server.client();
    let status = client.completed("t1").await;
    assert_eq!(status["recoveries"], json!(0));
    assert_eq!((recorder.count("t1/s0"), recorder.count("t1/s1")), (1, 1));
    let events = gapless(&client, "t1").await;
    assert!(events.iter().all(|event| event["type"] != "workflow_recovered"));
}

async fn a_step_that_does_not_is_handed_over(home: Home) {
    let recorder = Recorder::start().await;
    let launch = home.launch().set("RETHREAD_SHUTDOWN_GRACE", "300ms").set("RETHREAD_LEASE", "60s");
    let server = launch.start().await;
    let client = server.client();
    let workflow = chain(&recorder, &["ok/one", "wait/two"]);
    client
        .post("/invoke/async", &json!({ "workflow": workflow, "threadId": "t1" }))
        .await
        .expect(202);
    recorder.reached("two", 1).await;
    let stream = client.stream("/stream/t1", &[]).await;
    let asked = tokio::time::Instant::now();
    assert!(server.sigterm_and_wait().await.success());
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    stream.rest().await;

    // The lease of a minute is not waited for: it was given back.
    let server = home.launch().set("RETHREAD_LEASE", "60s").start().await;
    let client = server.client();
    recorder.reached("two", 2).await;
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    recorder.release("two");
    let status = client.completed("t1").await;
    assert_eq!(status["recoveries"], json!(0));
    let attempts: Vec<_> = recorder.hits_of("two").iter().map(|hit| hit.attempt).collect();
    assert_eq!((recorder.count("t1/s0"), attempts), (1, vec![1, 2]));
    let causes: Vec<Value> = gapless(&client, "t1")
        .await
        .into_iter()
        .filter(|event| event["type"] == "workflow_recovered")
        .map(|event| event["data"]["cause"].clone())
        .collect();
    assert!(causes.iter().all(|cause| cause == "handover"), "{causes:?}");
}

async fn what_could_not_start_any_more_waits_for_no_timer(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let mut workflow = chain(&recorder, &["wait/one", "ok/two"]);
    let nap = json!({ "id": "nap", "kind": "sleep", "with": { "for": "1h" } });
    workflow["steps"].as_array_mut().unwrap().push(nap);
    workflow["timeout"] = json!("2h");
    let body = json!({ "workflow": workflow, "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    recorder.reached("one", 1).await;
    let stream = client.stream("/stream/t1", &[]).await;
    let ending = beside(server.sigterm_and_wait());
    stream.rest().await;
    recorder.release("one");
    assert!(ending.await.unwrap().success());

    // The nap goes on for an hour, and what was ready before it does not wait for that.
    let server = home.start().await;
    recorder.reached("two", 1).await;
    eventually("the step that was ready has completed", async || {
        let status = server.client().get("/status/t1").await.expect(200).json();
        (status["progress"]["completed"] == json!(2)).then_some(())
    })
    .await;
    assert_eq!((recorder.count("t1/s0"), recorder.count("t1/s1")), (1, 1));
}

#[tokio::test]
async fn another_replica_takes_over_at_once() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let launch =
        || home.launch().set("RETHREAD_LEASE", "60s").set("RETHREAD_SHUTDOWN_GRACE", "200ms");
    let (first, second) = (launch().start().await, launch().start().await);
    let workflow = chain(&recorder, &["wait/one", "ok/two"]);
    let body = json!({ "workflow": workflow, "threadId": "t1" });
    first.client().post("/invoke/async", &body).await.expect(202);
    recorder.reached("one", 1).await;
    let mut stream = second.client().stream("/stream/t1", &[]).await;
    assert!(first.sigterm_and_wait().await.success());
    let ended = tokio::time::Instant::now();
    recorder.reached("one", 2).await;
    assert!(ended.elapsed() < Duration::from_secs(3), "{:?}", ended.elapsed());
    recorder.release("one");
    stream.wait_for("workflow_complete").await;
    assert_eq!(second.client().status("t1").await["recoveries"], json!(0));
}

#[tokio::test]
async fn a_program_of_a_killed_server_does_not_live_on() {
    let home = Home::sqlite().await;
    let server = home.launch().set("RETHREAD_EXEC_ALLOW", "sh").start().await;
    let client = server.client();
    let script = "sleep 1000 & echo $$ $! > pids.new; mv pids.new pids; wait";
    let with = json!({ "program": "sh", "args": ["-c", script], "cwd": home.folder.path() });
    let steps = json!([{ "id": "s", "kind": "exec", "with": with }]);
    let body = json!({ "workflow": { "name": "w", "steps": steps }, "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    let pids = home.folder.path().join("pids");
    let pids = eventually("it lives", async || std::fs::read_to_string(&pids).ok()).await;
    assert_eq!(pids.split_whitespace().count(), 2, "the program and its child: {pids:?}");
    server.kill9().await;
    for pid in pids.split_whitespace() {
        dead(pid).await;
    }
}
