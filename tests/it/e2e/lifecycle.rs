//! A thread's life as a client sees it, the same on every store.

use std::collections::HashSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::support::flows::{hanging, workflow};
use super::support::{Answer, Home, Recorder, on_stores};

on_stores!([memory, sqlite, postgres] [
    a_thread_is_accepted_runs_and_shows_the_same_everywhere,
    aliases_are_the_same_routes,
    invoke_waits_for_the_end_and_no_longer_than_asked,
    a_status_is_conditional_partial_and_historical,
    estimates_come_with_completions,
    one_idempotency_key_makes_one_thread,
    a_thread_id_is_answered_refused_or_resumed,
    a_request_is_the_same_however_its_members_are_ordered,
    a_repeat_stays_one_when_its_stored_workflow_has_a_new_version,
    an_abort_ends_a_running_thread_and_a_resume_goes_on,
]);

async fn a_thread_is_accepted_runs_and_shows_the_same_everywhere(home: Home) {
    let server = home.start().await;
    let client = server.client();
    let body = json!({
        "workflow": workflow("w"), "input": { "x": 20 }, "threadId": "t1", "metadata": { "team": "a" }
    });
    let answer = client.post("/invoke/async", &body).await.expect(202);
    assert_eq!(answer.header("location"), "/status/t1");
    let accepted = answer.json();
    assert_eq!(accepted["threadId"], "t1");
    assert_eq!((&accepted["created"], &accepted["resumed"]), (&json!(true), &json!(false)));
    assert_eq!(accepted["estimatedDurationMs"], Value::Null);
    assert_eq!(accepted["links"], json!({ "status": "/status/t1", "stream": "/stream/t1" }));

    let frames = client.stream("/stream/t1", &[]).await.rest().await;
    let status = client.status("t1").await;
    assert_eq!(status["status"], "completed");
    assert_eq!(status["workflow"], json!({ "name": "w", "version": null }));
    assert_eq!(status["progress"], json!({ "completed": 3, "total": 3 }));
    assert_eq!(status["currentSteps"], json!([]));
    assert_eq!(status["input"], json!({ "x": 20 }));
    assert_eq!(status["metadata"], json!({ "team": "a" }));
    assert_eq!(status["output"], json!({ "b": 42, "c": [21, 21] }));
    assert_eq!((&status["recoveries"], &status["error"]), (&json!(0), &Value::Null));
    let step = &status["steps"][0];
    assert_eq!((&step["id"], &step["kind"]), (&json!("a"), &json!("transform")));
    assert_eq!((&step["status"], &step["attempts"]), (&json!("completed"), &json!(1)));
    assert_eq!((&step["output"], &step["sessionId"]), (&json!(21), &Value::Null));
    for time in ["createdAt", "updatedAt", "completedAt"] {
        let text = status[time].as_str().unwrap();
        assert!(text.len() == 24 && text.ends_with('Z'), "{time}: {text}");
    }

    let events = client.events("t1").await;
    let streamed: Vec<_> = frames.iter().map(|frame| frame.data.clone()).collect();
    assert_eq!(streamed, events);
    assert_eq!(status["lastSeq"], json!(events.len()));
    for (index, frame) in frames.iter().enumerate() {
        let event: Value = serde_json::from_str(&frame.data).unwrap();
        assert_eq!(frame.id.as_deref(), Some((index + 1).to_string().as_str()));
        assert_eq!(event["seq"], json!(index + 1));
        assert_eq!(event["type"], frame.event.as_str());
        assert_eq!(event["threadId"], "t1");
        assert_eq!(frame.retry.is_some(), index == 0);
    }
    assert_eq!(frames[0].event, "workflow_start");
    assert_eq!(frames.last().unwrap().event, "workflow_complete");
}

async fn aliases_are_the_same_routes(home: Home) {
    let server = home.start().await;
    let client = server.client();
    let body = json!({ "workflow": workflow("w"), "input": { "x": 1 }, "threadId": "t1" });
    client.post("/api/invoke/async", &body).await.expect(202);
    let status = client.completed("t1").await;
    let alias = client.get("/api/invoke-status/status/t1").await.expect(200);
    assert_eq!(alias.json(), status);
    let frames = client.stream("/api/invoke/stream/t1", &[]).await.rest().await;
    assert_eq!(frames.len(), client.events("t1").await.len());
    let health = client.get("/api/health/checkpointer").await.expect(200).json();
    assert_eq!(health["backend"], home.store());
}

async fn invoke_waits_for_the_end_and_no_longer_than_asked(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let quick = json!({ "workflow": workflow("w"), "input": { "x": 1 } });
    let answer = client.post("/invoke", &quick).await.expect(200);
    assert_eq!(answer.json()["status"], "completed");
    assert!(answer.header("location").starts_with("/status/"));

    let slow = json!({ "workflow": hanging(&recorder, "h"), "threadId": "slow" });
    let answer = client.post("/invoke?wait=100ms", &slow).await.expect(202).json();
    assert_eq!((&answer["threadId"], &answer["status"]), (&json!("slow"), &json!("running")));
    let prefer = [("content-type", "application/json"), ("prefer", "wait=0")];
    let answer = client.send("POST", "/invoke", &prefer, slow.to_string()).await;
    assert_eq!(answer.expect(202).json()["created"], json!(false));
    let held = client.get("/status/slow?wait=100").await.expect(200).json();
    assert_eq!(held["status"], "running");
    assert_eq!(held["currentSteps"], json!(["s"]));

    let waiting = client.get("/status/slow?wait=30s");
    let release = async { recorder.release("h") };
    let (answer, ()) = tokio::join!(waiting, release);
    assert_eq!(answer.expect(200).json()["status"], "completed");
}

async fn a_status_is_conditional_partial_and_historical(home: Home) {
    let server = home.start().await;
    let client = server.client();
    let thread = client.invoke(&json!({ "workflow": workflow("w"), "input": { "x": 1 } })).await;
    let status = client.completed(&thread).await;
    let path = format!("/status/{thread}");
    let tag = client.get(&path).await.header("etag").to_owned();
    assert_eq!(tag, format!("\"{}\"", status["lastSeq"]));
    let same = client.send("GET", &path, &[("if-none-match", &tag)], "").await.expect(304);
    assert!(same.body.is_empty());
    assert_eq!(same.header("etag"), tag);
    client.send("GET", &path, &[("if-none-match", "\"1\"")], "").await.expect(200);

    let partial = client.get(&format!("{path}?outputs=false")).await.expect(200).json();
    assert!(partial.get("input").is_none() && partial.get("output").is_none());
    assert!(partial["steps"][0].get("output").is_none());
    assert_eq!(partial["status"], "completed");

    let first = client.get(&format!("{path}?at=1")).await.expect(200).json();
    assert_eq!((&first["lastSeq"], &first["output"]), (&json!(1), &Value::Null));
    assert_eq!(first["progress"]["completed"], json!(0));
    let last = client.get(&format!("{path}?at={}", status["lastSeq"])).await.expect(200).json();
    assert_eq!(last["output"], status["output"]);
    client.get(&format!("{path}?at=0")).await.expect(400);
}

async fn estimates_come_with_completions(home: Home) {
    let server = home.start().await;
    let client = server.client();
    let body = json!({ "workflow": workflow("w"), "input": { "x": 1 } });
    assert_eq!(client.post("/invoke", &body).await.expect(200).json()["status"], "completed");
    super::support::eventually("an estimate", async || {
        let answer = client.post("/invoke/async", &body).await.expect(202).json();
        answer["estimatedDurationMs"].as_u64()
    })
    .await;
}

async fn one_idempotency_key_makes_one_thread(home: Home) {
    let server = home.start().await;
    let client = server.client();
    let body = json!({ "workflow": workflow("w"), "input": { "x": 1 } }).to_string();
    let headers = [("content-type", "application/json"), ("idempotency-key", "k 1")];
    let calls = (0..20).map(|_| client.send("POST", "/invoke/async", &headers, body.clone()));
    let answers: Vec<Answer> = join_all(calls).await;
    let threads: HashSet<_> =
        answers.iter().map(|answer| answer.json()["threadId"].to_string()).collect();
    assert_eq!(threads.len(), 1);
    let created = |answer: &&Answer| answer.json()["created"] == json!(true);
    assert_eq!(answers.iter().filter(created).count(), 1);
    for answer in &answers {
        let first = created(&answer);
        assert_eq!(answer.status, if first { 202 } else { 200 });
        assert_eq!(answer.header("idempotent-replayed"), if first { "" } else { "true" });
    }
    let list = client.get("/threads").await.json();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);

    let other = json!({ "workflow": workflow("w"), "input": { "x": 2 } }).to_string();
    let refused = client.send("POST", "/invoke/async", &headers, other).await.expect(422);
    assert_eq!(refused.json()["code"], "idempotency_mismatch");
}

async fn a_thread_id_is_answered_refused_or_resumed(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let body = json!({ "workflow": workflow("w"), "input": { "x": 1 }, "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    let again = client.post("/invoke/async", &body).await.expect(200).json();
    assert_eq!((&again["created"], &again["resumed"]), (&json!(false), &json!(false)));
    client.completed("t1").await;
    client.post("/invoke/async", &json!({ "threadId": "t1" })).await.expect(200);
    let other = json!({ "workflow": workflow("w"), "input": { "x": 2 }, "threadId": "t1" });
    let refused = client.post("/invoke/async", &other).await.expect(409);
    assert_eq!(refused.json()["code"], "thread_conflict");

    // The first step completes, the second fails for good; resumed, only the second runs again.
    let flow = json!({ "name": "f", "steps": [
        { "id": "one", "kind": "http", "with": { "url": recorder.url("ok/one") } },
        { "id": "two", "kind": "http", "with": { "url": recorder.url("fail/1/two") },
          "dependsOn": ["one"], "retry": { "maxAttempts": 1 } },
    ]});
    let body = json!({ "workflow": flow, "threadId": "t2" });
    client.post("/invoke/async", &body).await.expect(202);
    let failed = client.ended("t2").await;
    assert_eq!(failed["status"], "failed");
    assert_eq!(failed["error"]["code"], "http_status");
    assert_eq!(failed["error"]["stepId"], "two");
    let seen = failed["lastSeq"].to_string();
    client.send("GET", "/stream/t2", &[("last-event-id", &seen)], "").await.expect(204);
    let resumed = client.post("/invoke/async", &body).await.expect(202).json();
    assert_eq!((&resumed["created"], &resumed["resumed"]), (&json!(false), &json!(true)));
    client.completed("t2").await;
    assert_eq!((recorder.count("t2/one"), recorder.count("t2/two")), (1, 2));
    // A stream that had seen the first end goes on.
    let rest = client.stream("/stream/t2", &[("last-event-id", &seen)]).await.rest().await;
    assert_eq!(rest[0].event, "workflow_resumed");
    assert_eq!(rest.last().unwrap().event, "workflow_complete");
}

async fn a_request_is_the_same_however_its_members_are_ordered(home: Home) {
    let server = home.start().await;
    let client = server.client();
    let body = |workflow: &str, input: &str| {
        format!(r#"{{"workflow":{workflow},"input":{input},"metadata":{{"a":1,"b":2}}}}"#)
    };
    let step = r#"{"id":"a","kind":"transform","with":{"jq":".","from":"{input}"}}"#;
    let turned = r#"{"with":{"from":"{input}","jq":"."},"kind":"transform","id":"a"}"#;
    let one = body(&format!(r#"{{"name":"w","steps":[{step}]}}"#), r#"{"x":1,"y":[2]}"#);
    let same = body(&format!(r#"{{"steps":[{turned}],"name":"w"}}"#), r#"{"y":[2],"x":1}"#);
    let same = same.replace(r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#);
    let other = body(&format!(r#"{{"name":"w","steps":[{step}]}}"#), r#"{"x":1,"y":[3]}"#);
    let keyed = [("content-type", "application/json"), ("idempotency-key", "k")];
    let first = client.send("POST", "/invoke/async", &keyed, one.clone()).await.expect(202).json();
    let again = client.send("POST", "/invoke/async", &keyed, same.clone()).await.expect(200);
    assert_eq!(again.json()["threadId"], first["threadId"]);
    client.send("POST", "/invoke/async", &keyed, other.clone()).await.expect(422);
    let named = |body: &str| body.replacen('{', r#"{"threadId":"t","#, 1);
    let plain = [("content-type", "application/json")];
    client.send("POST", "/invoke/async", &plain, named(&one)).await.expect(202);
    client.send("POST", "/invoke/async", &plain, named(&same)).await.expect(200);
    client.send("POST", "/invoke/async", &plain, named(&other)).await.expect(409);
    let input = json!({ "threadId": "t", "input": { "y": [2], "x": 1 } });
    client.post("/invoke/async", &input).await.expect(200);
    let input = json!({ "threadId": "t", "input": { "y": [3], "x": 1 } });
    client.post("/invoke/async", &input).await.expect(409);
}

async fn a_repeat_stays_one_when_its_stored_workflow_has_a_new_version(home: Home) {
    let server = home.start().await;
    let client = server.client();
    let version = |jq: &str| json!({ "name": "s", "steps": [{ "id": "a", "kind": "transform", "with": { "jq": jq } }] });
    let keyed = [("content-type", "application/json"), ("idempotency-key", "k")];
    let body = json!({ "workflow": "s", "input": 1 });
    let named = json!({ "workflow": "s", "input": 1, "threadId": "t" });
    client.post("/workflows", &version("1")).await.expect(201);
    let first =
        client.send("POST", "/invoke/async", &keyed, body.to_string()).await.expect(202).json();
    client.post("/invoke/async", &named).await.expect(202);
    client.post("/workflows", &version("2")).await.expect(201);
    let again = client.send("POST", "/invoke/async", &keyed, body.to_string()).await.expect(200);
    assert_eq!(again.json()["threadId"], first["threadId"]);
    client.post("/invoke/async", &named).await.expect(200);
    let pinned = json!({ "workflow": "s@2", "input": 1 });
    client.send("POST", "/invoke/async", &keyed, pinned.to_string()).await.expect(422);
    for other in [json!({ "workflow": "s", "input": 2 }), pinned] {
        let mut other = other;
        other["threadId"] = json!("t");
        client.post("/invoke/async", &other).await.expect(409);
    }
    assert_eq!(client.completed("t").await["output"]["a"], 1);
}

async fn an_abort_ends_a_running_thread_and_a_resume_goes_on(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let body = json!({ "workflow": hanging(&recorder, "h"), "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    recorder.reached("h", 1).await;
    client.post("/threads/t1/resume", &json!({})).await.expect(409);
    let stale = [("if-match", "\"1\""), ("content-type", "application/json")];
    client.send("POST", "/threads/t1/abort", &stale, "{}").await.expect(412);
    let answer = client.post("/threads/t1/abort", &json!({ "reason": "because" })).await;
    assert!(matches!(answer.status, 200 | 202), "{}", answer.text());
    let aborted = client.ended("t1").await;
    assert_eq!(aborted["status"], "aborted");
    let last: Value = serde_json::from_str(client.events("t1").await.last().unwrap()).unwrap();
    assert_eq!(last["type"], "workflow_aborted");
    assert_eq!(last["data"], json!({ "by": "anonymous", "reason": "because" }));
    client.post("/threads/t1/abort", &json!({})).await.expect(409);

    recorder.release("h");
    client.post_text("/threads/t1/resume", "").await.expect(202);
    client.completed("t1").await;
    let keys: HashSet<_> = recorder.hits_of("h").into_iter().map(|hit| hit.key).collect();
    assert_eq!(keys, HashSet::from(["t1/s".to_owned()]));
    client.post("/threads/t1/resume", &json!({})).await.expect(409);
    client.post("/threads/none/resume", &json!({})).await.expect(404);
}
