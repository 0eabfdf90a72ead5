//! What workflows mean, seen from both sides: the client's and the one that steps call.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Client, Home, Recorder, Server};

/// A server with memory as its store, and a recorder.
async fn bench() -> (Server, Client, Recorder) {
    let server = Home::memory().await.start().await;
    let client = server.client();
    (server, client, Recorder::start().await)
}

/// A workflow of these steps, with quick retries.
fn flow(steps: &Value) -> Value {
    let retry = json!({ "maxAttempts": 3, "initialInterval": "20ms", "jitter": false });
    json!({ "name": "w", "steps": steps, "defaults": { "retry": retry } })
}

/// The step of this id in a status document.
fn step<'a>(status: &'a Value, id: &str) -> &'a Value {
    status["steps"].as_array().unwrap().iter().find(|step| step["id"] == id).unwrap()
}

/// The types of a thread's events, with their step where they have one.
async fn types(client: &Client, thread: &str) -> Vec<String> {
    let read = |text: &String| {
        let event: Value = serde_json::from_str(text).unwrap();
        let kind = event["type"].as_str().unwrap().to_owned();
        event["stepId"].as_str().map_or_else(|| kind.clone(), |step| format!("{kind} {step}"))
    };
    client.events(thread).await.iter().map(read).collect()
}

#[tokio::test]
async fn a_lone_reference_keeps_its_type_and_text_around_it_makes_text() {
    let (_server, client, _) = bench().await;
    let from = json!({
        "object": "{input.o}", "number": "{input.n}", "text": "{input.t}", "null": "{input.z}",
        "within": "n={input.n} o={input.o} t={input.t} z={input.z}", "item": "{input.o.a[1].b}",
        "braces": "{{input.n}}", "code": "{ not: 'a reference' } {title}", "id": "{thread.id}",
        "step-status": "{one.status}", "{input.t}": 1
    });
    let steps = json!([
        { "id": "one", "kind": "transform", "with": { "jq": "1" } },
        { "id": "two", "kind": "transform", "dependsOn": ["one"],
          "with": { "jq": ".", "from": from } },
    ]);
    let input =
        json!({ "o": { "a": [0, { "b": [true] }] }, "n": 1.50, "t": "{input.n}", "z": null });
    let body = json!({ "workflow": flow(&steps), "input": input, "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    let status = client.completed("t1").await;
    let output = &step(&status, "two")["output"];
    assert_eq!(output["object"], input["o"]);
    assert_eq!((&output["number"], &output["null"]), (&json!(1.5), &Value::Null));
    // What is put in is never read again as a template.
    assert_eq!(output["text"], "{input.n}");
    let within = r#"n=1.5 o={"a":[0,{"b":[true]}]} t={input.n} z=null"#;
    assert_eq!(output["within"], within);
    assert_eq!(output["item"], json!([true]));
    assert_eq!(output["braces"], "{input.n}");
    assert_eq!(output["code"], "{ not: 'a reference' } {title}");
    assert_eq!(output["id"], "t1");
    assert_eq!(output["step-status"], "completed");
}

#[tokio::test]
async fn a_reference_to_something_absent_fails_the_step_at_once() {
    let (_server, client, _) = bench().await;
    let steps = json!([{ "id": "s", "kind": "transform", "with": { "jq": ".", "from": "{input.no.such}" } }]);
    let status = client.run(&json!({ "workflow": flow(&steps), "input": {} })).await;
    assert_eq!(status["status"], "failed");
    assert_eq!(status["error"]["code"], "template_unresolved");
    assert_eq!(status["error"]["recoverable"], json!(false));
    assert_eq!(step(&status, "s")["attempts"], json!(1));
}

#[tokio::test]
async fn skipping_spreads_to_those_that_depend_on_it_alone() {
    let (_server, client, _) = bench().await;
    let no_op = json!({ "jq": "1" });
    let steps = json!([
        { "id": "off", "kind": "transform", "with": no_op, "when": "input.on" },
        { "id": "on", "kind": "transform", "with": no_op, "when": "!input.on && thread.id == 't1'" },
        { "id": "after-off", "kind": "transform", "with": no_op, "dependsOn": ["off"] },
        { "id": "join", "kind": "transform", "dependsOn": ["after-off", "on"],
          "when": "steps['after-off'].status == 'skipped' && on.output == 1",
          "with": { "jq": ".", "from": ["{off.output}", "{after-off.output}", "{on.output}"] } },
    ]);
    let mut workflow = flow(&steps);
    workflow["steps"][3]["dependsOn"] = json!(["off", "after-off", "on"]);
    let body = json!({ "workflow": workflow, "input": { "on": false }, "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    let status = client.completed("t1").await;
    assert_eq!(step(&status, "off")["status"], "skipped");
    assert_eq!(step(&status, "after-off")["status"], "skipped");
    assert_eq!(status["output"], json!({ "join": [null, null, 1] }));
    assert_eq!(status["progress"], json!({ "completed": 4, "total": 4 }));
}

#[tokio::test]
async fn a_condition_that_cannot_be_answered_fails_the_step() {
    let (_server, client, _) = bench().await;
    let steps =
        json!([{ "id": "s", "kind": "transform", "with": { "jq": "1" }, "when": "input.a.b > 1" }]);
    let status = client.run(&json!({ "workflow": flow(&steps), "input": {} })).await;
    assert_eq!(
        (&status["status"], &status["error"]["code"]),
        (&json!("failed"), &json!("condition_failed"))
    );
}

#[tokio::test]
async fn branches_run_side_by_side() {
    let (_server, client, recorder) = bench().await;
    let branch = |id: &str| {
        let url = recorder.url(&format!("wait/{id}"));
        json!({ "id": id, "kind": "http", "with": { "url": url } })
    };
    let mut steps = vec![branch("a"), branch("b"), branch("c")];
    steps.push(json!({ "id": "join", "kind": "transform", "dependsOn": ["a", "b", "c"],
                       "with": { "jq": "[.steps[].output.body.name? // empty]" } }));
    let body = json!({ "workflow": flow(&json!(steps)), "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    for name in ["a", "b", "c"] {
        // All three are there before any was let go.
        recorder.reached(name, 1).await;
    }
    let status = client.status("t1").await;
    assert_eq!(status["currentSteps"], json!(["a", "b", "c"]));
    for name in ["c", "a", "b"] {
        recorder.release(name);
    }
    assert_eq!(client.completed("t1").await["output"]["join"], json!(["a", "b", "c"]));
}

#[tokio::test]
async fn attempts_are_counted_and_carry_one_key() {
    let (_server, client, recorder) = bench().await;
    let steps = json!([{ "id": "s", "kind": "http",
        "with": { "method": "POST", "url": recorder.url("fail/2/x"), "json": { "a": "{input}" } } }]);
    let body = json!({ "workflow": flow(&steps), "input": [1], "threadId": "t1" }).to_string();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = [("content-type", "application/json"), ("traceparent", trace)];
    client.send("POST", "/invoke/async", &headers, body).await.expect(202);
    let status = client.completed("t1").await;
    assert_eq!(step(&status, "s")["attempts"], json!(3));
    assert_eq!(step(&status, "s")["output"]["body"], json!({ "name": "x", "hit": 3 }));
    let hits = recorder.hits_of("x");
    let attempts: Vec<_> = hits.iter().map(|hit| hit.attempt).collect();
    assert_eq!(attempts, [1, 2, 3]);
    for hit in &hits {
        assert_eq!(hit.key, "t1/s");
        assert_eq!(hit.body, r#"{"a":[1]}"#);
        let given = hit.headers["traceparent"].to_str().unwrap();
        assert!(given.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{given}");
    }
    assert!(hits[1].at - hits[0].at >= Duration::from_millis(20));
    assert!(hits[2].at - hits[1].at >= Duration::from_millis(40));
    let expected = [
        "workflow_start",
        "step_start s",
        "step_retry s",
        "step_start s",
        "step_retry s",
        "step_start s",
        "step_complete s",
        "workflow_complete",
    ];
    assert_eq!(types(&client, "t1").await, expected);
}

#[tokio::test]
async fn only_what_may_pass_is_tried_again() {
    let (_server, client, recorder) = bench().await;
    let table = [
        (400, 1),
        (401, 1),
        (403, 1),
        (404, 1),
        (409, 1),
        (422, 1),
        (408, 3),
        (425, 3),
        (429, 3),
        (500, 3),
        (503, 3),
    ];
    for (code, attempts) in table {
        let url = recorder.url(&format!("status/{code}/s{code}"));
        let steps = json!([{ "id": "s", "kind": "http", "with": { "url": url } }]);
        let status = client.run(&json!({ "workflow": flow(&steps) })).await;
        assert_eq!(status["status"], "failed", "{code}");
        assert_eq!(status["error"]["code"], "http_status", "{code}");
        assert_eq!(status["error"]["recoverable"], json!(attempts > 1), "{code}");
        assert_eq!(recorder.hits_of(&format!("s{code}")).len(), attempts, "{code}");
    }
    // Named by the step: of what may pass, only what it lists is tried again.
    for (code, named, attempts) in [
        (500, "http_status", 3),
        (500, "external", 3),
        (500, "timeout", 1),
        (404, "http_status", 1),
    ] {
        let name = format!("named-{code}-{named}");
        let url = recorder.url(&format!("status/{code}/{name}"));
        let mut steps = json!([{ "id": "s", "kind": "http", "with": { "url": url } }]);
        steps[0]["retry"] = json!({ "retryOn": [named], "maxAttempts": 3, "initialInterval": 1 });
        client.run(&json!({ "workflow": flow(&steps) })).await;
        assert_eq!(recorder.hits_of(&name).len(), attempts, "{name}");
    }
    // A message that says it is hopeless is believed, whatever the status.
    let url = recorder.url("status/500/FORBIDDEN");
    let steps = json!([{ "id": "s", "kind": "http", "with": { "url": url } }]);
    client.run(&json!({ "workflow": flow(&steps) })).await;
    assert_eq!(recorder.hits_of("FORBIDDEN").len(), 1);
}

#[tokio::test]
async fn retry_after_is_waited_for_up_to_the_longest_interval() {
    let (_server, client, recorder) = bench().await;
    let run = async |name: &str, longest: &str| {
        let url = recorder.url(&format!("later/{name}"));
        let mut steps = json!([{ "id": "s", "kind": "http", "with": { "url": url } }]);
        steps[0]["retry"] = json!({ "initialInterval": "10ms", "maxInterval": longest });
        let status = client.run(&json!({ "workflow": flow(&steps) })).await;
        assert_eq!(status["status"], "completed");
        let hits = recorder.hits_of(name);
        hits[1].at - hits[0].at
    };
    assert!(run("long", "10s").await >= Duration::from_secs(1));
    let cut = run("cut", "100ms").await;
    assert!(cut >= Duration::from_millis(90) && cut < Duration::from_secs(1), "{cut:?}");
}

#[tokio::test]
async fn a_thread_goes_on_past_a_step_that_may_fail() {
    let (_server, client, recorder) = bench().await;
    let steps = json!([
        { "id": "bad", "kind": "http", "with": { "url": recorder.url("status/500/bad") },
          "continueOnError": true },
        { "id": "after", "kind": "transform", "dependsOn": ["bad"],
          "with": { "jq": ".", "from": ["{bad.output}", "{bad.status}", "{bad.error.code}"] } },
    ]);
    let status = client.run(&json!({ "workflow": flow(&steps) })).await;
    assert_eq!(status["status"], "completed");
    assert_eq!(step(&status, "bad")["status"], "failed");
    assert_eq!(step(&status, "bad")["attempts"], json!(3));
    assert_eq!(status["output"], json!({ "after": [null, "failed", "http_status"] }));
}

#[tokio::test]
async fn a_timeout_bounds_an_attempt_and_a_warning_comes_once() {
    let (_server, client, recorder) = bench().await;
    let steps = json!([{ "id": "s", "kind": "http", "with": { "url": recorder.url("wait/never") },
        "timeout": "300ms", "warnAfter": "50ms", "retry": { "maxAttempts": 2, "initialInterval": 1 } }]);
    let body = json!({ "workflow": flow(&steps), "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    let status = client.ended("t1").await;
    assert_eq!(status["status"], "failed");
    assert_eq!(status["error"]["code"], "step_timeout");
    assert_eq!(status["error"]["category"], "timeout");
    assert_eq!(recorder.hits_of("never").len(), 2);
    let expected = [
        "workflow_start",
        "step_start s",
        "step_timeout_warning s",
        "step_retry s",
        "step_start s",
        "step_timeout_warning s",
        "step_failed s",
        "workflow_failed",
    ];
    assert_eq!(types(&client, "t1").await, expected);
}

#[tokio::test]
async fn an_http_output_has_status_headers_and_body() {
    let (_server, client, recorder) = bench().await;
    let get = |path: &str| json!({ "url": recorder.url(path) });
    let steps = json!([
        { "id": "text", "kind": "http", "with": get("text/hello") },
        { "id": "redirected", "kind": "http", "with": get(&format!("to/{}", recorder.url("ok/end"))) },
        { "id": "expected", "kind": "http",
          "with": { "url": recorder.url("status/404/gone"), "expectStatus": [404, "500-599"] } },
        { "id": "query", "kind": "http", "with": { "url": recorder.url("ok/query?x=1"),
          "query": { "a": "b c&d", "n": 1, "list": ["p", "q"] }, "headers": { "X-Own": "{input}" } } },
    ]);
    let status = client.run(&json!({ "workflow": flow(&steps), "input": "mine" })).await;
    let output = &status["output"];
    assert_eq!(output["text"]["body"], "hello");
    assert_eq!(output["text"]["status"], json!(200));
    assert!(output["text"]["headers"]["content-type"].as_str().unwrap().starts_with("text/plain"));
    assert_eq!(output["redirected"]["body"]["name"], "end");
    assert_eq!(output["expected"]["status"], json!(404));
    let hit = &recorder.hits_of("query")[0];
    assert_eq!(hit.query, "x=1&a=b+c%26d&n=1&list=p&list=q");
    assert_eq!(hit.headers["x-own"], "mine");
}

#[tokio::test]
async fn an_output_that_is_broken_or_too_large_fails_the_step() {
    let home = Home::memory().await;
    let server = home.launch().set("RETHREAD_MAX_EVENT", "64KiB").start().await;
    let (client, recorder) = (server.client(), Recorder::start().await);
    for (path, code) in [("big/65537/b", "payload_too_large"), ("broken/b", "output_invalid")] {
        let steps = json!([{ "id": "s", "kind": "http", "with": { "url": recorder.url(path) } }]);
        let status = client.run(&json!({ "workflow": flow(&steps) })).await;
        assert_eq!((&status["status"], &status["error"]["code"]), (&json!("failed"), &json!(code)));
    }
    let steps = json!([{ "id": "s", "kind": "transform", "with": { "jq": "\"x\" * 70000" } }]);
    let status = client.run(&json!({ "workflow": flow(&steps) })).await;
    assert_eq!(status["error"]["code"], "payload_too_large");
}

#[tokio::test]
async fn programs_run_without_a_shell_in_a_clean_environment() {
    let home = Home::memory().await;
    let launch = home.launch().set("RETHREAD_EXEC_ALLOW", "printf,env,cat,sh,false");
    let server = launch.set("RETHREAD_SECRET_HIDDEN", "hush-hush-hush").start().await;
    let client = server.client();
    let steps = json!([
        { "id": "text", "kind": "exec", "with": { "program": "printf", "args": ["%s|", "$HOME", "a b", "{input.n}"] } },
        { "id": "json", "kind": "exec", "with": { "program": "cat", "stdin": "{input}", "parse": "json" } },
        { "id": "lines", "kind": "exec", "with": { "program": "printf", "args": ["a\\nb\\n"], "parse": "lines" } },
        { "id": "env", "kind": "exec", "with": { "program": "env", "env": { "OWN": "1" }, "parse": "lines" } },
        { "id": "fails", "kind": "exec", "continueOnError": true,
          "with": { "program": "sh", "args": ["-c", "echo oops >&2; exit 3"] } },
    ]);
    let status = client.run(&json!({ "workflow": flow(&steps), "input": { "n": 1.10 } })).await;
    assert_eq!(status["status"], "completed", "{status:#}");
    let output = &status["output"];
    assert_eq!(output["text"]["stdout"], "$HOME|a b|1.1|");
    assert_eq!(output["text"]["exitCode"], json!(0));
    assert_eq!(output["json"]["stdout"], json!({ "n": 1.1 }));
    assert_eq!(output["lines"]["stdout"], json!(["a", "b"]));
    let env = output["env"]["stdout"].as_array().unwrap();
    assert!(env.contains(&json!("OWN=1")), "{env:?}");
    for line in env {
        let line = line.as_str().unwrap();
        assert!(!line.starts_with("RETHREAD_") && !line.starts_with("DATABASE_"), "{line}");
    }
    let failed = step(&status, "fails");
    assert_eq!(failed["error"]["code"], "exit_nonzero");
    assert_eq!((&failed["error"]["recoverable"], &failed["attempts"]), (&json!(true), &json!(3)));
}

#[tokio::test]
async fn a_program_that_is_not_allowed_is_refused_at_the_door() {
    let home = Home::memory().await;
    let server = home.launch().set("RETHREAD_EXEC_ALLOW", "printf").start().await;
    let client = server.client();
    for program in ["sh", "/usr/bin/printf", "../printf", "PRINTF"] {
        let steps = json!([{ "id": "s", "kind": "exec", "with": { "program": program } }]);
        let answer = client.post("/invoke/async", &json!({ "workflow": flow(&steps) })).await;
        let answer = answer.expect(403);
        assert_eq!(answer.json()["code"], "exec_not_allowed", "{program}");
        assert_eq!(answer.pointers(), ["/workflow/steps/0/with/program"]);
    }
    assert_eq!(client.get("/threads").await.json()["items"], json!([]));
}

#[tokio::test]
async fn a_sleep_waits_as_long_as_it_says() {
    let (_server, client, _) = bench().await;
    let steps = json!([
        { "id": "for", "kind": "sleep", "with": { "for": "{input.ms}" } },
        { "id": "past", "kind": "sleep", "with": { "until": "2020-01-01T00:00:00Z" } },
    ]);
    let body = json!({ "workflow": flow(&steps), "input": { "ms": 300 }, "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    let waiting = client.status("t1").await;
    assert_eq!(step(&waiting, "for")["status"], "waiting");
    assert!(step(&waiting, "for")["wakesAt"].is_string());
    let status = client.completed("t1").await;
    let slept = step(&status, "for")["output"]["sleptMs"].as_u64().unwrap();
    assert!((300..5_000).contains(&slept), "{slept}");
    assert!(types(&client, "t1").await.contains(&"step_waiting for".to_owned()));
}

#[tokio::test]
async fn filters_give_one_result_or_an_array_and_their_errors_are_final() {
    let (_server, client, _) = bench().await;
    let run = async |filter: &str| {
        let steps = json!([{ "id": "s", "kind": "transform", "with": { "jq": filter } }]);
        client.run(&json!({ "workflow": flow(&steps), "input": [3, 1, 2] })).await
    };
    assert_eq!(run(".input | sort").await["output"]["s"], json!([1, 2, 3]));
    assert_eq!(run(".input[]").await["output"]["s"], json!([3, 1, 2]));
    assert_eq!(run("empty").await["output"]["s"], json!([]));
    let failed = run(".input | keys | error").await;
    assert_eq!(failed["error"]["code"], "jq_failed");
    assert_eq!(step(&failed, "s")["attempts"], json!(1));
    // A filter without an end is ended.
    let endless = json!([{ "id": "s", "kind": "transform", "with": { "jq": "[range(1; infinite)] | length" } }]);
    let status = client.run(&json!({ "workflow": flow(&endless) })).await;
    assert_eq!(status["status"], "failed");
    client.get("/health/live").await.expect(200);
}

#[tokio::test]
async fn an_input_that_does_not_fit_its_schema_is_refused_with_every_fault() {
    let (_server, client, _) = bench().await;
    let mut workflow = flow(&json!([{ "id": "s", "kind": "transform", "with": { "jq": "1" } }]));
    workflow["inputSchema"] = json!({
        "type": "object", "required": ["repo"],
        "properties": { "repo": { "type": "string" }, "limit": { "type": "integer", "minimum": 1 } }
    });
    let body = json!({ "workflow": workflow, "input": { "repo": 1, "limit": 0 } });
    let answer = client.post("/invoke/async", &body).await.expect(400);
    assert_eq!(answer.pointers(), ["/input/limit", "/input/repo"]);
    let body = json!({ "workflow": workflow, "input": { "repo": "r" } });
    client.post("/invoke/async", &body).await.expect(202);
}

#[tokio::test]
async fn a_secret_reaches_the_step_and_nothing_else() {
    const SECRET: &str = "xyzzy-5up3r-\"s3cr3t\"-value";
    let home = Home::sqlite().await;
    let launch = home.launch().set("RETHREAD_SECRET_TOKEN", SECRET).set("RETHREAD_LOG", "trace");
    let server = launch.set("RETHREAD_EXEC_ALLOW", "sh").start().await;
    let (client, recorder) = (server.client(), Recorder::start().await);
    let steps = json!([
        { "id": "sent", "kind": "http", "with": { "url": recorder.url("echo/e"), "method": "POST",
          "headers": { "Authorization": "Bearer {secrets.TOKEN}" }, "json": { "t": "{secrets.TOKEN}" } } },
        { "id": "failed", "kind": "http", "continueOnError": true, "retry": { "maxAttempts": 1 },
          "with": { "url": recorder.url("status/500/{secrets.TOKEN}") } },
        { "id": "refused", "kind": "http", "continueOnError": true, "retry": { "maxAttempts": 1 },
          "with": { "url": "http://127.0.0.1:1/?t={secrets.TOKEN}" } },
        { "id": "printed", "kind": "exec", "continueOnError": true, "retry": { "maxAttempts": 1 },
          "with": { "program": "sh", "args": ["-c", "echo $T; echo $T >&2; exit 1"],
                    "env": { "T": "{secrets.TOKEN}" } } },
    ]);
    let body = json!({ "workflow": flow(&steps), "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    let status = client.get("/status/t1?wait=20s").await.expect(200);
    assert_eq!(status.json()["status"], "completed", "{}", status.text());
    let hit = &recorder.hits_of("e")[0];
    assert_eq!(hit.headers["authorization"], format!("Bearer {SECRET}"));
    let sent: Value = serde_json::from_slice(&hit.body).unwrap();
    assert_eq!(sent["t"], SECRET);

    let events = client.events("t1").await.join("\n");
    let page = client.get("/ui/threads/t1").await;
    let log = server.log();
    server.sigterm_and_wait().await;
    // A part of it that looks the same however quotes are escaped.
    let mut files = vec![
        ("status", status.body.to_vec()),
        ("events", events.into_bytes()),
        ("page", page.body.to_vec()),
        ("log", log.into_bytes()),
    ];
    for entry in std::fs::read_dir(home.folder.path()).unwrap() {
        files.push(("file", std::fs::read(entry.unwrap().path()).unwrap()));
    }
    for (what, bytes) in files {
        for part in ["xyzzy-5up3r", "s3cr3t"] {
            let found = bytes.windows(part.len()).any(|window| window == part.as_bytes());
            assert!(!found, "{part} in {what}");
        }
    }
}

#[tokio::test]
async fn a_secret_that_is_not_there_fails_the_step() {
    let (_server, client, recorder) = bench().await;
    let steps = json!([{ "id": "s", "kind": "http",
        "with": { "url": recorder.url("ok/s"), "headers": { "A": "{secrets.NONE}" } } }]);
    let answer = client.post("/invoke?wait=10s", &json!({ "workflow": flow(&steps) })).await;
    let text = answer.text().to_owned();
    assert!(matches!(answer.status, 200 | 400), "{text}");
    assert!(answer.status == 400 || text.contains("template_unresolved"), "{text}");
    assert!(recorder.hits().is_empty());
}

#[tokio::test]
async fn the_public_policy_refuses_this_machine_however_it_is_named() {
    let home = Home::memory().await;
    let server = home.launch().set("RETHREAD_EGRESS", "public").start().await;
    let (client, recorder) = (server.client(), Recorder::start().await);
    let port = recorder.url("").trim_end_matches('/').rsplit(':').next().unwrap().to_owned();
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "0.0.0.0",
        "2130706433",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
    ] {
        let url = format!("http://{host}:{port}/ok/s");
        let steps = json!([{ "id": "s", "kind": "http", "with": { "url": url }, "timeout": "2s" }]);
        let status = client.run(&json!({ "workflow": flow(&steps) })).await;
        assert_eq!(status["error"]["code"], "egress_denied", "{host}: {}", status["error"]);
        assert_eq!(step(&status, "s")["attempts"], json!(1), "{host}");
    }
    assert!(recorder.hits().is_empty());
}

#[tokio::test]
async fn a_redirect_is_judged_like_a_first_address() {
    let home = Home::memory().await;
    let server = home.launch().set("RETHREAD_EGRESS", "127.0.0.1/32").start().await;
    let (client, recorder) = (server.client(), Recorder::start().await);
    let inside = recorder.url("ok/inside");
    let outside = inside.replace("127.0.0.1", "127.0.0.2");
    for (target, code) in [(inside, Value::Null), (outside, json!("egress_denied"))] {
        let url = recorder.url(&format!("to/{target}"));
        let steps = json!([{ "id": "s", "kind": "http", "with": { "url": url } }]);
        let status = client.run(&json!({ "workflow": flow(&steps) })).await;
        assert_eq!(status["error"]["code"], code, "{target}");
    }
}
