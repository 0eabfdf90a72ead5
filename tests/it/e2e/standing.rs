//! Workers that stand: the process goes on answering probes and keeping its lease, ends when it is asked
//! to, and else ends itself; the thread that a worker stood in is paused by whoever claims it next.
//!
//! What a client may write has a budget, so the servers here are this program's own, with an executor
//! that a step can stop a worker with.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use nix::sys::signal::Signal;
use rethread::app::STOOD;
use rethread::definition::Action;
use rethread::executor::{Attempt, AttemptError, Executors, StepExecutor};
use rethread::model::Json;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::support::flows::gapless;
use super::support::server::Launch;
use super::support::{Client, GLANCE, Home, PATIENCE, Server, beside, eventually, on_stores};

on_stores!([sqlite, postgres] [
    while_every_worker_stands_probes_are_answered_and_the_lease_is_kept,
    a_server_whose_workers_stand_ends_when_it_is_asked_to,
    a_thread_that_a_worker_stood_in_is_paused_by_the_next_process,
]);

/// The name of the test that is the server.
const SERVER: &str = "e2e::standing::a_server_in_which_a_step_can_stop_a_worker";
/// With this file in the folder of a server nothing stands.
const MERCY: &str = "mercy";
/// With this file in the folder of a server steps that wait go on.
const GO: &str = "go";

/// The steps named `stand` and `stand-later` do not come back, in the driver's turn and in one of the
/// attempt's own; `wait` waits in good order; all others give what they got.
#[derive(Debug)]
struct Standing;

impl Executors for Standing {
    fn get(&self, _: &Action) -> Option<&dyn StepExecutor> {
        Some(self)
    }
}

fn stand() {
    while !Path::new(MERCY).exists() {
        std::thread::park_timeout(GLANCE);
    }
}

#[async_trait]
impl StepExecutor for Standing {
    async fn execute(&self, attempt: Attempt) -> Result<Json, AttemptError> {
        match attempt.step_id.as_str() {
            "stand-later" => stand(),
            "wait" => {
                while !Path::new(GO).exists() {
                    tokio::time::sleep(GLANCE).await;
                }
            }
            _ => {}
        }
        Ok(attempt.with)
    }

    fn execute_now(&self, attempt: &Attempt) -> Option<Result<Json, AttemptError>> {
        (attempt.step_id.as_str() == "stand").then(|| {
            stand();
            Ok(attempt.with.clone())
        })
    }
}

#[test]
#[ignore = "a server: the other tests here start it as a process of its own"]
#[expect(clippy::exit, reason = "it stands in for the program's main")]
fn a_server_in_which_a_step_can_stop_a_worker() {
    let served = rethread::cli::serve_with(Arc::new(Standing));
    if let Err(error) = &served {
        eprintln!("error: {error:#}");
    }
    // Nobody reads what the runner of tests would say.
    std::process::exit(i32::from(served.is_err()))
}

fn launch(home: &Home) -> Launch<'_> {
    let launch = home.launch().of_test(SERVER).set("RETHREAD_SHUTDOWN_GRACE", "1s");
    launch.set("RETHREAD_LEASE", "2s")
}

fn steps(names: &[&str]) -> Value {
    let step = |name| json!({ "id": name, "kind": "transform", "with": { "jq": ".", "from": 1 } });
    json!({ "name": "steps", "steps": names.iter().map(step).collect::<Vec<_>>() })
}

/// Starts a thread; whether that is answered is open.
fn post(client: &Client, body: Value) {
    let client = client.clone();
    beside(async move {
        let json = [("content-type", "application/json")];
        let answer = client.attempt("POST", "/invoke/async", &json, body.to_string());
        timeout(PATIENCE, answer).await
    });
}

/// Lets threads stop workers until no request is answered any more but probes.
async fn stop_all_workers(client: &Client) {
    let mut started = 0;
    eventually("all workers stand", async || {
        if timeout(Duration::from_secs(1), client.get("/threads?limit=1")).await.is_err() {
            return Some(());
        }
        let body = json!({ "workflow": steps(&["stand"]), "threadId": format!("stood-{started}") });
        started += 1;
        post(client, body);
        None
    })
    .await;
}

async fn while_every_worker_stands_probes_are_answered_and_the_lease_is_kept(home: Home) {
    let server = launch(&home).start().await;
    let client = server.client();
    stop_all_workers(&client).await;
    let stood = Instant::now();
    // Longer than the lease, shorter than a worker may stand.
    while stood.elapsed() < Duration::from_secs(4) {
        for probe in ["/health/live", "/health/ready"] {
            let answer = timeout(Duration::from_secs(1), client.get(probe)).await;
            answer.unwrap_or_else(|_late| panic!("{probe} is not answered")).expect(200);
        }
        tokio::time::sleep(GLANCE).await;
    }
    if home.store() == "postgres" {
        let live = "SELECT count(*) FROM rethread.replicas WHERE lease_until > clock_timestamp()";
        assert_eq!(home.number(live).await, 1);
    }
    let (status, log) = server.wait().await;
    assert_eq!(status.code(), Some(STOOD), "{log}");
    assert!(log.contains("a worker stands in this thread"), "{log}");
    assert!(!log.contains("lease lost"), "{log}");
}

async fn a_server_whose_workers_stand_ends_when_it_is_asked_to(home: Home) {
    let server = launch(&home).start().await;
    stop_all_workers(&server.client()).await;
    let asked = Instant::now();
    server.signal(Signal::SIGTERM);
    let (status, log) = server.wait().await;
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("workers still stood"), "{log}");
    // The grace, and what an end in good order may take beyond it.
    assert!(asked.elapsed() < Duration::from_secs(16), "{:?}", asked.elapsed());
}

/// Starts threads that wait, and one that a worker stands in at `step`; gives what the others are called.
async fn feed(client: &Client, step: &str) -> Vec<String> {
    let innocent: Vec<String> = (0..20).map(|n| format!("innocent-{n}")).collect();
    for thread in &innocent {
        client.invoke(&json!({ "workflow": steps(&["wait"]), "threadId": thread })).await;
    }
    post(client, json!({ "workflow": steps(&[step]), "threadId": "culprit" }));
    innocent
}

/// The culprit is paused, the others complete and nothing was held against them.
async fn judged(home: &Home, client: &Client, (innocent, step): (&[String], &str)) {
    let paused = |status: &Value| status["status"] == "paused";
    client.until("culprit", "is paused", paused).await;
    let open = client.get("/interventions?status=open").await.expect(200).json();
    let items = open["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{open:#}");
    assert_eq!((&items[0]["threadId"], &items[0]["kind"]), (&json!("culprit"), &json!("poison")));
    assert_eq!(items[0]["steps"], json!([step]));
    eventually("its recovery is recorded", async || {
        let recoveries = client.get("/threads/culprit/recoveries").await.expect(200).json();
        let newest = &recoveries["items"][0];
        (newest["cause"] == "frozen" && newest["result"] == "quarantined").then_some(())
    })
    .await;
    std::fs::write(home.folder.path().join(GO), "").unwrap();
    for thread in innocent {
        let status = client.completed(thread).await;
        assert_eq!(status["recoveries"], 0, "{status:#}");
        let events = gapless(client, thread).await;
        assert!(events.iter().all(|event| event["type"] != "workflow_paused"), "{thread}");
    }
}

async fn a_thread_that_a_worker_stood_in_is_paused_by_the_next_process(home: Home) {
    let server = launch(&home).start().await;
    let innocent = feed(&server.client(), "stand-later").await;
    let (status, log) = server.wait().await;
    assert_eq!(status.code(), Some(STOOD), "{log}");
    let server = launch(&home).start().await;
    let client = server.client();
    judged(&home, &client, (&innocent, "stand-later")).await;
    // What was on record is done with: the thread goes on like any other.
    std::fs::write(home.folder.path().join(MERCY), "").unwrap();
    client.post("/threads/culprit/resume", &json!({ "reason": "mended" })).await.expect(202);
    client.completed("culprit").await;
    assert_eq!(server.sigterm_and_wait().await.code(), Some(0));
}

#[tokio::test]
async fn of_two_replicas_one_is_lost_by_a_thread_and_the_other_finishes_all_others() {
    let home = Home::postgres().await;
    let first = launch(&home).start().await;
    let mut second = launch(&home).set("RETHREAD_MAX_RECOVERIES", "0").start().await;
    let innocent = feed(&first.client(), "stand").await;
    let (status, log) = first.wait().await;
    assert_eq!(status.code(), Some(STOOD), "{log}");
    judged(&home, &second.client(), (&innocent, "stand")).await;
    assert!(!second.has_died());
    assert_eq!(home.number("SELECT max(claims)::bigint FROM rethread.threads").await, 0);
    assert_eq!(Server::sigterm_and_wait(second).await.code(), Some(0));
}
