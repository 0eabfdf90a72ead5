//! Forks: a new thread from the history of another, which is only read.

use serde_json::{Value, json};

use super::support::flows::{chain, flow, gapless, step, types};
use super::support::{Answer, Client, Home, Recorder, on_stores};
use super::verify::verify;

on_stores!([sqlite, postgres] [
    a_fork_at_each_event_of_a_thread_runs_the_rest_and_no_more,
    a_fork_with_edits_runs_what_depends_on_them_again,
    a_fork_at_a_running_step_makes_its_own_attempt,
    a_fork_of_a_failed_thread_goes_on,
    a_fork_with_another_input_runs_with_it,
    a_question_is_asked_in_both_threads,
    a_fork_that_was_accepted_survives_a_crash,
    a_bad_fork_is_refused_and_nothing_is_written,
    the_same_fork_again_is_the_same_thread,
    a_history_of_large_events_is_forked_whole,
    two_threads_are_compared,
    a_thread_is_shown_as_it_was,
]);

async fn fork(client: &Client, thread: &str, body: &Value) -> Answer {
    client.post(&format!("/threads/{thread}/fork"), body).await
}

/// The steps that a thread called for, with how often.
fn effects(recorder: &Recorder, thread: &str) -> Vec<(String, usize)> {
    let keys = ["s0", "s1", "s2"].map(|id| format!("{thread}/{id}"));
    let counts = keys.into_iter().map(|key| (key.clone(), recorder.count(&key)));
    counts.filter(|(_, count)| *count > 0).collect()
}

async fn a_fork_at_each_event_of_a_thread_runs_the_rest_and_no_more(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let workflow = chain(&recorder, &["ok/one", "ok/two", "ok/three"]);
    let body = json!({ "workflow": workflow, "threadId": "t", "metadata": { "team": "x" } });
    client.run(&body).await;
    let original = client.events("t").await;
    let last = original.len();
    for seq in 1..last {
        let name = format!("f{seq}");
        let asked = json!({ "atSeq": seq, "threadId": name, "reason": "what if" });
        let answer = fork(&client, "t", &asked).await.expect(202);
        assert_eq!(answer.header("location"), format!("/status/{name}"));
        let told = answer.json();
        assert_eq!(told["forkedFrom"], json!({ "threadId": "t", "seq": seq }));
        assert_eq!((&told["created"], &told["resumed"]), (&json!(true), &json!(false)));
        let status = client.completed(&name).await;
        assert_eq!(status["forkedFrom"], json!({ "threadId": "t", "seq": seq }));
        assert_eq!(status["recoveries"], json!(0));

        let events = gapless(&client, &name).await;
        let shared: Vec<Value> =
            original[..seq].iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        for (mine, theirs) in events.iter().zip(&shared).skip(1) {
            assert_eq!(mine["threadId"], name.as_str());
            assert_eq!((&mine["data"], &mine["at"]), (&theirs["data"], &theirs["at"]));
        }
        assert_eq!(events[0]["data"]["forkedFrom"]["by"], "anonymous");
        assert_eq!(events[seq]["type"], "workflow_forked");
        assert_eq!(events[seq]["data"]["reason"], "what if");
        // What had completed by then was not done again; the rest was done once, by this thread.
        let done = |id: &&str| {
            shared.iter().any(|event| event["type"] == "step_complete" && event["stepId"] == **id)
        };
        let rest: Vec<_> = ["s0", "s1", "s2"].into_iter().filter(|id| !done(id)).collect();
        let expected: Vec<_> = rest.iter().map(|id| (format!("{name}/{id}"), 1)).collect();
        assert_eq!(effects(&recorder, &name), expected);
    }
    let refused = fork(&client, "t", &json!({ "atSeq": last })).await.expect(409);
    assert_eq!(refused.json()["code"], "wrong_state");
    assert_eq!(client.events("t").await, original);
    assert!(client.status("t").await.get("forkedFrom").is_none());

    let listed = client.get("/threads?forkedFrom=t&limit=200").await.expect(200).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), last - 1);
    assert_eq!(client.get("/threads?forkedFrom=f1").await.json()["items"], json!([]));
    let newest = &client.get("/threads?limit=1").await.json()["items"][0];
    assert_eq!(newest["threadId"], format!("f{}", last - 1), "a fork is as new as it is");
    assert_eq!(newest["metadata"], json!({ "team": "x" }));
    let item = client.get("/threads/f2").await.json();
    assert_eq!(item["forkedFrom"], json!({ "threadId": "t", "seq": 2 }));
    assert_eq!(client.get("/threads/f2/recoveries").await.json()["items"], json!([]));
    let (code, said) = verify(&home).await;
    assert_eq!(code, Some(0), "{said}");
}

async fn a_fork_with_edits_runs_what_depends_on_them_again(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let call = |id: &str, from: &str, needs: Value| {
        json!({ "id": id, "kind": "http", "dependsOn": needs,
                "with": { "url": recorder.url(&format!("ok/{id}?n={from}")) } })
    };
    let steps = json!([
        { "id": "a", "kind": "transform", "with": { "from": "{input.n}", "jq": "." } },
        call("b", "{a.output}", json!(["a"])),
        call("c", "{b.output.body.name}", json!(["b"])),
        call("d", "none", json!([])),
    ]);
    let body = json!({ "workflow": flow(&steps), "threadId": "t", "input": { "n": 1 } });
    let status = client.run(&body).await;
    let head = &status["lastSeq"];
    let asked = json!({ "atSeq": head, "threadId": "f", "edits": { "a": 7 }, "reason": "typo" });
    fork(&client, "t", &asked).await.expect(202);
    let status = client.completed("f").await;
    assert_eq!(step(&status, "a")["output"], json!(7));
    let queries: Vec<_> = recorder.hits_of("b").iter().map(|hit| hit.query.clone()).collect();
    assert_eq!(queries, ["n=1", "n=7"]);
    let counts = ["f/b", "f/c", "f/d"].map(|key| recorder.count(key));
    assert_eq!(counts, [1, 1, 0], "what does not depend on the edit is not done again");
    let events = gapless(&client, "f").await;
    let edited = events.iter().find(|event| event["type"] == "step_edited").unwrap();
    assert_eq!(edited["data"], json!({ "output": 7, "by": "anonymous", "reason": "typo" }));
    let forked = events.iter().find(|event| event["type"] == "workflow_forked").unwrap();
    assert_eq!(forked["data"]["again"], json!(["b", "c"]));
    assert_eq!(step(&client.status("t").await, "a")["output"], json!(1));
}

async fn a_fork_at_a_running_step_makes_its_own_attempt(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let workflow = chain(&recorder, &["ok/one", "wait/two", "ok/three"]);
    client.invoke(&json!({ "workflow": workflow, "threadId": "t" })).await;
    recorder.reached("two", 1).await;
    let before = client.events("t").await;
    let asked = json!({ "atSeq": before.len(), "threadId": "f" });
    fork(&client, "t", &asked).await.expect(202);
    recorder.reached("two", 2).await;
    assert_eq!(client.events("t").await, before);
    recorder.release("two");
    let status = client.completed("f").await;
    assert_eq!((&status["recoveries"], &step(&status, "s1")["attempts"]), (&json!(0), &json!(2)));
    client.completed("t").await;
    assert_eq!(effects(&recorder, "f"), [("f/s1".to_owned(), 1), ("f/s2".to_owned(), 1)]);
    let all = ["t/s0", "t/s1", "t/s2"].map(|key| (key.to_owned(), 1));
    assert_eq!(effects(&recorder, "t"), all);
    let recovered = types(&client, "f").await;
    assert!(!recovered.contains(&"workflow_recovered".to_owned()), "{recovered:?}");
}

async fn a_fork_of_a_failed_thread_goes_on(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let workflow = chain(&recorder, &["ok/one", "down/two", "ok/three"]);
    client.invoke(&json!({ "workflow": workflow, "threadId": "t" })).await;
    let failed = client.ended("t").await;
    assert_eq!(failed["status"], "failed");
    let head = failed["lastSeq"].as_u64().unwrap();
    recorder.release("two");
    // At the failure, and inside the append that it was written with.
    for (name, seq) in [("f", head), ("g", head - 1)] {
        fork(&client, "t", &json!({ "atSeq": seq, "threadId": name })).await.expect(202);
        client.completed(name).await;
        let expected = ["s1", "s2"].map(|id| (format!("{name}/{id}"), 1));
        assert_eq!(effects(&recorder, name), expected);
    }
    assert_eq!(client.status("t").await, failed);
}

async fn a_fork_with_another_input_runs_with_it(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let call = |id: &str, needs: Value| {
        json!({ "id": id, "kind": "http", "dependsOn": needs,
                "with": { "url": recorder.url(&format!("ok/{id}?n={{input.n}}")) } })
    };
    let mut workflow = flow(&json!([call("a", json!([])), call("b", json!(["a"]))]));
    workflow["inputSchema"] = json!({ "required": ["n"] });
    client.run(&json!({ "workflow": workflow, "threadId": "t", "input": { "n": 1 } })).await;
    let done = types(&client, "t").await.iter().position(|one| one == "step_complete a").unwrap();
    let asked = json!({ "atSeq": done + 1, "threadId": "f", "input": {} });
    let refused = fork(&client, "t", &asked).await.expect(400);
    assert_eq!(refused.pointers(), ["/input"]);
    let asked = json!({ "atSeq": done + 1, "threadId": "f", "input": { "n": 2 } });
    fork(&client, "t", &asked).await.expect(202);
    assert_eq!(client.completed("f").await["input"], json!({ "n": 2 }));
    let queries: Vec<_> = recorder.hits_of("b").iter().map(|hit| hit.query.clone()).collect();
    assert_eq!((recorder.hits_of("a").len(), queries), (1, vec!["n=1".into(), "n=2".into()]));
}

async fn a_question_is_asked_in_both_threads(home: Home) {
    let server = home.start().await;
    let client = server.client();
    let steps = json!([
        { "id": "ok", "kind": "approval", "with": { "prompt": "sure?" } },
        { "id": "go", "kind": "signal", "with": { "name": "go" } },
        { "id": "kept", "kind": "signal", "dependsOn": ["ok"], "with": { "name": "early" } },
    ]);
    client.invoke(&json!({ "workflow": flow(&steps), "threadId": "t" })).await;
    let asks = |status: &Value| status["currentSteps"] == json!(["ok", "go"]);
    client.until("t", "it waits", asks).await;
    client.post("/threads/t/signals/early", &json!(1)).await.expect(202);
    let seq = &client.status("t").await["lastSeq"];
    fork(&client, "t", &json!({ "atSeq": seq, "threadId": "f" })).await.expect(202);
    let open = async || {
        let list = client.get("/interventions?status=open").await.expect(200).json();
        let items = list["items"].as_array().unwrap().clone();
        let mut ids: Vec<_> = items
            .iter()
            .map(|one| (one["threadId"].to_string(), one["id"].as_str().unwrap().to_owned()))
            .collect();
        ids.sort();
        ids
    };
    let both = open().await;
    assert_eq!(both.len(), 2, "{both:?}");
    let (forks, original) = (&both[0].1, &both[1].1);
    assert!(forks.starts_with("f~") && original.starts_with("t~"), "{both:?}");
    let path = format!("/interventions/{forks}/resolve");
    client.post(&path, &json!({ "choice": "reject" })).await.expect(200);
    client.post("/threads/f/signals/go", &json!(2)).await.expect(202);
    let status = client.completed("f").await;
    assert_eq!(step(&status, "kept")["output"], json!(1), "what nobody had taken goes along");
    assert_eq!(step(&status, "ok")["output"]["choice"], "reject");
    assert_eq!(open().await.len(), 1);
    assert_eq!(step(&client.status("t").await, "ok")["status"], "waiting");
    let (code, said) = verify(&home).await;
    assert_eq!(code, Some(0), "{said}");
}

async fn a_fork_that_was_accepted_survives_a_crash(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let workflow = chain(&recorder, &["ok/one", "ok/two", "ok/three"]);
    client.run(&json!({ "workflow": workflow, "threadId": "t" })).await;
    let original = client.events("t").await;
    for n in 0..3 {
        let name = format!("f{n}");
        fork(&client, "t", &json!({ "atSeq": 3, "threadId": name })).await.expect(202);
    }
    server.kill9().await;
    let server = home.start().await;
    let client = server.client();
    for n in 0..3 {
        client.completed(&format!("f{n}")).await;
        assert_eq!(recorder.count(&format!("f{n}/s0")), 0);
    }
    assert_eq!(client.events("t").await, original);
}

async fn a_bad_fork_is_refused_and_nothing_is_written(home: Home) {
    let recorder = Recorder::start().await;
    let server = home.launch().set("RETHREAD_MAX_EVENT", "1000").start().await;
    let client = server.client();
    let workflow = chain(&recorder, &["ok/one", "wait/two", "ok/three"]);
    client.invoke(&json!({ "workflow": workflow, "threadId": "t" })).await;
    recorder.reached("two", 1).await;
    client.invoke(&json!({ "workflow": chain(&recorder, &["ok/x"]), "threadId": "u" })).await;
    client.completed("u").await;
    let before = client.events("t").await;
    let head = before.len();
    let long = "x".repeat(2_000);
    for (body, status, code) in [
        (json!({ "atSeq": head + 1 }), 400, "seq_out_of_range"),
        (json!({ "atSeq": 0 }), 400, "validation_failed"),
        (json!({ "atSeq": -1 }), 400, "validation_failed"),
        (json!({}), 400, "validation_failed"),
        (json!({ "atSeq": 1, "unknown": 1 }), 400, "validation_failed"),
        (json!({ "atSeq": 1, "threadId": "u" }), 409, "thread_conflict"),
        (json!({ "atSeq": 1, "threadId": "t" }), 409, "thread_conflict"),
        (json!({ "atSeq": head, "edits": { "none": 1 } }), 404, "step_not_found"),
        (json!({ "atSeq": head, "edits": { "s1": 1 } }), 409, "wrong_step_state"),
        (json!({ "atSeq": 1, "edits": { "s0": 1 } }), 409, "wrong_step_state"),
        (json!({ "atSeq": head, "edits": { "s0": long } }), 400, "validation_failed"),
        (json!({ "atSeq": head, "input": long }), 413, "payload_too_large"),
    ] {
        let refused = fork(&client, "t", &body).await.expect(status);
        assert_eq!(refused.json()["code"], code, "{body}");
    }
    let unknown = fork(&client, "none", &json!({ "atSeq": 1 })).await.expect(404);
    assert_eq!(unknown.json()["code"], "thread_not_found");
    let json = ("content-type", "application/json");
    let stale = [json, ("if-match", "\"1\"")];
    client.send("POST", "/threads/t/fork", &stale, r#"{"atSeq":1}"#).await.expect(412);
    assert_eq!(client.events("t").await, before);
    let listed = client.get("/threads").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    let tag = format!("\"{head}\"");
    let current = [json, ("if-match", tag.as_str())];
    client.send("POST", "/threads/t/fork", &current, r#"{"atSeq":1}"#).await.expect(202);
    recorder.release("two");
}

async fn the_same_fork_again_is_the_same_thread(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let workflow = chain(&recorder, &["ok/one", "ok/two"]);
    client.run(&json!({ "workflow": workflow, "threadId": "t" })).await;
    let asked = json!({ "atSeq": 3, "threadId": "f", "edits": { "s0": 1 } });
    let racing = (0..8).map(|_| fork(&client, "t", &asked));
    let answers = futures_util::future::join_all(racing).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 202).count(), 1);
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 202)), "{answers:?}");
    client.completed("f").await;
    let again = fork(&client, "t", &asked).await.expect(200).json();
    assert_eq!((&again["created"], &again["status"]), (&json!(false), &json!("completed")));
    let other = json!({ "atSeq": 3, "threadId": "f", "edits": { "s0": 2 } });
    assert_eq!(fork(&client, "t", &other).await.expect(409).json()["code"], "thread_conflict");

    let keyed = [("content-type", "application/json"), ("idempotency-key", "k")];
    let send =
        async |body: &str| client.send("POST", "/threads/t/fork", &keyed, body.to_owned()).await;
    let first = send(r#"{"atSeq":3}"#).await.expect(202).json();
    let second = send(r#"{"atSeq":3}"#).await.expect(200);
    assert_eq!(second.header("idempotent-replayed"), "true");
    assert_eq!(second.json()["threadId"], first["threadId"]);
    assert_eq!(send(r#"{"atSeq":2}"#).await.expect(422).json()["code"], "idempotency_mismatch");
    assert_eq!(recorder.count("f/s1"), 1);
}

async fn a_history_of_large_events_is_forked_whole(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let large = "big/900000/x";
    let workflow = chain(&recorder, &[large, large, large, large, large, large, "ok/end"]);
    let status = client.run(&json!({ "workflow": workflow, "threadId": "t" })).await;
    let last = status["lastSeq"].as_u64().unwrap();
    let before = client.events("t").await;
    fork(&client, "t", &json!({ "atSeq": last - 2, "threadId": "f" })).await.expect(202);
    client.completed("f").await;
    assert_eq!((recorder.count("f/s5"), recorder.count("f/s6")), (0, 1));
    let after = client.events("f").await;
    for (mine, theirs) in after.iter().zip(&before).take(12).skip(1) {
        let renamed = theirs.replacen("\"threadId\":\"t\"", "\"threadId\":\"f\"", 1);
        assert!(*mine == renamed, "{} and {} bytes differ", mine.len(), theirs.len());
    }
    let diff = client.get("/threads/t/diff/f").await.expect(200);
    assert!(diff.body.len() < 100_000, "{}", diff.body.len());
    let s0 = &diff.json()["steps"][0];
    assert_eq!((&s0["changed"], &s0["a"]["output"]), (&json!([]), &Value::Null));
    assert_eq!(s0["a"]["outputSha256"], s0["b"]["outputSha256"]);
    assert!(s0["a"]["outputBytes"].as_u64().unwrap() > 900_000);
}

async fn two_threads_are_compared(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let workflow = json!({ "name": "w", "steps": [
        { "id": "a", "kind": "transform", "with": { "from": "{input.n}", "jq": "." } },
        { "id": "b", "kind": "transform", "dependsOn": ["a"], "with": { "from": "{a.output}", "jq": ". + 1" } },
    ] });
    for (name, n) in [("t", 1), ("same", 1), ("other", 2)] {
        let body = json!({ "workflow": workflow, "threadId": name, "input": { "n": n } });
        client.run(&body).await;
    }
    let head = client.status("t").await["lastSeq"].clone();
    let asked = json!({ "atSeq": head, "threadId": "f", "edits": { "a": 5 } });
    fork(&client, "t", &asked).await.expect(202);
    client.completed("f").await;

    let diff = client.get("/threads/t/diff/f").await.expect(200).json();
    assert_eq!((&diff["commonUpTo"], &diff["sameWorkflow"]), (&head, &json!(true)));
    let parted = &diff["firstDivergence"];
    assert_eq!(parted["seq"], json!(head.as_u64().unwrap() + 1));
    assert_eq!((&parted["a"], &parted["b"]["type"]), (&Value::Null, &json!("workflow_forked")));
    let outputs = |id: &str| {
        let steps = diff["steps"].as_array().unwrap();
        let step = steps.iter().find(|step| step["stepId"] == id).unwrap();
        (step["changed"].clone(), step["a"]["output"].clone(), step["b"]["output"].clone())
    };
    assert_eq!(outputs("a"), (json!(["output"]), json!(1), json!(5)));
    assert_eq!(outputs("b"), (json!(["attempts", "output"]), json!(2), json!(6)));
    assert_eq!(diff["output"]["changed"], json!(true));
    assert_eq!(diff["b"]["forkedFrom"]["threadId"], "t");
    assert!(diff["a"]["durationMs"].is_u64() && diff["steps"][0]["deltaMs"].is_i64());

    // Two runs of the same say the same, whenever they ran.
    let diff = client.get("/threads/t/diff/same").await.expect(200).json();
    assert_eq!((&diff["firstDivergence"], &diff["commonUpTo"]), (&Value::Null, &head));
    assert_eq!(diff["output"]["changed"], json!(false));
    let diff = client.get("/threads/t/diff/other").await.expect(200).json();
    assert_eq!((&diff["commonUpTo"], &diff["firstDivergence"]["seq"]), (&json!(0), &json!(1)));

    // Across workflows, steps are matched by their ids.
    client.run(&json!({ "workflow": chain(&recorder, &["ok/x"]), "threadId": "else" })).await;
    let diff = client.get("/threads/t/diff/else").await.expect(200).json();
    assert_eq!(diff["sameWorkflow"], json!(false));
    let ids: Vec<_> =
        diff["steps"].as_array().unwrap().iter().map(|s| s["stepId"].clone()).collect();
    assert_eq!(ids, ["a", "b", "s0"]);
    assert_eq!(diff["steps"][2]["changed"], json!(["missing"]));
    for path in ["/threads/t/diff/none", "/threads/none/diff/t"] {
        assert_eq!(client.get(path).await.expect(404).json()["code"], "thread_not_found");
    }
    client.get("/threads/t/diff/-").await.expect(400);
}

async fn a_thread_is_shown_as_it_was(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let workflow = chain(&recorder, &["ok/one", "wait/two"]);
    client.invoke(&json!({ "workflow": workflow, "threadId": "t" })).await;
    recorder.reached("two", 1).await;
    let at = async |query: &str| client.get(&format!("/status/t?at={query}")).await;
    let head = client.events("t").await.len();
    let first = at("1").await.expect(200);
    assert_eq!(first.header("etag"), "\"1\"");
    let document = first.json();
    assert_eq!((&document["status"], &document["lastSeq"]), (&json!("queued"), &json!(1)));
    assert_eq!(document["progress"], json!({ "completed": 0, "total": 2 }));
    // In the middle of an append: the step has completed, and the next has not begun.
    let done = types(&client, "t").await.iter().position(|one| one == "step_complete s0").unwrap();
    let document = at(&(done + 1).to_string()).await.expect(200).json();
    assert_eq!(document["progress"], json!({ "completed": 1, "total": 2 }));
    assert_eq!((&document["currentSteps"], &document["owner"]), (&json!([]), &Value::Null));
    assert_eq!(step(&document, "s0")["output"]["status"], json!(200));
    let slim = at(&format!("{}&outputs=false", done + 1)).await.expect(200).json();
    assert!(step(&slim, "s0").get("output").is_none());
    let known = [("if-none-match", "\"1\"")];
    client.send("GET", "/status/t?at=1", &known, "").await.expect(304);
    client.send("GET", "/status/t?at=2", &known, "").await.expect(200);

    let beyond = at(&(head + 1).to_string()).await.expect(400).json();
    assert_eq!(beyond["code"], "seq_out_of_range");
    at("0").await.expect(400);
    // What is there already is not waited for, what is not there yet is.
    let began = tokio::time::Instant::now();
    at("1&wait=30s").await.expect(200);
    assert!(began.elapsed() < std::time::Duration::from_secs(15));
    let waits = async { at(&format!("{}&wait=30s", head + 1)).await };
    let releases = async { recorder.release("two") };
    let (later, ()) = tokio::join!(waits, releases);
    assert_eq!(later.expect(200).json()["lastSeq"], json!(head + 1));
    client.completed("t").await;
    at("99&wait=30s").await.expect(400);
}
