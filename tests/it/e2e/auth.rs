//! Who may do what: API keys, stream tokens, and what is refused at the start.

use serde_json::{Value, json};

use super::support::flows::chain;
use super::support::{Home, Recorder, Server};

const OPS: &str = "0123456789abcdef-ops";
const CI: &str = "fedcba9876543210-ci";

async fn server() -> (Server, Recorder) {
    let keys = format!("ops:{OPS},ci:{CI}");
    let home = Home::memory().await;
    // A stranger tries every route.
    let launch = home.launch().set("RETHREAD_API_KEYS", &keys).set("RETHREAD_WRONG_KEYS", "0");
    let server = launch.start().await;
    (server, Recorder::start().await)
}

#[tokio::test]
async fn every_route_but_the_probes_wants_a_key() {
    let (server, _) = server().await;
    let (anybody, ops) = (server.client(), server.client().with_key(OPS));
    let document = ops.get("/openapi.json").await.expect(200).json();
    let mut routes =
        vec![("GET".to_owned(), "/".to_owned()), ("GET".to_owned(), "/ui/threads/t1".to_owned())];
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let path = path.replace("{threadId}", "t1").replace("{name}", "w");
            routes.push((method.to_uppercase(), path));
        }
    }
    for alias in
        ["/api/invoke/stream/t1", "/api/invoke-status/status/t1", "/api/health/checkpointer"]
    {
        routes.push(("GET".to_owned(), alias.to_owned()));
    }
    assert!(routes.len() > 20, "{routes:?}");
    let wrong = server.client().with_key("0123456789abcdef-op");
    for (method, path) in routes {
        let open = matches!(path.as_str(), "/health/live" | "/health/ready");
        for client in [&anybody, &wrong] {
            let answer = client.send(&method, &path, &[], "").await;
            if open {
                answer.expect(200);
                continue;
            }
            assert_eq!(answer.status, 401, "{method} {path}: {}", answer.text());
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{path}");
            let problem = answer.json();
            assert_eq!(
                (&problem["code"], &problem["category"]),
                (&json!("unauthenticated"), &json!("authentication"))
            );
        }
    }
    anybody.get("/nothing").await.expect(401);
    ops.get("/nothing").await.expect(404);
}

#[tokio::test]
async fn events_name_the_key_that_caused_them() {
    let (server, recorder) = server().await;
    let (ops, ci) = (server.client().with_key(OPS), server.client().with_key(CI));
    let body = json!({ "workflow": chain(&recorder, &["wait/one"]), "threadId": "t1" });
    ops.post("/invoke/async", &body).await.expect(202);
    recorder.reached("one", 1).await;
    ci.post("/threads/t1/abort", &json!({})).await;
    ci.ended("t1").await;
    ops.post("/threads/t1/resume", &json!({ "reason": "again" })).await.expect(202);
    let events = ops.events("t1").await;
    let by = |kind: &str| {
        let events = events.iter().map(|text| serde_json::from_str::<Value>(text).unwrap());
        events.filter(|event| event["type"] == kind).map(|event| event["data"]["by"].clone()).next()
    };
    assert_eq!(by("workflow_start"), Some(json!("ops")));
    assert_eq!(by("workflow_aborted"), Some(json!("ci")));
    assert_eq!(by("workflow_resumed"), Some(json!("ops")));
    let log = server.log();
    assert!(!log.contains(OPS) && !log.contains(CI));
}

#[tokio::test]
async fn a_stream_token_opens_one_threads_stream_for_reading() {
    let (server, recorder) = server().await;
    let (anybody, ops) = (server.client(), server.client().with_key(OPS));
    for thread in ["t1", "t2"] {
        let body = json!({ "workflow": chain(&recorder, &["ok/one"]), "threadId": thread });
        ops.post("/invoke/async", &body).await.expect(202);
        ops.completed(thread).await;
    }
    anybody.post("/threads/t1/stream-token", &json!({})).await.expect(401);
    ops.send("POST", "/threads/none/stream-token", &[], "").await.expect(404);
    let answer = ops.send("POST", "/threads/t1/stream-token", &[], "").await.expect(201);
    assert_eq!(answer.header("cache-control"), "no-store");
    let granted = answer.json();
    let token = granted["token"].as_str().unwrap();
    assert_eq!(granted["url"], format!("/stream/t1?token={token}"));
    let expires =
        chrono::DateTime::parse_from_rfc3339(granted["expiresAt"].as_str().unwrap()).unwrap();
    let date = chrono::DateTime::parse_from_rfc2822(answer.header("date")).unwrap();
    assert!((expires - date).num_seconds() <= 61, "{granted}");

    let frames = anybody.stream(granted["url"].as_str().unwrap(), &[]).await.rest().await;
    assert_eq!(frames.len(), ops.events("t1").await.len());
    let more = anybody.stream(&format!("/stream/t1?token={token}&after=2"), &[]).await.rest().await;
    assert_eq!(more[0].id.as_deref(), Some("3"));
    anybody.stream(&format!("/api/invoke/stream/t1?token={token}"), &[]).await.rest().await;
    for path in
        ["/stream/t2", "/status/t1", "/threads/t1", "/threads/t1/events", "/stream", "/threads"]
    {
        anybody.get(&format!("{path}?token={token}")).await.expect(401);
    }
    let forged = format!("{}A", &token[..token.len() - 1]);
    for bad in ["x", "", forged.as_str()] {
        if bad != token {
            anybody.get(&format!("/stream/t1?token={bad}")).await.expect(401);
        }
    }
    anybody.send("DELETE", &format!("/threads/t1?token={token}"), &[], "").await.expect(401);
    assert!(!server.log().contains(token));
}

#[tokio::test]
async fn keys_may_come_from_a_file() {
    let home = Home::memory().await;
    let file = home.folder.path().join("keys");
    std::fs::write(&file, format!("# who\nops:{OPS}\n\nci:{CI}\n")).unwrap();
    let at = format!("@{}", file.display());
    let server = home.launch().set("RETHREAD_API_KEYS", &at).start().await;
    server.client().get("/threads").await.expect(401);
    server.client().with_key(CI).get("/threads").await.expect(200);
}

#[tokio::test]
async fn an_address_that_others_reach_wants_keys() {
    let home = Home::memory().await;
    for addr in ["0.0.0.0:0", "[::]:0"] {
        let output = home.launch().set("RETHREAD_ADDR", addr).output(&["serve"]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{said}");
        assert!(said.contains("RETHREAD_API_KEYS") && said.contains(addr), "{said}");
        assert!(output.stdout.is_empty());
    }
    let keys = format!("ops:{OPS}");
    let launch = home.launch().set("RETHREAD_ADDR", "0.0.0.0:0").set("RETHREAD_API_KEYS", &keys);
    launch.start().await;
}
