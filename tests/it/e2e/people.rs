//! What people do to threads: pause, resume, retry, skip, edit, decide.

use serde_json::{Value, json};

use super::support::flows::{chain, flow, gapless, step, types};
use super::support::{Client, Home, Recorder, on_stores};

on_stores!([sqlite, postgres] [
    a_paused_thread_keeps_what_ends_and_starts_nothing,
    a_thread_is_resumed_from_a_step_on_with_another_input,
    a_thread_is_resumed_without_the_step_that_failed_it,
    a_retry_need_not_be_waited_for,
    a_running_step_is_skipped_with_an_output,
    an_output_is_edited_while_its_thread_is_paused,
    a_failure_asks_a_person_where_the_workflow_says_so,
    of_two_operators_one_acts_and_the_other_hears_of_it,
    the_inbox_is_filtered_and_paged,
    what_makes_no_sense_is_refused_and_changes_nothing,
]);

async fn paused(client: &Client, thread: &str) {
    client.until(thread, "it is paused", |status| status["status"] == "paused").await;
}

async fn a_paused_thread_keeps_what_ends_and_starts_nothing(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let workflow = chain(&recorder, &["wait/one", "ok/two"]);
    client.invoke(&json!({ "workflow": workflow, "threadId": "t" })).await;
    recorder.reached("one", 1).await;
    let answer = client.post("/threads/t/pause", &json!({ "reason": "lunch" })).await.expect(200);
    assert_eq!(answer.json()["status"], "paused");
    recorder.release("one");
    let ended = |status: &Value| step(status, "s0")["status"] == "completed";
    let status = client.until("t", "the attempt has ended", ended).await;
    assert_eq!(status["status"], "paused");
    assert_eq!(recorder.hits_of("two").len(), 0);

    client.post("/threads/t/resume", &json!({ "reason": "back" })).await.expect(202);
    client.completed("t").await;
    assert_eq!((recorder.hits_of("one").len(), recorder.hits_of("two").len()), (1, 1));
    let events = gapless(&client, "t").await;
    let said = |kind: &str| {
        let event = events.iter().find(|event| event["type"] == kind).unwrap();
        (event["data"]["by"].clone(), event["data"]["reason"].clone())
    };
    assert_eq!(said("workflow_paused"), (json!("anonymous"), json!("lunch")));
    assert_eq!(said("workflow_resumed"), (json!("anonymous"), json!("back")));
}

async fn a_thread_is_resumed_from_a_step_on_with_another_input(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let call = |id: &str, path: &str, needs: Value| {
        json!({ "id": id, "kind": "http", "dependsOn": needs,
                "with": { "url": recorder.url(path) }, "retry": { "maxAttempts": 1 } })
    };
    let workflow = json!({ "name": "w", "steps": [
        call("a", "ok/a", json!([])),
        call("b", "ok/b?n={input.n}", json!(["a"])),
        call("c", "status/500/c", json!(["b"])),
        call("d", "ok/d", json!([])),
    ] });
    let body = json!({ "workflow": workflow, "threadId": "t", "input": { "n": 1 } });
    client.invoke(&body).await;
    client.ended("t").await;
    let resume = json!({ "fromStep": "b", "skip": ["c"], "input": { "n": 2 } });
    client.post("/threads/t/resume", &resume).await.expect(202);
    let status = client.completed("t").await;
    let queries: Vec<_> = recorder.hits_of("b").iter().map(|hit| hit.query.clone()).collect();
    assert_eq!(queries, ["n=1", "n=2"]);
    let keys: Vec<_> = recorder.hits_of("b").iter().map(|hit| hit.key.clone()).collect();
    assert_eq!(keys, ["t/b", "t/b"], "the effect is the same one");
    assert_eq!(["a", "c", "d"].map(|name| recorder.hits_of(name).len()), [1, 1, 1]);
    assert_eq!(step(&status, "c")["status"], "skipped");
    assert_eq!(status["input"], json!({ "n": 2 }));
}

async fn a_thread_is_resumed_without_the_step_that_failed_it(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let steps = json!([
        { "id": "bad", "kind": "http", "with": { "url": recorder.url("status/404/bad") } },
        { "id": "after", "kind": "transform", "dependsOn": ["bad"],
          "with": { "from": "{bad.output}", "jq": "." } }
    ]);
    client.invoke(&json!({ "workflow": flow(&steps), "threadId": "t" })).await;
    assert_eq!(client.ended("t").await["status"], "failed");
    let skip = json!({ "output": { "by": "hand" }, "reason": "known" });
    client.post("/threads/t/steps/bad/skip", &skip).await.expect(200);
    let status = client.completed("t").await;
    assert_eq!(step(&status, "after")["output"], json!({ "by": "hand" }));
    assert_eq!(step(&status, "bad")["status"], "skipped");
    let events = gapless(&client, "t").await;
    let skipped = events.iter().find(|event| event["type"] == "step_skipped").unwrap();
    assert_eq!(skipped["data"]["by"], "anonymous");
    assert_eq!(skipped["data"]["reason"], "known");
}

async fn a_retry_need_not_be_waited_for(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let workflow = json!({ "name": "w", "steps": [
        { "id": "a", "kind": "http", "with": { "url": recorder.url("fail/1/a") },
          "retry": { "initialInterval": "1h", "maxInterval": "1h" } }
    ] });
    client.invoke(&json!({ "workflow": workflow, "threadId": "t" })).await;
    client
        .until("t", "it waits for its retry", |status| step(status, "a")["status"] == "retrying")
        .await;
    client.post("/threads/t/steps/a/retry", &json!({ "reason": "it is up" })).await.expect(202);
    client.completed("t").await;
    let events = gapless(&client, "t").await;
    let started = events.iter().rfind(|event| event["type"] == "step_start").unwrap();
    assert_eq!(started["data"]["by"], "anonymous");
    assert_eq!(started["data"]["reason"], "it is up");
}

async fn a_running_step_is_skipped_with_an_output(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let steps = json!([
        { "id": "long", "kind": "http", "with": { "url": recorder.url("wait/long") } },
        { "id": "after", "kind": "transform", "dependsOn": ["long"],
          "with": { "from": "{long.output}", "jq": ".n + 1" } }
    ]);
    client.invoke(&json!({ "workflow": flow(&steps), "threadId": "t" })).await;
    recorder.reached("long", 1).await;
    client.post("/threads/t/steps/long/skip", &json!({ "output": { "n": 1 } })).await.expect(200);
    let status = client.completed("t").await;
    assert_eq!(step(&status, "after")["output"], json!(2));
    // What it answers now is nobody's any more.
    recorder.release("long");
    assert_eq!(types(&client, "t").await.last().unwrap(), "workflow_complete");
}

async fn an_output_is_edited_while_its_thread_is_paused(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let steps = json!([
        { "id": "a", "kind": "transform", "with": { "jq": "1" } },
        { "id": "hold", "kind": "http", "dependsOn": ["a"],
          "with": { "url": recorder.url("wait/hold") } },
        { "id": "b", "kind": "transform", "dependsOn": ["hold", "a"],
          "with": { "from": "{a.output}", "jq": ". + 1" } }
    ]);
    client.invoke(&json!({ "workflow": flow(&steps), "threadId": "t" })).await;
    recorder.reached("hold", 1).await;
    let edit = json!({ "output": 41, "reason": "it was wrong" });
    let refused = client.post("/threads/t/steps/a/output", &edit).await.expect(409);
    assert_eq!(refused.json()["code"], "wrong_state");
    client.post("/threads/t/pause", &json!({})).await.expect(200);
    let refused = client.post("/threads/t/steps/b/output", &edit).await.expect(409);
    assert_eq!(refused.json()["code"], "wrong_step_state");
    client.post("/threads/t/steps/a/output", &edit).await.expect(200);
    recorder.release("hold");
    client.post("/threads/t/resume", &json!({})).await.expect(202);
    let status = client.completed("t").await;
    assert_eq!(step(&status, "b")["output"], json!(42));
    let events = gapless(&client, "t").await;
    let edited = events.iter().find(|event| event["type"] == "step_edited").unwrap();
    assert_eq!(
        edited["data"],
        json!({ "output": 41, "by": "anonymous", "reason": "it was wrong" })
    );
    let completed =
        events.iter().filter(|event| event["type"] == "step_complete" && event["stepId"] == "a");
    assert_eq!(completed.count(), 1);
}

async fn a_failure_asks_a_person_where_the_workflow_says_so(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    for (choice, end) in [("retry", "completed"), ("skip", "completed"), ("abort", "aborted")] {
        let name = format!("fail/1/{choice}");
        let workflow = json!({ "name": "w", "onFailure": "pause", "steps": [
            { "id": "a", "kind": "http", "with": { "url": recorder.url(&name) },
              "retry": { "maxAttempts": 1 } }
        ] });
        client.invoke(&json!({ "workflow": workflow, "threadId": choice })).await;
        paused(&client, choice).await;
        let open = client.get(&format!("/interventions?status=open&threadId={choice}")).await;
        let open = open.expect(200).json();
        let one = &open["items"][0];
        assert_eq!((&one["kind"], &one["steps"]), (&json!("failure"), &json!(["a"])));
        assert_eq!(one["choices"], json!(["retry", "skip", "abort"]));
        let path = format!("/interventions/{}/resolve", one["id"].as_str().unwrap());
        let wrong = client.post(&path, &json!({ "choice": "perhaps" })).await.expect(422);
        assert_eq!(wrong.json()["code"], "choice_not_offered");
        let decision = json!({ "choice": choice, "comment": "seen", "by": "ann" });
        client.post(&path, &decision).await.expect(200);
        assert_eq!(client.ended(choice).await["status"], end);
        let again = client.post(&path, &json!({ "choice": "abort" })).await.expect(409);
        assert_eq!(again.json()["code"], "intervention_resolved");
        assert!(again.text().contains(&format!("ann chose {choice}")), "{}", again.text());
        let resolved =
            client.get(&format!("/interventions?status=resolved&threadId={choice}")).await;
        let resolved = resolved.expect(200).json();
        assert_eq!(resolved["items"][0]["choice"], choice);
        assert_eq!(resolved["items"][0]["comment"], "seen");
    }
}

async fn of_two_operators_one_acts_and_the_other_hears_of_it(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let workflow = chain(&recorder, &["wait/one", "ok/two"]);
    client.invoke(&json!({ "workflow": workflow, "threadId": "t" })).await;
    recorder.reached("one", 1).await;
    let seen = client.get("/status/t").await.expect(200).header("etag").to_owned();
    let headers = [("if-match", seen.as_str()), ("content-type", "application/json")];
    let (one, other) = tokio::join!(
        client.send("POST", "/threads/t/pause", &headers, "{}"),
        client.send("POST", "/threads/t/abort", &headers, "{}"),
    );
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412], "{} {}", one.text(), other.text());
}

async fn the_inbox_is_filtered_and_paged(home: Home) {
    let server = home.start().await;
    let client = server.client();
    let steps = json!([{ "id": "a", "kind": "approval", "with": { "prompt": "{thread.id}?" } }]);
    for number in 0..5 {
        let body = json!({ "workflow": flow(&steps), "threadId": format!("t{number}") });
        client.invoke(&body).await;
        client
            .until(&format!("t{number}"), "waits", |status| {
                step(status, "a")["status"] == "waiting"
            })
            .await;
    }
    let list = async |query: &str| {
        let (mut prompts, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/interventions?limit=2{query}{cursor}");
            let page = client.get(&path).await.expect(200).json();
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 2, "{page}");
            prompts.extend(items.iter().map(|one| one["prompt"].as_str().unwrap().to_owned()));
            let Some(next) = page["nextCursor"].as_str() else { return prompts };
            cursor = format!("&cursor={next}");
        }
    };
    assert_eq!(list("").await, ["t4?", "t3?", "t2?", "t1?", "t0?"]);
    for thread in ["t3", "t0"] {
        let open = client.get(&format!("/interventions?threadId={thread}")).await.json();
        let path = format!("/interventions/{}/resolve", open["items"][0]["id"].as_str().unwrap());
        client.post(&path, &json!({ "choice": "reject", "by": "ann" })).await.expect(200);
    }
    assert_eq!(list("&status=open").await, ["t4?", "t2?", "t1?"]);
    assert_eq!(list("&status=resolved").await, ["t3?", "t0?"]);
    assert_eq!(list("&status=open&threadId=t2").await, ["t2?"]);
    assert!(list("&status=open&threadId=t3").await.is_empty());
    for wrong in ["status=closed", "limit=0", "cursor=%21", "threadId=%20", "kind=approval"] {
        client.get(&format!("/interventions?{wrong}")).await.expect(400);
    }
}

async fn what_makes_no_sense_is_refused_and_changes_nothing(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let workflow = chain(&recorder, &["ok/one"]);
    client.invoke(&json!({ "workflow": workflow, "threadId": "t" })).await;
    client.completed("t").await;
    let before = client.events("t").await;
    for (path, body, status, code) in [
        ("/threads/t/pause", json!({}), 409, "wrong_state"),
        ("/threads/t/resume", json!({ "fromStep": "s0" }), 409, "wrong_state"),
        ("/threads/t/resume", json!({ "fromStep": "nosuch" }), 404, "step_not_found"),
        ("/threads/t/resume", json!({ "fromStep": "no such" }), 400, "validation_failed"),
        ("/threads/t/resume", json!({ "skip": "s0" }), 400, "validation_failed"),
        ("/threads/t/steps/s0/retry", json!({}), 409, "wrong_state"),
        ("/threads/t/steps/s0/skip", json!({}), 409, "wrong_step_state"),
        ("/threads/t/steps/nosuch/skip", json!({}), 404, "step_not_found"),
        ("/threads/t/steps/s0/output", json!({ "output": 1 }), 409, "wrong_state"),
        ("/threads/t/steps/s0/output", json!({}), 400, "validation_failed"),
        ("/threads/nosuch/pause", json!({}), 404, "thread_not_found"),
        ("/interventions/t~99/resolve", json!({ "choice": "a" }), 404, "intervention_not_found"),
        ("/interventions/nosuch/resolve", json!({ "choice": "a" }), 404, "intervention_not_found"),
        ("/interventions/t~1/resolve", json!({}), 400, "validation_failed"),
    ] {
        let answer = client.post(path, &body).await.expect(status);
        assert_eq!(answer.json()["code"], code, "{path} {body}");
    }
    assert_eq!(client.events("t").await, before);
}
