//! What steps of each kind do and give back.

use serde_json::json;

use super::support::flows::{bench, flow, step, types};
use super::support::{Home, Recorder};

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
