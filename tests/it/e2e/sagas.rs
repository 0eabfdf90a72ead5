//! What a thread has done is undone when it fails, or when a person aborts it and says so.

use serde_json::{Value, json};

use super::support::flows::{bench, flow, gapless, step, types};
use super::support::{Home, Recorder, on_stores};

on_stores!([sqlite, postgres] [
    a_failed_thread_is_undone_in_reverse_order,
    a_kill_during_any_compensation_loses_and_doubles_none,
    what_could_not_be_undone_is_told_and_tried_again,
    an_abort_cancels_what_runs_and_undoes_what_is_done,
    what_is_done_again_after_it_was_undone_has_another_key,
]);

/// Steps one after the other, each undone by a call of its own: `(id, how it answers, how its
/// compensation answers)`.
fn saga(recorder: &Recorder, steps: &[(&str, &str, &str)]) -> Value {
    let mut made = Vec::new();
    for (at, (id, forwards, backwards)) in steps.iter().enumerate() {
        let needs: Vec<&str> = at.checked_sub(1).iter().map(|&before| steps[before].0).collect();
        let undo = json!({
            "kind": "http",
            "with": { "method": "DELETE", "url": recorder.url(&format!("{backwards}/un{id}")),
                      "json": { "of": format!("{{{id}.output.body.name}}"), "input": "{input}" } },
        });
        made.push(json!({
            "id": id, "kind": "http", "dependsOn": needs, "compensate": undo,
            "with": { "method": "POST", "url": recorder.url(&format!("{forwards}/{id}")) },
        }));
    }
    flow(&json!(made))
}

fn keys(recorder: &Recorder, name: &str) -> Vec<String> {
    recorder.hits_of(name).into_iter().map(|hit| hit.key).collect()
}

async fn a_failed_thread_is_undone_in_reverse_order(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let steps =
        [("a", "ok", "ok"), ("b", "ok", "fail/2"), ("c", "ok", "ok"), ("d", "status/404", "ok")];
    let body = json!({ "workflow": saga(&recorder, &steps), "threadId": "t", "input": 7 });
    client.invoke(&body).await;
    let status = client.ended("t").await;
    assert_eq!(status["status"], "failed");
    assert_eq!(status["error"]["stepId"], "d");
    assert_eq!(status["compensation"], json!({ "completed": ["c", "b", "a"], "left": [] }));
    for id in ["a", "b", "c"] {
        assert_eq!(step(&status, id)["status"], "compensated");
        assert_eq!(step(&status, id)["attempts"], 1);
    }
    let of_b = json!({ "status": "compensated", "attempts": 3, "error": null });
    assert_eq!(step(&status, "b")["compensation"], of_b);
    assert!(step(&status, "d").get("compensation").is_none());
    let order: Vec<String> = recorder.hits().into_iter().map(|hit| hit.name).collect();
    assert_eq!(order, ["a", "b", "c", "d", "unc", "unb", "unb", "unb", "una"]);
    let made: Vec<_> =
        recorder.hits_of("unb").iter().map(|hit| (hit.key.clone(), hit.attempt)).collect();
    let key = "t/b/compensate".to_owned();
    assert_eq!(made, [(key.clone(), 1), (key.clone(), 2), (key, 3)]);
    // It sees the output of the step that it undoes.
    assert_eq!(recorder.hits_of("una")[0].body, r#"{"of":"a","input":7}"#);
    let events = gapless(&client, "t").await;
    let said = types(&client, "t").await;
    let from = said.iter().position(|line| line == "compensation_start c").unwrap();
    assert_eq!(
        said[from..],
        [
            "compensation_start c",
            "compensation_complete c",
            "compensation_start b",
            "compensation_failed b",
            "compensation_start b",
            "compensation_failed b",
            "compensation_start b",
            "compensation_complete b",
            "compensation_start a",
            "compensation_complete a",
            "workflow_failed",
        ]
    );
    let failed = &events[from + 3];
    assert_eq!((&failed["attempt"], &failed["data"]["final"]), (&json!(1), &json!(false)));
    assert_eq!(failed["data"]["delayMs"], 20);
    assert_eq!(events.last().unwrap()["data"]["compensation"], status["compensation"]);
    let again = client.post("/threads/t/abort", &json!({ "compensate": true })).await.expect(409);
    assert_eq!(again.json()["code"], "nothing_to_compensate");
    assert_eq!(gapless(&client, "t").await.len(), events.len());
}

async fn a_kill_during_any_compensation_loses_and_doubles_none(home: Home) {
    // A snapshot at every event: how far it was undone comes back from it as well.
    let launch = || home.launch().set("RETHREAD_SNAPSHOT_EVERY", "1");
    let recorder = Recorder::start().await;
    let steps =
        [("a", "ok", "wait"), ("b", "ok", "wait"), ("c", "ok", "wait"), ("d", "status/404", "ok")];
    let mut server = launch().start().await;
    let body = json!({ "workflow": saga(&recorder, &steps), "threadId": "t" });
    server.client().invoke(&body).await;
    let mut before: Vec<String> = Vec::new();
    for name in ["unc", "unb", "una"] {
        recorder.reached(name, 1).await;
        let client = server.client();
        assert_eq!(client.get("/status/t").await.json()["status"], "compensating");
        let events = client.events("t").await;
        assert_eq!(events[..before.len()], before[..], "what was told stays as it is");
        before = events;
        server.kill9().await;
        server = launch().start().await;
        recorder.reached(name, 2).await;
        recorder.release(name);
    }
    let client = server.client();
    let status = client.ended("t").await;
    assert_eq!(status["status"], "failed");
    assert_eq!(status["compensation"], json!({ "completed": ["c", "b", "a"], "left": [] }));
    assert_eq!(status["recoveries"], 3);
    for id in ["a", "b", "c"] {
        assert_eq!(keys(&recorder, id), [format!("t/{id}")], "forwards it goes once");
        // The one that was under way is made again under its key; one that had ended is not.
        let key = format!("t/{id}/compensate");
        assert_eq!(keys(&recorder, &format!("un{id}")), [key.clone(), key]);
    }
    let said = types(&client, "t").await;
    let ends = said.iter().filter(|line| line.starts_with("compensation_complete"));
    assert_eq!(ends.count(), 3);
    gapless(&client, "t").await;
}

async fn what_could_not_be_undone_is_told_and_tried_again(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let steps =
        [("a", "ok", "ok"), ("b", "ok", "down"), ("c", "ok", "ok"), ("d", "status/404", "ok")];
    client.invoke(&json!({ "workflow": saga(&recorder, &steps), "threadId": "t" })).await;
    let status = client.ended("t").await;
    assert_eq!((&status["status"], &status["error"]["stepId"]), (&json!("failed"), &json!("d")));
    assert_eq!(status["compensation"]["completed"], json!(["c", "a"]));
    let left = &status["compensation"]["left"];
    assert_eq!(
        (&left[0]["stepId"], &left[0]["error"]["code"]),
        (&json!("b"), &json!("http_status"))
    );
    assert_eq!(left.as_array().unwrap().len(), 1);
    assert_eq!(step(&status, "b")["status"], "completed");
    assert_eq!(step(&status, "b")["compensation"]["status"], "failed");
    assert_eq!(recorder.hits_of("unb").len(), 3);
    assert_eq!(client.get("/threads?status=failed").await.json()["items"][0]["threadId"], "t");

    recorder.release("unb");
    let ask = json!({ "compensate": true, "reason": "it is up again" });
    let answer = client.post("/threads/t/abort", &ask).await.expect(202);
    assert_eq!(answer.json()["status"], "compensating");
    let status = client.ended("t").await;
    assert_eq!((&status["status"], &status["error"]["stepId"]), (&json!("failed"), &json!("d")));
    assert_eq!(status["compensation"], json!({ "completed": ["c", "b", "a"], "left": [] }));
    // Only what was left was undone.
    assert_eq!(["una", "unb", "unc"].map(|name| recorder.hits_of(name).len()), [1, 4, 1]);
    let events = gapless(&client, "t").await;
    let asked = events.iter().rfind(|event| event["type"] == "compensation_start").unwrap();
    assert_eq!(asked["data"]["by"], "anonymous");
    assert_eq!(asked["data"]["reason"], "it is up again");
}

async fn an_abort_cancels_what_runs_and_undoes_what_is_done(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let steps = [("a", "ok", "ok"), ("b", "ok", "wait"), ("c", "wait", "ok")];
    client.invoke(&json!({ "workflow": saga(&recorder, &steps), "threadId": "t" })).await;
    recorder.reached("c", 1).await;
    let ask = json!({ "compensate": true });
    client.post("/threads/t/abort", &ask).await.expect(202);
    recorder.reached("unb", 1).await;
    // What was cancelled comes too late.
    recorder.release("c");
    let status = client.get("/status/t").await.json();
    assert_eq!(status["status"], "compensating");
    assert_eq!(status["currentSteps"], json!(["b"]));
    assert_eq!(
        client.post("/threads/t/abort", &ask).await.expect(409).json()["code"],
        "wrong_state"
    );
    client.post("/threads/t/pause", &json!({})).await.expect(200);
    recorder.release("unb");
    let undone = |status: &Value| step(status, "b")["status"] == "compensated";
    client.until("t", "the attempt has ended", undone).await;
    assert_eq!(recorder.hits_of("una").len(), 0);
    let forwards = client.post("/threads/t/resume", &json!({ "fromStep": "a" })).await.expect(409);
    assert_eq!(forwards.json()["code"], "compensation_under_way");
    client.post("/threads/t/resume", &json!({})).await.expect(202);
    let status = client.ended("t").await;
    assert_eq!((&status["status"], &status["error"]), (&json!("aborted"), &json!(null)));
    assert_eq!(status["compensation"], json!({ "completed": ["b", "a"], "left": [] }));
    assert_eq!(step(&status, "c")["status"], "pending");
    assert_eq!(recorder.hits_of("unc").len(), 0);
}

async fn what_is_done_again_after_it_was_undone_has_another_key(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let steps = [("a", "ok", "status/404"), ("b", "ok", "ok"), ("c", "down", "ok")];
    client.invoke(&json!({ "workflow": saga(&recorder, &steps), "threadId": "t" })).await;
    let status = client.ended("t").await;
    assert_eq!(status["compensation"]["completed"], json!(["b"]));
    client.post("/threads/t/resume", &json!({})).await.expect(202);
    let status = client.ended("t").await;
    assert_eq!(status["compensation"]["completed"], json!(["b"]));
    recorder.release("c");
    client.post("/threads/t/resume", &json!({})).await.expect(202);
    let status = client.completed("t").await;
    assert_eq!(status["compensation"], json!(null));
    // What stayed done is not done again; what was not undone keeps its key.
    assert_eq!(keys(&recorder, "a"), ["t/a"]);
    assert_eq!(keys(&recorder, "b"), ["t/b", "t/b/2", "t/b/3"]);
    assert_eq!(keys(&recorder, "unb"), ["t/b/compensate", "t/b/2/compensate"]);
    let of_c = keys(&recorder, "c");
    assert!(of_c.iter().all(|key| key == "t/c"), "{of_c:?}");
}

#[tokio::test]
async fn a_compensation_is_bounded_and_starts_no_program_that_is_not_allowed() {
    let (_server, client, recorder) = bench().await;
    let url = recorder.url("ok/x");
    let undo = |undo: Value| {
        flow(&json!([{ "id": "s", "kind": "http", "with": { "url": url }, "compensate": undo }]))
    };
    let rm = undo(json!({ "kind": "exec", "with": { "program": "rm" } }));
    let answer = client.post("/invoke/async", &json!({ "workflow": rm })).await.expect(403);
    assert_eq!(answer.json()["code"], "exec_not_allowed");
    assert_eq!(answer.pointers(), ["/workflow/steps/0/compensate/with/program"]);
    let waits = undo(json!({ "kind": "approval", "with": { "prompt": "?" } }));
    let answer = client.post("/invoke/async", &json!({ "workflow": waits })).await.expect(400);
    assert_eq!(answer.pointers(), ["/workflow/steps/0/compensate/kind"]);

    let mut slow = undo(json!({ "kind": "http", "with": { "url": recorder.url("wait/slow") },
        "timeout": "60ms", "warnAfter": "20ms", "retry": { "maxAttempts": 1 } }));
    slow["output"] = json!("{s.output.nosuch}");
    client.invoke(&json!({ "workflow": slow, "threadId": "t" })).await;
    let status = client.ended("t").await;
    assert_eq!(status["error"]["code"], "template_unresolved");
    assert_eq!(status["compensation"]["left"][0]["error"]["code"], "step_timeout");
    let events = gapless(&client, "t").await;
    let warned = events.iter().find(|event| event["type"] == "step_timeout_warning").unwrap();
    assert_eq!(warned["data"]["compensation"], true);
}
