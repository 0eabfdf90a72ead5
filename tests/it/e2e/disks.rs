//! A disk that is full, nearly full, or loses what it was given.

use std::time::Duration;

use serde_json::json;

use super::promise::kept_its_promise;
use super::support::faults::{Disk, Trouble};
use super::support::flows::chain;
use super::support::{Home, Recorder, eventually};

#[tokio::test]
async fn a_full_disk_is_waited_for_and_nothing_is_lost() {
    let (home, recorder, disk) = (Home::sqlite().await, Recorder::start().await, Disk::new());
    let server = disk.under(home.launch()).start().await;
    let client = server.client();
    let body = |thread: &str| json!({ "workflow": chain(&recorder, &["ok/one", "wait/two", "ok/three"]), "threadId": thread });
    client.post("/invoke/async", &body("t1")).await.expect(202);
    recorder.reached("two", 1).await;
    disk.begin(Trouble::Full);
    let asked = tokio::time::Instant::now();
    let refused = client.post("/invoke/async", &body("t2")).await.expect(507);
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert_eq!(refused.json()["code"], "storage_full");
    assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);
    // The step's end is to be written, and cannot be; what is there can be read all the while.
    recorder.release("two");
    eventually("it is not ready", async || {
        (client.get("/health/ready").await.status == 503).then_some(())
    })
    .await;
    client.get("/health/live").await.expect(200);
    assert_eq!(client.status("t1").await["status"], "running");

    disk.end(Trouble::Full);
    let back = tokio::time::Instant::now();
    eventually("it is taken", async || {
        matches!(client.post("/invoke/async", &body("t2")).await.status, 200 | 202).then_some(())
    })
    .await;
    kept_its_promise(&client, &recorder, "t1").await;
    kept_its_promise(&client, &recorder, "t2").await;
    assert!(back.elapsed() < Duration::from_secs(10), "{:?}", back.elapsed());
    assert!(server.sigterm_and_wait().await.success());
}

#[tokio::test]
async fn a_nearly_full_disk_takes_no_new_thread_and_finishes_the_old_ones() {
    let (home, recorder, disk) = (Home::sqlite().await, Recorder::start().await, Disk::new());
    let server = disk.under(home.launch()).start().await;
    let client = server.client();
    let body = |thread: &str| json!({ "workflow": chain(&recorder, &["wait/one", "ok/two"]), "threadId": thread });
    client.post("/invoke/async", &body("t0")).await.expect(202);
    disk.begin(Trouble::Low);
    let mut number = 0;
    let refused = eventually("it is refused", async || {
        number += 1;
        let answer = client.post("/invoke/async", &body(&format!("t{number}"))).await;
        (answer.status != 202).then_some(answer)
    })
    .await;
    let refused = refused.expect(507);
    assert_eq!(refused.json()["code"], "storage_full");
    assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);
    client.post("/workflows", &chain(&recorder, &["ok/one"])).await.expect(507);
    client.get("/health/ready").await.expect(200);
    let check = client.get("/health").await.expect(200).json()["checks"]["storage"].clone();
    assert!(
        check["recommendation"].as_str().unwrap().contains("RETHREAD_STORAGE_RESERVE"),
        "{check}"
    );
    eventually("it is told", async || {
        server.log().contains("the disk is nearly full").then_some(())
    })
    .await;
    recorder.release("one");
    for thread in 0..number {
        kept_its_promise(&client, &recorder, &format!("t{thread}")).await;
    }
    disk.end(Trouble::Low);
    eventually("it is taken", async || {
        (client.post("/invoke/async", &body("last")).await.status == 202).then_some(())
    })
    .await;
    client.completed("last").await;
    let metrics = client.get("/metrics").await.expect(200);
    for name in ["rethread_storage_free_bytes", "rethread_storage_log_bytes"] {
        let line = metrics.text().lines().find(|line| line.starts_with(name)).unwrap();
        assert!(line.rsplit(' ').next().unwrap().parse::<i64>().unwrap() > 0, "{line}");
    }
}

#[tokio::test]
async fn a_failed_fsync_ends_the_process_and_nothing_that_was_promised_is_missing() {
    let (home, recorder, disk) = (Home::sqlite().await, Recorder::start().await, Disk::new());
    let server = disk.under(home.launch()).start().await;
    let client = server.client();
    let body = |thread: &str| json!({ "workflow": chain(&recorder, &["ok/one", "delay/30/two"]), "threadId": thread });
    let mut accepted = Vec::new();
    let ended = loop {
        let thread = format!("t{}", accepted.len());
        if accepted.len() == 20 {
            disk.begin(Trouble::Unsynced);
        }
        let text = body(&thread).to_string();
        let headers = [("content-type", "application/json")];
        match client.attempt("POST", "/invoke/async", &headers, text).await {
            Ok(answer) if answer.status == 202 => accepted.push(thread),
            Ok(answer) => break answer.status == 503,
            Err(_gone) => break true,
        }
    };
    assert!(ended && accepted.len() >= 20, "{}", accepted.len());
    let (status, log) = server.wait().await;
    assert!(!status.success(), "{status}");
    assert!(log.contains("the disk lost what it was given"), "{log}");

    disk.end(Trouble::Unsynced);
    let server = disk.under(home.launch()).start().await;
    for thread in &accepted {
        kept_its_promise(&server.client(), &recorder, thread).await;
    }
}
