//! Attempts of one namespace leave open files, memory and processors to those of others.

use serde_json::{Value, json};

use super::support::{Client, Home, Recorder, Server, eventually};

const TEAM: &str = "0123456789abcdef-team";
const OTHER: &str = "0123456789abcdef-other";

/// A server with an invoker of one namespace and an admin of another.
async fn tenants(home: &Home, memory: &str) -> (Server, Client, Client) {
    let keys = format!("team:{TEAM}:invoker:team,other:{OTHER}:admin:other");
    // On a busy disk a heartbeat may wait behind many large outputs.
    let launch = home.launch().open_files(700).set("RETHREAD_LEASE", "30s");
    let launch = launch.set("RETHREAD_API_KEYS", &keys);
    let server = launch.set("RETHREAD_MEMORY_LIMIT", memory).start().await;
    let (team, other) = (server.client().with_key(TEAM), server.client().with_key(OTHER));
    (server, team, other)
}

/// A workflow of `count` http steps that do not depend on each other.
fn crowd(count: usize, with: &Value) -> Value {
    let step = |at: usize| {
        json!({ "id": format!("s{at}"), "kind": "http", "with": with, "continueOnError": true,
            "retry": { "maxAttempts": 1 } })
    };
    json!({ "name": "crowd", "steps": (0..count).map(step).collect::<Vec<_>>() })
}

/// Runs a thread of somebody who has nothing to do with the crowd.
async fn serves(other: &Client, target: &Recorder, round: u32) {
    let workflow = crowd(3, &json!({ "url": target.url("ok/quick") }));
    let thread = format!("quick{round}");
    other
        .post("/invoke/async", &json!({ "workflow": workflow, "threadId": thread }))
        .await
        .expect(202);
    let status = other.completed(&thread).await;
    assert_eq!(status["steps"][2]["status"], "completed", "{status}");
}

#[tokio::test]
async fn steps_that_hang_leave_open_files_to_other_namespaces_and_all_of_them_run_in_the_end() {
    let (home, target) = (Home::memory().await, Recorder::start().await);
    let (server, team, other) = tenants(&home, "2GiB").await;
    let with = json!({ "url": target.url("wait/held") });
    let body = json!({ "workflow": crowd(300, &with), "threadId": "crowd" });
    team.post("/invoke/async", &body).await.expect(202);
    target.reached("held", 10).await;
    for round in 0..10 {
        serves(&other, &target, round).await;
        server.client().get("/health/live").await.expect(200);
    }
    let mut mixed = crowd(60, &with);
    let filter = json!({ "id": "f", "kind": "transform", "with": { "jq": "1" } });
    mixed["steps"].as_array_mut().unwrap().push(filter);
    team.post("/invoke/async", &json!({ "workflow": mixed, "threadId": "mixed" }))
        .await
        .expect(202);
    let is_done = async || {
        let status = team.status("mixed").await;
        (status["steps"][60]["status"] == "completed").then_some(())
    };
    eventually("a filter does not wait behind steps that need a place", is_done).await;
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap().count();
    assert!(open < 350, "{open} files are open");
    assert!(target.hits_of("held").len() < 60, "{} at once", target.hits_of("held").len());
    target.release("held");
    team.completed("mixed").await;
    let ended = team.completed("crowd").await;
    assert_eq!(ended["progress"]["completed"], 300);
    assert_eq!(target.hits_of("held").len(), 360, "each once");
}

#[tokio::test]
async fn steps_that_send_much_wait_for_each_other_and_memory_stays_for_others() {
    let (home, target) = (Home::memory().await, Recorder::start().await);
    let (server, team, other) = tenants(&home, "256MiB").await;
    let with = json!({ "url": target.url("wait/held"), "method": "POST", "body": "{input}" });
    let input = "y".repeat(900_000);
    let body = json!({ "workflow": crowd(300, &with), "input": input, "threadId": "crowd" });
    team.post("/invoke/async", &body).await.expect(202);
    target.reached("held", 10).await;
    for round in 0..10 {
        serves(&other, &target, round).await;
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: usize = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 400 << 10, "{peak} KiB");
    team.post("/threads/crowd/abort", &json!({})).await.expect(200);
}

/// A thread of 25 outputs of 900 KB, and then a call that hangs.
fn large(target: &Recorder) -> Value {
    let output = |at: usize| {
        json!({ "id": format!("o{at}"), "kind": "http", "with": { "url": "http://127.0.0.1:1/" },
            "retry": { "maxAttempts": 1 }, "fallback": { "output": "{input}" } })
    };
    let mut steps: Vec<Value> = (0..25).map(output).collect();
    let before: Vec<String> = (0..25).map(|at| format!("o{at}")).collect();
    steps.push(json!({ "id": "call", "kind": "http", "dependsOn": before,
        "with": { "url": target.url("wait/held") } }));
    json!({ "name": "large", "steps": steps, "output": 1 })
}

#[tokio::test]
async fn threads_that_grow_stop_at_their_share_and_all_of_them_end() {
    const THREADS: usize = 20;
    /// The threads that fit into what one namespace may take.
    const FITTING: usize = 9;
    const MEGABYTE: f64 = 1_048_576.0;
    let (home, target) = (Home::sqlite().await, Recorder::start().await);
    // All threads may take 256 MiB, and those of one namespace 224 MiB.
    let (server, team, other) = tenants(&home, "512MiB").await;
    for at in 0..THREADS {
        let body = json!({ "workflow": large(&target), "input": "x".repeat(900_000),
            "threadId": format!("large{at}") });
        team.post("/invoke/async", &body).await.expect(202);
        if at < FITTING {
            target.reached("held", at + 1).await;
        }
    }
    for round in 0..20 {
        serves(&other, &target, round).await;
        let metrics = other.get("/metrics").await.expect(200);
        let line = "rethread_memory_bytes{pool=\"threads\"} ";
        let taken =
            metrics.text().lines().find_map(|text| text.strip_prefix(line)?.parse::<f64>().ok());
        assert!(taken.unwrap() < 256.0 * MEGABYTE, "{taken:?}");
    }
    assert!(target.hits_of("held").len() < THREADS - 5, "some of them wait");
    assert!(server.most_memory() < 512 << 20, "{} MiB", server.most_memory() >> 20);
    target.release("held");
    eventually("all of them end", async || {
        let listed = team.get("/threads?status=completed&workflow=large").await.expect(200).json();
        (listed["items"].as_array().unwrap().len() == THREADS).then_some(())
    })
    .await;
    assert_eq!(target.hits_of("held").len(), THREADS, "each once");
}

/// Starts threads of a namespace that are small for a while, and then do all steps at once.
async fn small_at_first(team: &Client, threads: usize, steps: &[Value]) {
    let rest = json!({ "id": "go", "kind": "sleep", "with": { "for": "2s" } });
    let steps: Vec<&Value> = std::iter::once(&rest).chain(steps).collect();
    let workflow = json!({ "name": "later", "steps": steps, "output": 1 });
    for at in 0..threads {
        let body = json!({ "workflow": workflow, "threadId": format!("later{at}") });
        team.post("/invoke/async", &body).await.expect(202);
    }
}

/// Waits until all of these threads have completed, while another namespace is served. Returns the most
/// bytes that were counted as received meanwhile.
async fn all_complete(threads: usize, (team, other): (&Client, &Client), target: &Recorder) -> f64 {
    let received = async || {
        let metrics = other.get("/metrics").await.expect(200);
        let line = "rethread_memory_bytes{pool=\"received\"} ";
        metrics
            .text()
            .lines()
            .find_map(|text| text.strip_prefix(line)?.parse::<f64>().ok())
            .unwrap()
    };
    let mut most = 0.0_f64;
    for round in 0..10 {
        serves(other, target, round).await;
        most = most.max(received().await);
    }
    // One after the other grows, so that all of them take a while.
    for part in 1..=4 {
        eventually("more of them complete", async || {
            most = most.max(received().await);
            let answer = team.get("/threads?status=completed&workflow=later").await;
            let listed = (answer.status == 200).then(|| answer.json())?;
            (listed["items"].as_array().unwrap().len() >= threads * part / 4).then_some(())
        })
        .await;
    }
    most
}

/// Holds threads with large outputs to memory: each is of fourteen megabytes, of which one namespace
/// may have 112 in all.
async fn grow_beside_others(step: impl Fn(&Recorder, usize) -> Value) {
    const THREADS: usize = 12;
    const SHARE: f64 = 33_554_432.0;
    let (home, target) = (Home::sqlite().await, Recorder::start().await);
    let (server, team, other) = tenants(&home, "256MiB").await;
    let steps: Vec<Value> = (0..14).map(|at| step(&target, at)).collect();
    small_at_first(&team, THREADS, &steps).await;
    let most = all_complete(THREADS, (&team, &other), &target).await;
    // One attempt of each namespace, and those of a thread whose turn it is, go on all the same.
    assert!(most < SHARE * 1.5, "{most}");
    assert!(server.most_memory() < 512 << 20, "{} MiB", server.most_memory() >> 20);
}

#[tokio::test]
async fn outputs_of_filters_that_wait_for_their_threads_stay_within_the_memory() {
    grow_beside_others(|_, at| {
        json!({ "id": format!("f{at}"), "kind": "transform", "dependsOn": ["go"],
            "with": { "jq": "\"x\" * 1000000", "from": 1 } })
    })
    .await;
}

#[tokio::test]
async fn large_answers_to_many_attempts_at_once_are_all_received() {
    grow_beside_others(|target, at| {
        json!({ "id": format!("h{at}"), "kind": "http", "dependsOn": ["go"],
            "retry": { "maxAttempts": 1 }, "with": { "url": target.url("big/900000") } })
    })
    .await;
}
