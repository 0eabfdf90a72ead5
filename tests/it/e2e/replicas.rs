//! Several replicas on one database: one of them is lost, asleep, or full.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::promise::kept_its_promise;
use super::support::flows::chain;
use super::support::{Home, Recorder, eventually};

#[tokio::test]
async fn another_replica_takes_over_within_the_lease() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let (first, second) = (home.start().await, home.start().await);
    let workflow = chain(&recorder, &["ok/one", "wait/two", "ok/three"]);
    let body = json!({ "workflow": workflow, "threadId": "t1" });
    first.client().post("/invoke/async", &body).await.expect(202);
    recorder.reached("two", 1).await;

    // Both answer for it while the first drives it.
    let client = second.client();
    assert_eq!(client.status("t1").await["status"], "running");
    let mut stream = client.stream("/stream/t1", &[]).await;
    stream.wait_for("step_complete").await;
    client.post("/invoke/async", &body).await.expect(200);

    let lost = tokio::time::Instant::now();
    first.kill9().await;
    recorder.reached("two", 2).await;
    assert!(lost.elapsed() < Duration::from_secs(6), "{:?}", lost.elapsed());
    recorder.release("two");
    stream.wait_for("workflow_recovered").await;
    stream.wait_for("workflow_complete").await;
    kept_its_promise(&client, &recorder, "t1").await;
}

#[tokio::test]
async fn a_replica_that_was_asleep_changes_nothing_when_it_wakes() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let first = home.start().await;
    let workflow = chain(&recorder, &["wait/one", "ok/two"]);
    let body = json!({ "workflow": workflow, "threadId": "t1" });
    first.client().post("/invoke/async", &body).await.expect(202);
    recorder.reached("one", 1).await;
    first.signal(Signal::SIGSTOP);
    let second = home.start().await;
    recorder.reached("one", 2).await;
    // Both attempts end; only the second one's replica may say so.
    recorder.release("one");
    let client = second.client();
    client.completed("t1").await;
    let events = client.events("t1").await;
    first.signal(Signal::SIGCONT);
    let awake = first.client();
    assert_eq!(awake.events("t1").await, events);
    // It finds its way back: new work is taken there.
    eventually("the first is ready", async || {
        (awake.get("/health/ready").await.status == 200).then_some(())
    })
    .await;
    let body = json!({ "workflow": chain(&recorder, &["ok/three"]), "threadId": "t2" });
    eventually("the first takes work", async || {
        matches!(awake.post("/invoke/async", &body).await.status, 200 | 202).then_some(())
    })
    .await;
    awake.completed("t2").await;
    assert_eq!(client.events("t1").await, events);
    kept_its_promise(&client, &recorder, "t1").await;
}

#[tokio::test]
async fn what_waits_for_room_is_shared_and_survives() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let first = home.launch().set("RETHREAD_MAX_RUNNING", "2").start().await;
    for number in 0..8 {
        let workflow = chain(&recorder, &["wait/all"]);
        let body = json!({ "workflow": workflow, "threadId": format!("t{number}") });
        first.client().post("/invoke/async", &body).await.expect(202);
    }
    recorder.reached("all", 2).await;
    let list = first.client().get("/threads?status=queued").await.json();
    assert_eq!(list["items"].as_array().unwrap().len(), 6);
    let second = home.start().await;
    // The second takes the six that wait, the first keeps its two.
    recorder.reached("all", 8).await;
    first.kill9().await;
    recorder.release("all");
    for number in 0..8 {
        kept_its_promise(&second.client(), &recorder, &format!("t{number}")).await;
    }
}
