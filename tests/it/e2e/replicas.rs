//! Several replicas on one database: one of them is lost, asleep, or full.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use serde_json::json;

use super::promise::kept_its_promise;
use super::support::flows::chain;
use super::support::{Home, Recorder, dead, eventually};

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
async fn programs_of_a_replica_that_slept_past_its_lease_end_when_it_wakes() {
    let home = Home::postgres().await;
    let launch = || home.launch().set("RETHREAD_EXEC_ALLOW", "sh");
    let first = launch().start().await;
    // Writes a line every 50 ms, with a child beside it, until it is told to end.
    let script = "n=$X_RETHREAD_ATTEMPT; sleep 1000 & echo $$ $! > pids.$n
                  until [ -e stop ]; do echo x >> lines.$n; sleep 0.05; done";
    let file = |name: &str| home.folder.path().join(name);
    let step = json!({ "id": "s", "kind": "exec",
        "with": { "program": "sh", "args": ["-c", script], "cwd": home.folder.path() } });
    let workflow = json!({ "name": "w", "steps": [step] });
    first.client().invoke(&json!({ "workflow": workflow, "threadId": "t1" })).await;
    let begun = async |number: u32| {
        let lines = file(&format!("lines.{number}"));
        eventually("the program runs", async || lines.exists().then_some(())).await;
    };
    begun(1).await;
    first.signal(Signal::SIGSTOP);
    let second = launch().start().await;
    let client = second.client();
    begun(2).await;
    // Nobody can end the programs of a replica that sleeps but itself.
    let events = client.events("t1").await;
    let pids = std::fs::read_to_string(file("pids.1")).unwrap();
    first.signal(Signal::SIGCONT);
    let awake_since = tokio::time::Instant::now();
    for pid in pids.split_whitespace() {
        dead(pid).await;
    }
    assert!(awake_since.elapsed() < Duration::from_secs(3), "{:?}", awake_since.elapsed());
    let awake = first.client();
    eventually("the first is ready", async || {
        (awake.get("/health/ready").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(client.events("t1").await, events);
    std::fs::write(file("stop"), "").unwrap();
    let status = client.completed("t1").await;
    assert_eq!(status["steps"][0]["attempts"], json!(2));
    assert_eq!(status["recoveries"], json!(1));
    // The first goes on under a new registration.
    awake.invoke(&json!({ "workflow": workflow, "threadId": "t2" })).await;
    awake.completed("t2").await;
    assert_eq!(client.events("t1").await.len(), events.len() + 2);
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

#[tokio::test]
async fn one_key_or_one_id_makes_one_thread_on_all_replicas() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let (first, second) = (home.start().await, home.start().await);
    let clients = [first.client(), second.client()];
    let keyed = json!({ "workflow": chain(&recorder, &["ok/one"]) }).to_string();
    let named = json!({ "workflow": chain(&recorder, &["ok/one"]), "threadId": "t1" }).to_string();
    for (key, body) in [("k1", &keyed), ("", &named)] {
        let mut headers = vec![("content-type", "application/json")];
        if !key.is_empty() {
            headers.push(("idempotency-key", key));
        }
        let call = |n: usize| clients[n % 2].send("POST", "/invoke/async", &headers, body.clone());
        let answers = join_all((0..24).map(call)).await;
        let documents: Vec<_> = answers.iter().map(|answer| answer.json()).collect();
        let made = documents.iter().filter(|document| document["created"] == json!(true)).count();
        let ids: HashSet<_> = documents.iter().map(|one| one["threadId"].to_string()).collect();
        assert_eq!((made, ids.len()), (1, 1), "{documents:#?}");
        assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 202)));
    }
    // The answer outlives whoever gave it.
    let thread = clients[0]
        .send(
            "POST",
            "/invoke/async",
            &[("content-type", "application/json"), ("idempotency-key", "k1")],
            keyed.clone(),
        )
        .await
        .json()["threadId"]
        .clone();
    first.kill9().await;
    drop(second);
    let server = home.start().await;
    let headers = [("content-type", "application/json"), ("idempotency-key", "k1")];
    let again = server.client().send("POST", "/invoke/async", &headers, keyed).await.expect(200);
    assert_eq!(again.json()["threadId"], thread);
    assert_eq!(again.header("idempotent-replayed"), "true");
}

#[tokio::test]
async fn any_replica_may_be_asked_to_stop_or_go_on() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let (first, second) = (home.start().await, home.start().await);
    let body = json!({ "workflow": chain(&recorder, &["wait/one"]), "threadId": "t1" });
    first.client().post("/invoke/async", &body).await.expect(202);
    recorder.reached("one", 1).await;
    let mut stream = first.client().stream("/stream/t1", &[]).await;
    let other = second.client();
    other.post("/threads/t1/abort", &json!({})).await.expect(200);
    assert_eq!(other.status("t1").await["status"], "aborted");
    stream.wait_for("workflow_aborted").await;
    recorder.release("one");
    other.post("/threads/t1/resume", &json!({})).await.expect(202);
    first.client().completed("t1").await;
    assert_eq!(other.status("t1").await["recoveries"], json!(0));
    other.delete("/threads/t1").await.expect(204);
    first.client().get("/status/t1").await.expect(404);
}
