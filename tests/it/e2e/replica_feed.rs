//! What one replica does is seen at the others at once; without notifications, soon.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::support::figures::{Figures, delays};
use super::support::flows::{chain, hanging};
use super::support::{Client, Home, Recorder, eventually};

/// Steps of the threads that are watched.
const STEPS: usize = 40;
/// Threads that are watched side by side.
const THREADS: usize = 3;

/// Runs threads at `driver` and watches them at `other`: the delays of all events.
async fn watched(driver: &Client, other: &Client, recorder: &Recorder) -> Figures {
    let mut all = Figures::default();
    let threads = (0..THREADS).map(|n| async move {
        // The stream is open before anything happens.
        let gate = format!("wait/gate{n}");
        let mut paths = vec![gate.as_str()];
        paths.extend(["delay/15/x"; STEPS]);
        let thread = format!("t{n}");
        let body = json!({ "workflow": chain(recorder, &paths), "threadId": thread });
        driver.post("/invoke/async", &body).await.expect(202);
        recorder.reached(&format!("gate{n}"), 1).await;
        let mut stream = other.stream(&format!("/stream/{thread}?after=1"), &[]).await;
        stream.wait_for("step_start").await;
        recorder.release(&format!("gate{n}"));
        let (delays, texts) = delays(stream).await;
        assert_eq!(texts, driver.events(&thread).await[2..]);
        delays
    });
    for figures in join_all(threads).await {
        all.append(figures);
    }
    all
}

#[tokio::test]
async fn events_of_another_replica_come_at_once() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let (first, second) = (home.start().await, home.start().await);
    let delays = watched(&first.client(), &second.client(), &recorder).await;
    delays.show("event to a stream elsewhere");
    // By looking every 500 ms it would be 250 ms and 450 ms.
    assert!(delays.quantile(0.5) < Duration::from_millis(75));
    assert!(delays.quantile(0.95) < Duration::from_millis(250));
}

#[tokio::test]
async fn events_come_soon_when_every_notification_is_lost() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    // It says nothing; the other listens in vain.
    let mute = home.launch().set("RETHREAD_POOLER", "transaction").start().await;
    let second = home.start().await;
    let delays = watched(&mute.client(), &second.client(), &recorder).await;
    delays.show("event to a stream elsewhere, nothing notified");
    assert!(delays.quantile(1.0) < Duration::from_millis(1_500));
}

#[tokio::test]
async fn a_listening_connection_that_is_cut_comes_back() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let (first, second) = (home.start().await, home.start().await);
    let listeners = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    let both = async || (home.number(listeners).await == 2).then_some(());
    for _ in 0..3 {
        eventually("both listen", both).await;
        assert_eq!(home.number(cut).await, 2);
    }
    eventually("both listen again", both).await;
    let delays = watched(&first.client(), &second.client(), &recorder).await;
    delays.show("event to a stream elsewhere after a cut");
    assert!(delays.quantile(0.5) < Duration::from_millis(75));
}

/// How long an abort takes that reaches a replica which does not drive the thread.
async fn aborted(driver: &Client, other: &Client, recorder: &Recorder) -> Figures {
    let mut figures = Figures::default();
    for n in 0..12 {
        let (thread, name) = (format!("a{n}"), format!("hang{n}"));
        let body = json!({ "workflow": hanging(recorder, &name), "threadId": thread });
        driver.post("/invoke/async", &body).await.expect(202);
        recorder.reached(&name, 1).await;
        let asked = Instant::now();
        other.post(&format!("/threads/{thread}/abort"), &json!({})).await.expect(200);
        figures.add(asked.elapsed());
        assert_eq!(driver.status(&thread).await["status"], "aborted");
    }
    figures
}

#[tokio::test]
async fn a_call_at_the_wrong_replica_is_answered_at_once() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let (first, second) = (home.start().await, home.start().await);
    let figures = aborted(&first.client(), &second.client(), &recorder).await;
    figures.show("abort by another replica");
    assert!(figures.quantile(0.5) < Duration::from_millis(100));
}

#[tokio::test]
async fn a_call_at_the_wrong_replica_is_answered_soon_when_notifications_are_lost() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let first = home.start().await;
    let mute = home.launch().set("RETHREAD_POOLER", "transaction").start().await;
    let figures = aborted(&first.client(), &mute.client(), &recorder).await;
    figures.show("abort by another replica, nothing notified");
    assert!(figures.quantile(1.0) < Duration::from_secs(2));
}

#[tokio::test]
async fn work_that_a_full_replica_queues_is_taken_by_another_at_once() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let full = home.launch().set("RETHREAD_MAX_RUNNING", "1").start().await;
    let body = json!({ "workflow": hanging(&recorder, "full"), "threadId": "full" });
    full.client().post("/invoke/async", &body).await.expect(202);
    recorder.reached("full", 1).await;
    let second = home.start().await;
    let mut figures = Figures::default();
    for n in 0..12 {
        let name = format!("q{n}");
        let workflow = chain(&recorder, &[&format!("ok/{name}")]);
        let body = json!({ "workflow": workflow, "threadId": name });
        let asked = Instant::now();
        full.client().post("/invoke/async", &body).await.expect(202);
        recorder.reached(&name, 1).await;
        figures.add(asked.elapsed());
        let done: Value = second.client().completed(&name).await;
        assert_eq!(done["recoveries"], json!(0));
    }
    figures.show("from a full replica to a step elsewhere");
    // By looking every 250 ms alone it would be about 125 ms.
    assert!(figures.quantile(0.5) < Duration::from_millis(90));
    recorder.release("full");
}
