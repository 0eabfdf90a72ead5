//! Everything that people do, through a replica that does not own the thread: while it runs, while
//! it is parked, and when its owner has just been killed; and two people at once.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use super::support::acts::{Act, finish, on_version};
use super::support::flows::{flow, gapless, step};
use super::support::{Client, Home, PATIENCE, Recorder, dead, eventually};

/// Does one thing to each of as many threads through `client`, and sees that it is done once.
async fn each_is_done_once(client: &Client, recorder: &Recorder, threads: &[(Act, String)]) {
    join_all(threads.iter().map(|(act, thread)| act.done(client, thread))).await;
    for (act, thread) in threads {
        client.until(thread, &format!("shows {act:?}"), |status| act.shows(status)).await;
        assert_eq!(act.told(client, thread).await, 1, "{act:?} of {thread}");
        if *act == Act::Pause && !thread.starts_with("parked") {
            keeps_what_ends(client, recorder, thread).await;
        }
    }
    for (act, thread) in threads {
        let status = finish((client, recorder), thread).await;
        let wanted = match act {
            Act::Edit => 41,
            Act::Resume => 2,
            Act::Pause | Act::Abort | Act::Retry | Act::Skip | Act::Signal | Act::Resolve => 1,
        };
        assert_eq!(step(&status, "u")["output"], json!(wanted), "{act:?} of {thread}");
        let retried = recorder.hits_of(&format!("retried-{thread}"));
        assert_eq!(retried.len(), 2, "{act:?} of {thread}");
        completed_once(client, thread, *act).await;
    }
}

/// The result of a running attempt of a paused thread is kept, and nothing follows from it.
async fn keeps_what_ends(client: &Client, recorder: &Recorder, thread: &str) {
    let held = client.status(thread).await;
    if step(&held, "hold")["status"] != "running" {
        // It was lost with its replica, and is not made again while the thread is paused.
        assert_eq!(step(&held, "hold")["status"], "pending");
        return;
    }
    recorder.release(&format!("hold-{thread}"));
    let ended = |status: &Value| step(status, "hold")["status"] == "completed";
    let status = client.until(thread, "hold has ended", ended).await;
    assert_eq!(
        (&status["status"], &step(&status, "u")["status"]),
        (&json!("paused"), &json!("pending"))
    );
}

/// No step has completed twice, but for those that were to run again.
async fn completed_once(client: &Client, thread: &str, act: Act) {
    let events = gapless(client, thread).await;
    for id in ["t", "hold", "u", "r", "kd", "w", "a"] {
        let completed = |event: &&Value| event["type"] == "step_complete" && event["stepId"] == id;
        let wanted = if act == Act::Resume && id == "t" { 2 } else { 1 };
        assert_eq!(events.iter().filter(completed).count(), wanted, "{id} of {thread}");
    }
}

fn named(place: &str) -> Vec<(Act, String)> {
    Act::ALL.map(|act| (act, format!("{place}-{act:?}"))).to_vec()
}

async fn prepared(client: &Client, recorder: &Recorder, place: &str) -> Vec<(Act, String)> {
    let threads = named(place);
    let parked = place == "parked";
    let all = threads.iter().map(|(act, thread)| act.prepare((client, recorder), thread, parked));
    join_all(all).await;
    threads
}

#[tokio::test]
async fn everything_people_do_to_a_running_thread_is_done_once_through_another_replica() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let (first, second) = (home.start().await, home.start().await);
    let threads = prepared(&first.client(), &recorder, "runs").await;
    each_is_done_once(&second.client(), &recorder, &threads).await;
}

#[tokio::test]
async fn everything_people_do_to_a_parked_thread_is_done_once_on_any_replica() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let (first, second) = (home.start().await, home.start().await);
    let threads = prepared(&first.client(), &recorder, "parked").await;
    each_is_done_once(&second.client(), &recorder, &threads).await;
}

#[tokio::test]
async fn everything_people_do_when_the_owner_was_just_killed_is_done_once() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let first = home.start().await;
    let threads = prepared(&first.client(), &recorder, "killed").await;
    // Started late, so that the first owns all of them.
    let second = home.start().await;
    let client = second.client();
    client.status(&threads[0].1).await;
    first.kill9().await;
    each_is_done_once(&client, &recorder, &threads).await;
    for (act, thread) in &threads {
        let events = gapless(&client, thread).await;
        let recovered = events.iter().filter(|event| event["type"] == "workflow_recovered");
        let lost: Vec<&Value> = recovered.map(|event| &event["data"]["steps"]).collect();
        // Steps that were set going by what was asked were not lost with anybody.
        assert_eq!(lost, [&json!(["hold"])], "{act:?}");
    }
}

#[tokio::test]
async fn an_abort_through_another_replica_ends_programs_and_drops_requests() {
    let home = Home::postgres().await;
    let launch = || home.launch().set("RETHREAD_EXEC_ALLOW", "sh");
    let (first, second) = (launch().start().await, launch().start().await);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    // With a child of its own, which only the end of the whole group reaches.
    let script = "sleep 1000 & echo $$ $! > pids.tmp && mv pids.tmp pids; wait";
    let steps = json!([
        { "id": "program", "kind": "exec", "with": {
            "program": "sh", "args": ["-c", script], "cwd": home.folder.path() } },
        { "id": "request", "kind": "http", "with": { "url": url } },
    ]);
    first.client().invoke(&json!({ "workflow": flow(&steps), "threadId": "t" })).await;
    let (mut request, _) = listener.accept().await.unwrap();
    let pids = eventually("the program runs", async || {
        std::fs::read_to_string(home.folder.path().join("pids")).ok()
    })
    .await;
    second.client().post("/threads/t/abort", &json!({ "reason": "enough" })).await.expect(200);
    for pid in pids.split_whitespace() {
        dead(pid).await;
    }
    let mut bytes = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, request.read_to_end(&mut bytes)).await;
    assert!(closed.is_ok(), "the request goes on");
    let events = gapless(&second.client(), "t").await;
    let last = events.last().unwrap();
    assert_eq!(
        (&last["type"], &last["data"]["reason"]),
        (&json!("workflow_aborted"), &json!("enough"))
    );
}

#[tokio::test]
async fn what_waits_for_somebody_alone_after_a_takeover_was_recovered() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let first = home.start().await;
    let steps = json!([
        { "id": "hold", "kind": "http", "with": { "url": recorder.url("wait/hold") } },
        { "id": "w", "kind": "signal", "with": { "name": "go" } },
    ]);
    first.client().invoke(&json!({ "workflow": flow(&steps), "threadId": "t" })).await;
    recorder.reached("hold", 1).await;
    let second = home.start().await;
    let client = second.client();
    first.kill9().await;
    client.post("/threads/t/steps/hold/skip", &json!({})).await.expect(200);
    let ended = eventually("the recovery has ended", async || {
        let list = client.get("/threads/t/recoveries").await.expect(200).json();
        Some(list["items"][0]["result"].clone()).filter(|result| !result.is_null())
    });
    assert_eq!(ended.await, "recovered");
    client.post("/threads/t/signals/go", &json!(1)).await.expect(202);
    let status = client.completed("t").await;
    assert_eq!(status["recoveries"], json!(1));
    recorder.release("hold");
}

#[tokio::test]
async fn of_two_people_on_two_replicas_exactly_one_does_what_both_saw_fit() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let (first, second) = (home.start().await, home.start().await);
    let clients = [first.client(), second.client()];
    for place in ["runs", "parked"] {
        for (act, thread) in prepared(&clients[0], &recorder, place).await {
            let seen = clients[0].get(&format!("/status/{thread}")).await.expect(200);
            let seen = seen.header("etag");
            let call = act.call(&clients[0], &thread).await;
            let [one, other] = clients.each_ref().map(|client| on_version(client, &call, seen));
            let (one, other) = tokio::join!(one, other);
            let mut statuses = [one.status, other.status];
            statuses.sort_unstable();
            let told = format!("{act:?} of {thread}: {} {}", one.text(), other.text());
            assert!(matches!(statuses, [200 | 202, 412]), "{statuses:?} {told}");
            assert_eq!(act.told(&clients[1], &thread).await, 1, "{told}");
            // Whoever comes later with what was seen then is too late as well.
            let late = on_version(&clients[1], &call, seen).await.expect(412);
            assert_eq!(late.json()["code"], "precondition_failed");
        }
    }
}

#[tokio::test]
async fn who_deletes_and_who_resumes_do_not_both_have_their_way() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let (first, second) = (home.start().await, home.start().await);
    for round in 0..20 {
        let thread = format!("t{round}");
        let steps = json!([{ "id": "a", "kind": "http", "retry": { "maxAttempts": 1 },
            "breaker": { "failureThreshold": 1000 },
            "with": { "url": recorder.url(&format!("fail/1/{thread}")) } }]);
        let body = json!({ "workflow": { "name": "w", "steps": steps }, "threadId": thread });
        first.client().invoke(&body).await;
        let client = second.client();
        client.until(&thread, "has failed", |status| status["status"] == "failed").await;
        let seen = client.get(&format!("/status/{thread}")).await.header("etag").to_owned();
        let headers = [("if-match", seen.as_str()), ("content-type", "application/json")];
        let bare = [("if-match", seen.as_str())];
        let (path, other) = (format!("/threads/{thread}"), first.client());
        let resume = format!("{path}/resume");
        let (deleted, resumed) = tokio::join!(
            client.send("DELETE", &path, &bare, ""),
            other.send("POST", &resume, &headers, "{}"),
        );
        match (deleted.status, resumed.status) {
            (204, 404) => {
                client.get(&path).await.expect(404);
            }
            (409 | 412, 202) => {
                client.completed(&thread).await;
                client.send("DELETE", &path, &bare, "").await.expect(412);
            }
            both => panic!("{both:?}: {} {}", deleted.text(), resumed.text()),
        }
    }
}
