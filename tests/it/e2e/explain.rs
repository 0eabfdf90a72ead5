//! Why a thread does not move: one test for each way to stand still. The call that is offered is sent
//! as it is, and the thread moves.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::support::flows::{chain, hanging, step};
use super::support::{Client, Home, Recorder, beside, eventually, on_stores};

on_stores!([sqlite, postgres] [
    a_full_replica_is_told_with_how_many_are_before,
    a_retry_is_told_and_made_now,
    of_steps_that_read_much_only_the_first_are_looked_at,
    an_open_circuit_is_told_with_its_half_open_moment,
    a_target_that_asked_to_be_left_alone_is_told,
    a_sleep_is_told_and_ended,
    a_signal_that_nobody_sent_is_told_and_sent,
    an_approval_is_told_and_decided,
    a_failure_that_asks_a_person_is_told_and_decided,
    a_pause_is_told_with_who_and_why_and_resumed,
    an_attempt_under_way_is_told_and_done_without,
    an_end_is_told_and_a_failed_thread_resumed,
    a_thread_that_cannot_be_read_is_explained_all_the_same,
]);

async fn told(client: &Client, thread: &str) -> Value {
    let answer = client.get(&format!("/threads/{thread}/explain")).await.expect(200);
    let told = answer.json();
    assert_eq!(answer.header("etag"), format!("\"{}\"", told["lastSeq"]));
    let first = &told["causes"][0];
    assert!(told["sentence"].as_str().unwrap().starts_with(first["sentence"].as_str().unwrap()));
    told
}

/// Waits until the first cause is of this kind.
async fn cause(client: &Client, thread: &str, kind: &str) -> Value {
    eventually(&format!("{thread} stands still: {kind}"), async || {
        let first = told(client, thread).await["causes"][0].clone();
        (first["kind"] == kind).then_some(first)
    })
    .await
}

/// Sends the call of a cause as it stands there.
async fn act(client: &Client, cause: &Value) {
    let call = &cause["call"];
    assert_eq!(call["method"], "POST", "{cause:#}");
    let answer = client.post(call["path"].as_str().unwrap(), &call["body"]).await;
    assert!(matches!(answer.status, 200 | 202), "{call:#}: {} {}", answer.status, answer.text());
}

/// A workflow of one call that is tried again only in a while.
fn patient(url: &str) -> Value {
    json!({ "name": "w", "steps": [{ "id": "s", "kind": "http", "with": { "url": url },
        "retry": { "maxAttempts": 4, "initialInterval": "10m", "maxInterval": "1h" } }] })
}

fn one(step: &Value) -> Value {
    json!({ "workflow": { "name": "w", "steps": [step] }, "threadId": "t" })
}

async fn a_full_replica_is_told_with_how_many_are_before(home: Home) {
    let recorder = Recorder::start().await;
    let server = home.launch().set("RETHREAD_MAX_RUNNING", "1").start().await;
    let client = server.client();
    for name in ["one", "two", "three"] {
        let body = json!({ "workflow": hanging(&recorder, name), "threadId": name });
        client.invoke(&body).await;
        if name == "one" {
            recorder.reached("one", 1).await;
        }
    }
    let queued = cause(&client, "three", "queued").await;
    assert_eq!((&queued["call"], &queued["byItself"]), (&Value::Null, &json!(true)));
    assert_eq!(
        (&queued["detail"]["driving"], &queued["detail"]["replicas"]),
        (&json!(1), &json!(1))
    );
    assert!(queued["sentence"].as_str().unwrap().contains("as many as it may"), "{queued:#}");
    assert_eq!(queued["detail"]["ahead"], json!(1), "{queued:#}");
    assert_eq!(told(&client, "one").await["moving"], json!(true));
    // It is not the database that is missing, and the call is not lost.
    let body = json!({ "reason": "no longer wanted" });
    let late = client.post("/threads/three/abort", &body).await.expect(503).json();
    assert_eq!((&late["code"], &late["recoverable"]), (&json!("not_taken"), &json!(false)));
    let waits = told(&client, "three").await["causes"][1].clone();
    assert_eq!(waits["detail"]["messages"], json!([{ "asks": "abort", "by": "anonymous" }]));
    for name in ["one", "two"] {
        recorder.release(name);
        client.completed(name).await;
    }
    let aborted = cause(&client, "three", "aborted").await;
    assert_eq!(aborted["detail"]["reason"], "no longer wanted");
}

async fn a_retry_is_told_and_made_now(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let workflow = patient(&recorder.url("fail/1/x"));
    client.invoke(&json!({ "workflow": workflow, "threadId": "t" })).await;
    let retry = cause(&client, "t", "retry").await;
    assert_eq!((&retry["stepId"], &retry["byItself"]), (&json!("s"), &json!(true)));
    assert_eq!(retry["until"], step(&client.status("t").await, "s")["wakesAt"]);
    let detail = &retry["detail"];
    assert_eq!((&detail["failures"], &detail["maxAttempts"]), (&json!(1), &json!(4)));
    assert_eq!(detail["error"]["code"], "http_status");
    assert_eq!(
        (&detail["circuit"]["failures"], &detail["circuit"]["state"]),
        (&json!(1), &json!("closed"))
    );
    assert_eq!(told(&client, "t").await["moving"], json!(false));
    act(&client, &retry).await;
    client.completed("t").await;
    assert_eq!(cause(&client, "t", "completed").await["call"], Value::Null);
}

async fn of_steps_that_read_much_only_the_first_are_looked_at(home: Home) {
    let server = home.launch().start().await;
    let client = server.client();
    // Each reference reads some twenty megabytes on its way to the innermost value.
    let nested = (0..40).fold(json!(1), |inner, _| json!({ "p": "x".repeat(24_000), "a": inner }));
    let body = format!("{{input{}}}", ".a".repeat(40));
    let steps: Vec<Value> = (0..4)
        .map(|at| {
            json!({ "id": format!("s{at}"), "kind": "http",
                "with": { "url": "http://127.0.0.1:1/", "json": body },
                "retry": { "maxAttempts": 2, "initialInterval": "10m", "maxInterval": "1h" } })
        })
        .collect();
    let workflow = json!({ "name": "w", "steps": steps });
    client.invoke(&json!({ "workflow": workflow, "input": nested, "threadId": "t" })).await;
    let causes = eventually("all four retry", async || {
        let causes = told(&client, "t").await["causes"].as_array().unwrap().clone();
        (causes.len() == 4 && causes.iter().all(|one| one["kind"] == "retry")).then_some(causes)
    })
    .await;
    assert!(causes[0]["detail"]["circuit"]["key"].is_string(), "{causes:#?}");
    assert_eq!(causes[3]["detail"]["circuit"], Value::Null, "{causes:#?}");
}

async fn an_open_circuit_is_told_with_its_half_open_moment(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let breaker = json!({ "key": "the-bank", "failureThreshold": 1, "resetTimeout": "10m" });
    let step = json!({ "id": "s", "kind": "http", "with": { "url": recorder.url("status/503/x") },
        "retry": { "maxAttempts": 5, "initialInterval": "20ms" }, "breaker": breaker });
    client.invoke(&one(&step)).await;
    let refused = async || {
        let open = cause(&client, "t", "circuit").await;
        (open["detail"]["error"]["code"] == "circuit_open").then_some(open)
    };
    let open = eventually("its retry waits for the circuit", refused).await;
    let circuit = &open["detail"]["circuit"];
    assert_eq!((&circuit["key"], &circuit["state"]), (&json!("the-bank"), &json!("open")));
    let retry_at = circuit["retryAt"].as_str().unwrap();
    assert!(open["sentence"].as_str().unwrap().contains("the circuit of the-bank is open"));
    assert!(open["sentence"].as_str().unwrap().contains(retry_at), "{open:#}");
    assert!(open["until"].as_str().unwrap() >= retry_at, "{open:#}");
    act(&client, &open).await;
    client.completed("t").await;
}

async fn a_target_that_asked_to_be_left_alone_is_told(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let workflow = patient(&recorder.url("busy/900/x"));
    client.invoke(&json!({ "workflow": workflow, "threadId": "t" })).await;
    let cools = cause(&client, "t", "cool_down").await;
    assert!(cools["detail"]["circuit"]["coolsUntil"].is_string(), "{cools:#}");
    assert!(cools["sentence"].as_str().unwrap().contains("asked to be left alone"));
    act(&client, &cools).await;
    client.completed("t").await;
}

async fn a_sleep_is_told_and_ended(home: Home) {
    let server = home.start().await;
    let client = server.client();
    client.invoke(&one(&json!({ "id": "nap", "kind": "sleep", "with": { "for": "1h" } }))).await;
    let timer = cause(&client, "t", "timer").await;
    let status = client.status("t").await;
    assert_eq!(
        (&timer["until"], &timer["stepId"]),
        (&step(&status, "nap")["wakesAt"], &json!("nap"))
    );
    assert_eq!(timer["since"], step(&status, "nap")["startedAt"]);
    act(&client, &timer).await;
    let status = client.completed("t").await;
    assert!(step(&status, "nap")["output"]["sleptMs"].is_u64(), "{status:#}");
}

async fn a_signal_that_nobody_sent_is_told_and_sent(home: Home) {
    let server = home.start().await;
    let client = server.client();
    client.invoke(&one(&json!({ "id": "s", "kind": "signal", "with": { "name": "go" } }))).await;
    let signal = cause(&client, "t", "signal").await;
    assert_eq!((&signal["byItself"], signal.get("until")), (&json!(false), None));
    assert_eq!(signal["detail"]["signal"], "go");
    act(&client, &signal).await;
    client.completed("t").await;
}

async fn an_approval_is_told_and_decided(home: Home) {
    let server = home.start().await;
    let client = server.client();
    let with = json!({ "prompt": "Ship it?", "choices": ["yes", "no"], "timeout": "1h" });
    client.invoke(&one(&json!({ "id": "ask", "kind": "approval", "with": with }))).await;
    let ask = cause(&client, "t", "approval").await;
    assert!(ask["sentence"].as_str().unwrap().contains("Ship it?"), "{ask:#}");
    assert_eq!(ask["detail"]["choices"], json!(["yes", "no"]));
    assert_eq!(ask["until"], ask["detail"]["expiresAt"]);
    act(&client, &ask).await;
    let status = client.completed("t").await;
    assert_eq!(step(&status, "ask")["output"]["choice"], "yes");
}

async fn a_failure_that_asks_a_person_is_told_and_decided(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let step = json!({ "id": "s", "kind": "http", "with": { "url": recorder.url("fail/1/x") },
                       "retry": { "maxAttempts": 1 } });
    let workflow = json!({ "name": "w", "onFailure": "pause", "steps": [step] });
    client.invoke(&json!({ "workflow": workflow, "threadId": "t" })).await;
    let failure = cause(&client, "t", "failure").await;
    assert_eq!(failure["detail"]["error"]["code"], "http_status");
    assert_eq!(failure["detail"]["choices"], json!(["retry", "skip", "abort"]));
    act(&client, &failure).await;
    client.completed("t").await;
}

async fn a_pause_is_told_with_who_and_why_and_resumed(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let workflow = chain(&recorder, &["wait/one", "ok/two"]);
    client.invoke(&json!({ "workflow": workflow, "threadId": "t" })).await;
    recorder.reached("one", 1).await;
    client.post("/threads/t/pause", &json!({ "reason": "lunch" })).await.expect(200);
    let both = told(&client, "t").await;
    assert_eq!((&both["causes"][1]["kind"], &both["moving"]), (&json!("attempt"), &json!(true)));
    recorder.release("one");
    // Released by its driver, it may be claimed once more for the end of its attempt.
    let idle = eventually("nothing is under way", async || {
        let told = told(&client, "t").await;
        (told["moving"] == json!(false) && told["causes"][0]["kind"] == "paused").then_some(told)
    });
    let paused = idle.await["causes"][0].clone();
    assert_eq!(paused["byItself"], json!(false));
    assert_eq!(paused["detail"], json!({ "by": "anonymous", "reason": "lunch" }));
    assert!(paused["since"].is_string());
    act(&client, &paused).await;
    client.completed("t").await;
}

async fn an_attempt_under_way_is_told_and_done_without(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let step = json!({ "id": "s", "kind": "http", "with": { "url": recorder.url("wait/x") },
                       "timeout": "10m", "heartbeatTimeout": "5m" });
    client.invoke(&one(&step)).await;
    recorder.reached("x", 1).await;
    let told = told(&client, "t").await;
    let attempt = &told["causes"][0];
    assert_eq!((&told["moving"], &attempt["kind"]), (&json!(true), &json!("attempt")));
    assert_eq!(attempt["detail"]["timeoutMs"], json!(600_000));
    assert!(attempt["detail"]["silentMs"].is_u64(), "{attempt:#}");
    assert_eq!(attempt["detail"]["replica"], told["owner"]);
    assert!(attempt["until"].is_string() && told["owner"].is_string());
    act(&client, attempt).await;
    client.completed("t").await;
}

async fn an_end_is_told_and_a_failed_thread_resumed(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let step = json!({ "id": "s", "kind": "http", "with": { "url": recorder.url("down/x") },
                       "retry": { "maxAttempts": 1 } });
    client.invoke(&one(&step)).await;
    client.ended("t").await;
    let failed = cause(&client, "t", "failed").await;
    assert_eq!((&failed["stepId"], &failed["byItself"]), (&json!("s"), &json!(false)));
    assert!(failed["sentence"].as_str().unwrap().contains("http_status"), "{failed:#}");
    recorder.release("x");
    act(&client, &failed).await;
    client.completed("t").await;

    let workflow = hanging(&recorder, "hangs");
    client.invoke(&json!({ "workflow": workflow, "threadId": "u" })).await;
    recorder.reached("hangs", 1).await;
    client.post("/threads/u/abort", &json!({ "reason": "no" })).await.expect(200);
    let aborted = cause(&client, "u", "aborted").await;
    assert_eq!(
        aborted["detail"],
        json!({ "by": "anonymous", "reason": "no", "error": null, "compensation": null })
    );
    recorder.release("hangs");
    act(&client, &aborted).await;
    client.completed("u").await;

    client.get("/threads/nosuch/explain").await.expect(404);
    client.get("/threads/t/explain?x=1").await.expect(400);
}

async fn a_thread_that_cannot_be_read_is_explained_all_the_same(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    server
        .client()
        .invoke(&json!({ "workflow": hanging(&recorder, "x"), "threadId": "hurt" }))
        .await;
    recorder.reached("x", 1).await;
    server.kill9().await;
    super::damage::hurt(&home).await;
    let server = home.start().await;
    let client = server.client();
    let tried = async || {
        let cause = cause(&client, "hurt", "unreadable").await;
        cause.get("until").is_some_and(Value::is_string).then_some(cause)
    };
    let cause = eventually("it is tried and left alone", tried).await;
    assert!(cause["sentence"].as_str().unwrap().contains("checksum"), "{cause:#}");
    assert_eq!((&cause["call"], &cause["byItself"]), (&Value::Null, &json!(true)));
    assert_eq!(told(&client, "hurt").await["moving"], json!(false));
}

#[tokio::test]
async fn a_silent_replica_and_the_mail_it_does_not_take_are_told_by_another() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let launch = || home.launch().set("RETHREAD_LEASE", "8s");
    let (first, second) = (launch().start().await, launch().start().await);
    let client = second.client();
    let workflow = chain(&recorder, &["wait/x", "ok/y"]);
    first.client().invoke(&json!({ "workflow": workflow, "threadId": "t" })).await;
    recorder.reached("x", 1).await;
    let elsewhere = told(&client, "t").await;
    assert_eq!(
        (&elsewhere["causes"][0]["kind"], &elsewhere["moving"]),
        (&json!("attempt"), &json!(true))
    );
    assert_ne!(elsewhere["owner"], elsewhere["replica"]);
    first.signal(Signal::SIGSTOP);
    let asking = client.clone();
    beside(async move { asking.post("/threads/t/pause", &json!({})).await });
    let mail = eventually("the pause lies in the inbox", async || {
        let told = told(&client, "t").await;
        let found = told["causes"].as_array().unwrap().iter().find(|one| one["kind"] == "mail");
        found.cloned()
    });
    let letter = json!({ "asks": "pause", "by": "anonymous" });
    assert_eq!(mail.await["detail"]["messages"], json!([letter]));
    let lease = cause(&client, "t", "lease").await;
    assert!(lease["until"].is_string() && lease["call"].is_null(), "{lease:#}");
    assert_eq!(told(&client, "t").await["moving"], json!(false));
    // Then the other takes over, and the mail.
    let paused = cause(&client, "t", "paused").await;
    recorder.release("x");
    act(&client, &paused).await;
    client.completed("t").await;
    first.signal(Signal::SIGCONT);
}

#[tokio::test]
async fn a_killed_owner_is_told_until_another_has_room() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let launch = || home.launch().set("RETHREAD_LEASE", "10m").set("RETHREAD_MAX_RUNNING", "1");
    let (first, second) = (launch().start().await, launch().start().await);
    for (server, name) in [(&first, "lost"), (&second, "other")] {
        let body = json!({ "workflow": hanging(&recorder, name), "threadId": name });
        server.client().invoke(&body).await;
        recorder.reached(name, 1).await;
    }
    let client = second.client();
    first.kill9().await;
    let lost = eventually("its lease is over", async || {
        let lease = cause(&client, "lost", "lease").await;
        lease["sentence"].as_str().unwrap().contains("has run out").then_some(lease)
    });
    let lost = lost.await;
    assert!(lost["sentence"].as_str().unwrap().contains("no other replica is alive"), "{lost:#}");
    assert_eq!((&lost["byItself"], &lost["call"]), (&json!(true), &Value::Null));
    let told = told(&client, "lost").await;
    assert_eq!((&told["causes"][1]["kind"], &told["moving"]), (&json!("attempt"), &json!(false)));
    recorder.release("other");
    recorder.release("lost");
    client.completed("lost").await;
}

#[tokio::test]
async fn a_circuit_that_only_another_replica_knows_is_told_from_the_journal() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let (first, second) = (home.start().await, home.start().await);
    let breaker = json!({ "failureThreshold": 1, "resetTimeout": "8s" });
    let step = json!({ "id": "s", "kind": "http", "with": { "url": recorder.url("down/x") },
        "retry": { "maxAttempts": 9, "initialInterval": "20ms" }, "breaker": breaker });
    first.client().invoke(&one(&step)).await;
    let refused = |status: &Value| status["steps"][0]["error"]["code"] == "circuit_open";
    first.client().until("t", "is refused", refused).await;
    let open = cause(&second.client(), "t", "circuit").await;
    assert_eq!(open["detail"]["circuit"]["state"], Value::Null, "{open:#}");
    assert!(open["sentence"].as_str().unwrap().contains("was open"), "{open:#}");
    assert!(open["until"].is_string());
    recorder.release("x");
    tokio::time::timeout(Duration::from_secs(25), second.client().completed("t")).await.unwrap();
}

#[tokio::test]
async fn the_command_line_tells_it_with_calls_for_a_shell() {
    let home = Home::sqlite().await;
    let key = "k3y-of-the-operators";
    let server = home.launch().set("RETHREAD_API_KEYS", &format!("ops:{key}")).start().await;
    let client = server.client().with_key(key);
    client.invoke(&one(&json!({ "id": "s", "kind": "signal", "with": { "name": "go" } }))).await;
    cause(&client, "t", "signal").await;
    std::fs::write(home.folder.path().join("key"), format!("{key}\n")).unwrap();
    let url = server.url();
    let output = home.launch().output(&["explain", "t", &url, "--key-file", "key"]).await;
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("- Step s waits for the signal go since"), "{said}");
    let curl = format!(
        "curl -X POST {url}/threads/t/signals/go -H \"Authorization: Bearer $(cat 'key')\""
    );
    assert!(said.contains(&curl), "{said}");
    let page = client.get("/ui/threads/t").await.expect(200);
    assert!(page.text().contains("id=\"why\"") && page.text().contains("/threads/t/explain"));
}
