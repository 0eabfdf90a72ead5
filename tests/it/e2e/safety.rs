//! Secrets stay where they belong, and steps reach only what they may.

use serde_json::{Value, json};

use super::support::flows::{bench, flow, step};
use super::support::{Home, Recorder};

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
async fn a_method_that_no_workflow_could_name_is_not_sent_from_a_template_either() {
    let (_server, client, recorder) = bench().await;
    let steps = json!([{ "id": "s", "kind": "http",
        "with": { "url": recorder.url("ok/m"), "method": "{input}" } }]);
    for method in ["CONNECT", "trace", "PROPFIND", "PRI", "get /x"] {
        let status = client.run(&json!({ "workflow": flow(&steps), "input": method })).await;
        assert_eq!(status["error"]["code"], "invalid_configuration", "{method}");
        assert_eq!(step(&status, "s")["attempts"], json!(1), "{method}");
    }
    assert!(recorder.hits().is_empty());
    let status = client.run(&json!({ "workflow": flow(&steps), "input": "options" })).await;
    assert_eq!(status["status"], "completed", "{status:#}");
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

#[tokio::test]
async fn data_never_draws_a_credential_to_another_host_than_the_workflow_names() {
    let home = Home::memory().await;
    let server = home.launch().set("RETHREAD_SECRET_TOKEN", "TopSecretToken99").start().await;
    let client = server.client();
    let (named, other) = (Recorder::start().await, Recorder::start().await);
    let addr = |recorder: &Recorder| {
        recorder.url("").trim_start_matches("http://").trim_end_matches('/').to_owned()
    };
    let (a, b) = (addr(&named), addr(&other));
    let with =
        |url: &str| json!({ "url": url, "headers": { "Authorization": "Bearer {secrets.TOKEN}" } });
    let (short, digit) = a.split_at(a.len() - 1);
    for (url, input) in [
        (format!("http://{a}{{input}}"), format!("@{b}/ok/x")),
        (format!("http://{a}{{input}}"), format!("\\@{b}/ok/x")),
        (format!("http://{a}{{input}}"), format!("\t@{b}/ok/x")),
        (format!("http://user{{input}}@{a}/"), format!("@{b}/ok/x?")),
        ("http://{input}.localhost/".to_owned(), format!("{b}/ok/x?")),
        (format!("http://{short}{{input}}"), format!("{digit}@{b}/ok/x")),
        (format!("{{input}}://{a}/ok/x"), format!("http://{b}/ok/x?")),
    ] {
        let undo = json!({ "kind": "http", "with": with(&url) });
        for steps in [
            json!([{ "id": "s", "kind": "http", "with": with(&url) }]),
            json!([{ "id": "s", "kind": "http", "retry": { "maxAttempts": 1 },
                "with": { "url": "http://127.0.0.1:1/" }, "fallback": undo }]),
            json!([{ "id": "s", "kind": "transform", "with": { "jq": "1" }, "compensate": undo },
                { "id": "f", "kind": "transform", "dependsOn": ["s"], "with": { "jq": "error(\"no\")" } }]),
        ] {
            let status = client.run(&json!({ "workflow": flow(&steps), "input": input })).await;
            assert_eq!(status["status"], "failed", "{url} with {input}");
            let text = status.to_string();
            assert!(text.contains("invalid_configuration"), "{url} with {input}: {text}");
        }
    }
    assert!(other.hits().is_empty() && named.hits().is_empty());
    for (url, input) in [
        (format!("http://{a}{{input}}"), "/ok/x?@y".to_owned()),
        ("{input}".to_owned(), other.url("ok/whole")),
        ("{input}/base".to_owned(), other.url("ok")),
    ] {
        let steps = json!([{ "id": "s", "kind": "http", "with": with(&url) }]);
        let status = client.run(&json!({ "workflow": flow(&steps), "input": input })).await;
        assert_eq!(status["status"], "completed", "{url}: {status:#}");
    }
    assert_eq!((named.hits().len(), other.hits().len()), (1, 2));
}

#[tokio::test]
async fn what_holds_a_secret_is_not_redirected_to_another_origin() {
    let home = Home::memory().await;
    let server = home.launch().set("RETHREAD_SECRET_TOKEN", "TopSecretToken99").start().await;
    let client = server.client();
    let (named, other) = (Recorder::start().await, Recorder::start().await);
    let away = named.url(&format!("to/{}", named.url(&format!("to/{}", other.url("ok/x")))));
    for with in [
        json!({ "url": away, "headers": { "X-Key": "{secrets.TOKEN}" } }),
        json!({ "url": away, "method": "POST", "json": { "k": "{secrets.TOKEN}" } }),
        json!({ "url": format!("{away}?k={{secrets.TOKEN}}") }),
    ] {
        let steps = json!([{ "id": "s", "kind": "http", "with": with }]);
        let status = client.run(&json!({ "workflow": flow(&steps) })).await;
        assert_eq!(status["error"]["code"], "http_status", "{with}");
        assert_eq!(step(&status, "s")["attempts"], json!(1), "{with}");
    }
    assert!(other.hits().is_empty());
    let steps = json!([{ "id": "s", "kind": "http", "with": { "url": away } }]);
    let status = client.run(&json!({ "workflow": flow(&steps) })).await;
    assert_eq!((&status["status"], other.hits().len()), (&json!("completed"), 1));
}
