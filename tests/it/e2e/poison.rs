//! A thread that kills every server that drives it, and those that share the server with it.

use serde_json::{Value, json};

use super::support::flows::gapless;
use super::support::server::Launch;
use super::support::{Client, Home, Recorder, Server, eventually, on_stores};

on_stores!([sqlite, postgres] [
    a_thread_that_kills_its_server_is_paused_and_the_others_are_not,
    a_quarantined_thread_goes_on_when_a_person_says_so,
]);

/// Losses that are allowed: few, to be done soon.
const LIMIT: usize = 2;
/// The most servers until the culprit is paused: eight that it kills, and the one that pauses it.
const MOST_LIVES: usize = 9;

pub(super) fn launch(home: &Home) -> Launch<'_> {
    let launch = home.launch().set("RETHREAD_EXEC_ALLOW", "sh");
    launch.set("RETHREAD_MAX_RECOVERIES", &LIMIT.to_string())
}

/// What kills the server: between it and a program stands the process that supervises the program.
pub(super) const KILL_SERVER: &str = "kill -9 $(sed -n 's/^PPid:[^0-9]*//p' /proc/$PPID/status)";

/// Two steps; the second kills the server unless `mercy` is a file.
pub(super) fn poison(mercy: &str) -> Value {
    let script = format!("[ -e \"$1\" ] || {KILL_SERVER}");
    json!({ "name": "poison", "steps": [
        { "id": "fine", "kind": "transform", "with": { "jq": "1", "from": "{input}" } },
        { "id": "deadly", "kind": "exec", "dependsOn": ["fine"],
          "with": { "program": "sh", "args": ["-c", script, "sh", mercy] } }
    ] })
}

/// Starts the thread `poison`. Its server may be killed by it before it has answered.
pub(super) async fn feed(client: &Client, workflow: &Value) {
    let body = json!({ "workflow": workflow, "threadId": "poison" }).to_string();
    let json = [("content-type", "application/json")];
    if let Ok(answer) = client.attempt("POST", "/invoke/async", &json, body).await {
        answer.expect(202);
    }
}

/// Starts servers, as often as they are killed, until the thread is paused; the last of them, and
/// how many there were.
pub(super) async fn until_paused(home: &Home, first: Server, thread: &str) -> (Server, usize) {
    let (mut server, mut lives) = (Some(first), 1);
    loop {
        assert!(lives < 20, "the thread is never paused");
        // It may be killed before it serves.
        if let Some(mut server) = server.take() {
            let path = format!("/status/{thread}");
            let paused = eventually("the thread is paused or the server dies", async || {
                if server.has_died() {
                    return Some(false);
                }
                let answer = server.client().attempt("GET", &path, &[], "").await.ok()?;
                (answer.json()["status"] == "paused").then_some(true)
            });
            if paused.await {
                return (server, lives);
            }
        }
        server = launch(home).try_start().await.ok();
        lives += 1;
    }
}

async fn a_thread_that_kills_its_server_is_paused_and_the_others_are_not(home: Home) {
    let recorder = Recorder::start().await;
    let server = launch(&home).start().await;
    let client = server.client();
    let long = json!({ "name": "long", "steps": [
        { "id": "call", "kind": "http", "with": { "url": recorder.url("delay/1500/long") } }
    ] });
    let innocent: Vec<String> = (0..10).map(|n| format!("innocent-{n}")).collect();
    for thread in &innocent {
        client.invoke(&json!({ "workflow": long, "threadId": thread })).await;
    }
    recorder.reached("long", innocent.len()).await;
    feed(&client, &poison("/nowhere")).await;

    let (server, lives) = until_paused(&home, server, "poison").await;
    assert!(
        (LIMIT + 2..=MOST_LIVES).contains(&lives),
        "{lives} servers: more are lost than is allowed, and few"
    );
    let client = server.client();
    let events = gapless(&client, "poison").await;
    let opened = events.iter().find(|event| event["type"] == "intervention_opened").unwrap();
    assert_eq!(opened["data"]["steps"], json!(["deadly"]));
    let open = client.get("/interventions?status=open").await.expect(200).json();
    let items = open["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{open:#}");
    assert_eq!(items[0]["threadId"], "poison");
    assert_eq!(items[0]["steps"], json!(["deadly"]));
    assert_eq!(client.get("/stats").await.expect(200).json()["interventions"]["open"], 1);
    let recoveries = client.get("/threads/poison/recoveries").await.expect(200).json();
    assert_eq!(recoveries["items"][0]["result"], "quarantined", "{recoveries:#}");

    for thread in &innocent {
        client.completed(thread).await;
        let types = gapless(&client, thread).await;
        assert!(types.iter().all(|event| event["type"] != "workflow_paused"), "{thread}");
    }
}

async fn a_quarantined_thread_goes_on_when_a_person_says_so(home: Home) {
    let server = launch(&home).start().await;
    let mercy = home.folder.path().join("mercy");
    let workflow = poison(mercy.to_str().unwrap());
    feed(&server.client(), &workflow).await;
    let (server, _) = until_paused(&home, server, "poison").await;
    std::fs::write(&mercy, "").unwrap();
    let client = server.client();
    client.post("/threads/poison/resume", &json!({ "reason": "mended" })).await.expect(202);
    client.completed("poison").await;
    let resolved = client.get("/interventions?status=resolved").await.expect(200).json();
    assert_eq!(resolved["items"][0]["choice"], "resume");
    assert_eq!(resolved["items"][0]["comment"], "mended");
    let open = client.get("/interventions?status=open").await.expect(200).json();
    assert_eq!(open["items"], json!([]));
    let completions = gapless(&client, "poison").await;
    let fine = completions.iter().filter(|e| e["type"] == "step_complete" && e["stepId"] == "fine");
    assert_eq!(fine.count(), 1, "a completed step never runs again");
}
