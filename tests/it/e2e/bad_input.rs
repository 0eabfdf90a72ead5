//! Requests that are wrong: the right status, every fault named, and nothing written.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::client::Headers;
use super::support::{Answer, Client, Home, on_stores};

on_stores!([sqlite, postgres][nothing_is_written_by_what_is_refused]);

const JSON: Headers<'static> = &[("content-type", "application/json")];

/// Looks at every member that a problem must have.
fn is_problem(answer: &Answer, status: u16, path: &str) -> Value {
    assert_eq!(answer.status, status, "{path}: {}", answer.text());
    assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
    let problem = answer.json();
    let code = problem["code"].as_str().unwrap();
    assert_eq!(problem["type"], format!("https://rethread.dev/problems/{code}"));
    assert_eq!(problem["status"], json!(status));
    assert_eq!(problem["instance"], path.split('?').next().unwrap());
    for member in ["title", "detail", "category"] {
        assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member}");
    }
    assert!(problem["recoverable"].is_boolean() && problem["errors"].is_array());
    assert_eq!(problem["requestId"], answer.header("x-request-id"));
    assert!(!answer.header("x-request-id").is_empty());
    for inner in ["SELECT", "sqlx", "src/", "panicked", ".rs"] {
        assert!(!answer.text().contains(inner), "{}", answer.text());
    }
    problem
}

async fn server() -> (super::support::Server, Client) {
    let server = Home::memory().await.start().await;
    let client = server.client();
    (server, client)
}

fn workflow() -> Value {
    json!({ "name": "w", "steps": [{ "id": "a", "kind": "transform", "with": { "jq": "1" } }] })
}

/// Bodies of an invoke that are refused with 400, with the code.
fn bad_bodies() -> Vec<(String, &'static str)> {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let invoke = |member: &str| format!("{{\"workflow\":{},{member}}}", workflow());
    vec![
        (String::new(), "malformed_json"),
        ("{".to_owned(), "malformed_json"),
        ("{\"workflow\":}".to_owned(), "malformed_json"),
        (format!("{} x", json!({ "workflow": workflow() })), "malformed_json"),
        (format!("{{\"workflow\":{},\"input\":{deep}}}", workflow()), "malformed_json"),
        (deep, "malformed_json"),
        (invoke("\"input\":NaN"), "malformed_json"),
        (invoke("\"input\":01"), "malformed_json"),
        (invoke("\"input\":\"a\tb\""), "malformed_json"),
        (invoke("\"input\":'a'"), "malformed_json"),
        ("[]".to_owned(), "validation_failed"),
        ("null".to_owned(), "validation_failed"),
        ("1".to_owned(), "validation_failed"),
        ("\"w\"".to_owned(), "validation_failed"),
        ("{}".to_owned(), "validation_failed"),
        (invoke("\"inptu\":1"), "validation_failed"),
        (invoke("\"threadId\":\"\""), "validation_failed"),
        (invoke("\"threadId\":\"a/b\""), "validation_failed"),
        (invoke("\"threadId\":\"-a\""), "validation_failed"),
        (invoke(&format!("\"threadId\":\"{}\"", "a".repeat(129))), "validation_failed"),
        (invoke("\"threadId\":1"), "validation_failed"),
        (invoke("\"metadata\":[]"), "validation_failed"),
        (invoke("\"priority\":\"high\""), "validation_failed"),
        (invoke("\"priority\":1e9"), "validation_failed"),
        (invoke("\"queue\":\"fast\""), "validation_failed"),
        ("{\"workflow\":1}".to_owned(), "validation_failed"),
        ("{\"workflow\":\"\"}".to_owned(), "validation_failed"),
        ("{\"workflow\":{}}".to_owned(), "validation_failed"),
        ("{\"workflow\":{\"name\":\"w\",\"steps\":[]}}".to_owned(), "validation_failed"),
        ("{\"threadId\":\"nobody\"}".to_owned(), "validation_failed"),
    ]
}

async fn nothing_is_written_by_what_is_refused(home: Home) {
    let server = home.launch().set("RETHREAD_MAX_BODY", "1MiB").start().await;
    let client = server.client();
    for path in ["/invoke/async", "/invoke", "/api/invoke/async"] {
        for (body, code) in bad_bodies() {
            let answer = client.post_text(path, body.clone()).await;
            let problem = is_problem(&answer, 400, path);
            assert_eq!(problem["code"], code, "{body:.200}: {}", answer.text());
            assert_eq!(problem["category"], "validation");
        }
    }
    let bad_utf8 = b"{\"workflow\":\"\xff\"}".to_vec();
    is_problem(&client.post_text("/invoke/async", bad_utf8).await, 400, "/invoke/async");
    for path in ["/threads", "/workflows"] {
        assert_eq!(client.get(path).await.expect(200).json()["items"], json!([]));
    }
    client.get("/health/ready").await.expect(200);
}

#[tokio::test]
async fn every_fault_of_a_body_is_in_one_answer() {
    let (_server, client) = server().await;
    let body = json!({
        "workflow": workflow(), "inptu": 1, "threadId": "a b", "metadata": 1, "priority": "x",
        "queue": 2, "Workflow": {}
    });
    let answer = client.post("/invoke/async", &body).await;
    is_problem(&answer, 400, "/invoke/async");
    assert_eq!(
        answer.pointers(),
        ["/Workflow", "/inptu", "/metadata", "/priority", "/queue", "/threadId"]
    );
    let nested = json!({
        "inptu": 1, "workflow": { "name": "w", "steps": [{ "id": "a", "kind": "teleport", "with": {} }] }
    });
    let answer = client.post("/invoke/async", &nested).await;
    is_problem(&answer, 400, "/invoke/async");
    assert_eq!(answer.pointers(), ["/inptu", "/workflow/steps/0/kind"]);
    for path in ["/threads/t1/abort", "/threads/t1/resume"] {
        let answer = client.post(path, &json!({ "reason": 1, "nope": 2 })).await;
        is_problem(&answer, 400, path);
        assert_eq!(answer.pointers(), ["/nope", "/reason"]);
    }
}

#[tokio::test]
async fn every_fault_of_a_workflow_is_in_one_answer() {
    let (_server, client) = server().await;
    let transform = json!({ "jq": "." });
    let steps = json!([
        { "id": "a", "kind": "transform", "with": transform, "dependsOn": ["b"] },
        { "id": "b", "kind": "transform", "with": transform, "dependsOn": ["a"] },
        { "id": "c", "kind": "teleport", "with": {} },
        { "id": "d", "kind": "transform", "with": { "jq": ".", "from": "{e.output}" } },
        { "id": "e", "kind": "transform", "with": { "jq": ".[" } },
        { "id": "e", "kind": "transform", "with": transform },
        { "id": "input", "kind": "transform", "with": transform },
        { "id": "1st", "kind": "transform", "with": transform },
        { "id": "g", "kind": "transform", "with": transform, "dependsOn": ["nobody"] },
        { "id": "h", "kind": "transform", "with": transform, "when": "1 +" },
        { "id": "i", "kind": "http", "with": { "url": "ftp://x", "metod": "GET" }, "tiemout": "1s" },
        { "id": "j", "kind": "http", "with": { "method": "GET" }, "timeout": "soon" },
        { "id": "k", "kind": "sleep", "with": { "for": "1s", "until": "2030-01-01T00:00:00Z" } },
        { "id": "l", "kind": "transform", "with": transform, "retry": { "maxAttempts": 0, "jiter": true } },
        { "kind": "transform", "with": transform },
    ]);
    let workflow = json!({ "name": "w", "steps": steps, "output": "{z.output}", "outptu": 1 });
    for (path, body, at) in [
        ("/invoke/async", json!({ "workflow": workflow }), "/workflow"),
        ("/workflows/validate", workflow.clone(), ""),
        ("/workflows/validate", json!({ "workflow": workflow, "input": 1 }), "/workflow"),
        ("/workflows", workflow.clone(), ""),
    ] {
        let answer = client.post(path, &body).await;
        is_problem(&answer, 400, path);
        let pointers = answer.pointers();
        for pointer in [
            "/steps/2/kind",
            "/steps/3/with/from",
            "/steps/4/with/jq",
            "/steps/5/id",
            "/steps/6/id",
            "/steps/7/id",
            "/steps/8/dependsOn/0",
            "/steps/9/when",
            "/steps/10/with/url",
            "/steps/10/with/metod",
            "/steps/10/tiemout",
            "/steps/11/timeout",
            "/steps/13/retry/maxAttempts",
            "/steps/13/retry/jiter",
            "/output",
            "/outptu",
        ] {
            let pointer = format!("{at}{pointer}");
            assert!(pointers.contains(&pointer), "{path}: no {pointer} in {pointers:#?}");
        }
        let below =
            |place: &str| pointers.iter().any(|one| one.starts_with(&format!("{at}{place}")));
        assert!(below("/steps/0") || below("/steps/1"), "the cycle: {pointers:#?}");
        assert!(below("/steps/11/with"), "the url: {pointers:#?}");
        assert!(below("/steps/12/with"), "for and until: {pointers:#?}");
        assert!(below("/steps/14"), "the id: {pointers:#?}");
    }
    assert_eq!(client.get("/workflows").await.json()["items"], json!([]));
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_however_it_comes() {
    let home = Home::memory().await;
    let server = home.launch().set("RETHREAD_MAX_BODY", "64KiB").start().await;
    let client = server.client();
    let body = json!({ "workflow": workflow(), "input": "x".repeat(64 * 1024) });
    let answer = client.post("/invoke/async", &body).await;
    let problem = is_problem(&answer, 413, "/invoke/async");
    assert_eq!(
        (&problem["code"], &problem["category"]),
        (&json!("payload_too_large"), &json!("resource"))
    );
    // Small enough for the door, too large for an event.
    let small = home.launch().set("RETHREAD_MAX_EVENT", "2KiB");
    let small = small.set("RETHREAD_MAX_BODY", "64KiB").start().await;
    let body = json!({ "workflow": workflow(), "input": "x".repeat(4096) });
    let answer = small.client().post("/invoke/async", &body).await;
    assert_eq!(is_problem(&answer, 413, "/invoke/async")["code"], "payload_too_large");
    assert_eq!(small.client().get("/threads").await.json()["items"], json!([]));
    // In chunks, without a length.
    let mut socket = tokio::net::TcpStream::connect(server.addr).await.unwrap();
    let head = "POST /invoke/async HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                transfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let send = async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        socket.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..4 {
            // The server may have answered and closed already.
            if socket.write_all(chunk.as_bytes()).await.is_err() {
                break;
            }
        }
        let mut answer = vec![0; 12];
        socket.read_exact(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    };
    assert_eq!(send.await, "HTTP/1.1 413");
    client.get("/health/live").await.expect(200);
}

/// Looking for members that are given twice must not take the square of their number.
#[tokio::test]
async fn a_body_of_very_many_members_is_answered_at_once() {
    let (_server, client) = server().await;
    let members: Vec<String> = (0..350_000).map(|n| format!("\"{n:x}\":1")).collect();
    let body = format!("{{{}}}", members.join(","));
    let json = [("content-type", "application/json")];
    let asked = client.send("POST", "/invoke/async", &json, body);
    let answer = tokio::time::timeout(Duration::from_secs(10), asked).await.unwrap();
    is_problem(&answer, 400, "/invoke/async");
}

#[tokio::test]
async fn a_body_of_another_type_is_refused() {
    let (_server, client) = server().await;
    let body = json!({ "workflow": workflow() }).to_string();
    for bad in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/xml",
        "",
        "application/json; charset=latin1",
    ] {
        let answer =
            client.send("POST", "/invoke/async", &[("content-type", bad)], body.clone()).await;
        assert_eq!(is_problem(&answer, 415, "/invoke/async")["code"], "unsupported_media_type");
    }
    let none = client.send("POST", "/invoke/async", &[], body.clone()).await;
    is_problem(&none, 415, "/invoke/async");
    let zipped = [("content-type", "application/json"), ("content-encoding", "gzip")];
    is_problem(
        &client.send("POST", "/invoke/async", &zipped, body.clone()).await,
        415,
        "/invoke/async",
    );
    for good in ["application/json; charset=UTF-8", "Application/JSON", "application/vnd.x+json"] {
        client
            .send("POST", "/invoke/async", &[("content-type", good)], body.clone())
            .await
            .expect(202);
    }
}

#[tokio::test]
async fn unknown_routes_and_wrong_methods_are_problems_too() {
    let (_server, client) = server().await;
    for path in
        ["/nothing", "/threads/t1/nothing", "/invoke/async/", "/status", "/api", "/%00", "/..%2f"]
    {
        let answer = client.get(path).await;
        assert_eq!(is_problem(&answer, 404, path)["code"], "route_not_found", "{path}");
    }
    for (method, path, allow) in [
        ("GET", "/invoke/async", "POST"),
        ("PUT", "/status/t1", "GET"),
        ("DELETE", "/workflows", "GET"),
        ("PATCH", "/threads/t1", "DELETE"),
        ("POST", "/stream/t1", "GET"),
        ("POST", "/health", "GET"),
    ] {
        let answer = client.send(method, path, JSON, "{}").await;
        assert_eq!(is_problem(&answer, 405, path)["code"], "method_not_allowed");
        assert!(answer.header("allow").contains(allow), "{path}: {:?}", answer.headers);
    }
}

#[tokio::test]
async fn bad_ids_cursors_and_parameters_are_refused() {
    let (_server, client) = server().await;
    client
        .post("/invoke/async", &json!({ "workflow": workflow(), "threadId": "t1" }))
        .await
        .expect(202);
    client.completed("t1").await;
    let table = [
        "/status/a%20b",
        "/status/-x",
        "/status/%ff",
        "/threads/a%2Fb",
        "/stream/%00",
        "/status/%F0%9F%A7%B5",
        "/status/t1?wait=soon",
        "/status/t1?wait=-1",
        "/status/t1?outputs=no",
        "/status/t1?at=x",
        "/status/t1?at=0",
        "/status/t1?att=1",
        "/status/t1?at=1&at=2",
        "/status/t1?a=%zz",
        "/threads?limit=0",
        "/threads?limit=1001",
        "/threads?limit=x",
        "/threads?status=happy",
        "/threads?cursor=nonsense",
        "/threads?cursor=AAAA",
        "/threads?limti=1",
        "/threads?metadata.=1",
        "/threads/t1/events?after=-1",
        "/threads/t1/events?limit=0",
        "/threads/t1/events?limit=1001",
        "/threads/t1/checkpoints?cursor=x",
        "/workflows/w?version=0",
        "/monitor?limit=0",
        "/health/live?x=1",
        "/stream?status=happy",
        "/stream/t1?after=x",
    ];
    for path in table {
        let answer = client.get(path).await;
        assert_eq!(is_problem(&answer, 400, path)["category"], "validation", "{path}");
    }
    let long = format!("/status/{}", "a".repeat(129));
    is_problem(&client.get(&long).await, 400, &long);
    for tag in ["1", "\"x\"", "W/\"1\"", "\"\"", "\"-1\""] {
        let answer = client.send("DELETE", "/threads/t1", &[("if-match", tag)], "").await;
        assert!(matches!(answer.status, 400 | 412), "{tag}: {}", answer.text());
    }
    client.get("/status/t1").await.expect(200);
    let long_key = "k".repeat(256);
    for key in ["", long_key.as_str(), "a\tb"] {
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        let answer = client
            .send("POST", "/invoke/async", &headers, json!({ "workflow": workflow() }).to_string())
            .await;
        is_problem(&answer, 400, "/invoke/async");
    }
}

#[tokio::test]
async fn request_ids_are_given_and_echoed_if_they_are_safe() {
    let (_server, client) = server().await;
    let echoed = client.send("GET", "/nothing", &[("x-request-id", "my-id_1.x")], "").await;
    assert_eq!(is_problem(&echoed, 404, "/nothing")["requestId"], "my-id_1.x");
    let mut ids = std::collections::HashSet::new();
    for bad in ["a b", "<script>", "", "a\"b"] {
        let answer = client.send("GET", "/health", &[("x-request-id", bad)], "").await;
        let id = answer.header("x-request-id").to_owned();
        assert!(id != bad && !id.is_empty());
        ids.insert(id);
    }
    assert_eq!(ids.len(), 4);
}

#[tokio::test]
async fn a_request_that_is_not_http_costs_nothing() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (server, client) = server().await;
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "a".repeat(100_000)).into_bytes(),
        format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "a".repeat(100_000))
            .into_bytes(),
        b"POST /invoke/async HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n".to_vec(),
    ] {
        let mut socket = tokio::net::TcpStream::connect(server.addr).await.unwrap();
        // It may close before everything was sent.
        drop(socket.write_all(&bytes).await);
        let mut answer = Vec::new();
        let read = socket.read_to_end(&mut answer);
        drop(tokio::time::timeout(super::support::PATIENCE, read).await.unwrap());
        let text = String::from_utf8_lossy(&answer);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    }
    client.get("/health/live").await.expect(200);
}
