//! Whom the server answers: names, pages of other origins, proxies, caches.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::flows::workflow;
use super::support::{Home, Server};

const KEY: &str = "0123456789abcdef-key";

fn sleeper() -> serde_json::Value {
    json!({ "name": "w", "steps": [{ "id": "s", "kind": "sleep", "with": { "for": "1h" } }] })
}

#[tokio::test]
async fn a_page_that_points_its_name_at_this_machine_reads_and_changes_nothing() {
    let server = Home::memory().await.start().await;
    let (client, port) = (server.client(), server.addr.port());
    let body = json!({ "workflow": sleeper(), "threadId": "v" });
    client.post("/invoke/async", &body).await.expect(202);
    for host in [
        format!("evil.example:{port}"),
        "rebound.example".to_owned(),
        format!("127.0.0.1.evil.example:{port}"),
        format!("localhost.evil.example:{port}"),
        format!("x.localhost:{port}"),
    ] {
        let origin = format!("http://{host}");
        let headers = [
            ("host", host.as_str()),
            ("origin", &origin),
            ("sec-fetch-site", "same-origin"),
            ("content-type", "application/json"),
        ];
        for (method, path) in [
            ("GET", "/threads"),
            ("GET", "/"),
            ("GET", "/ui/threads/v"),
            ("GET", "/stream/v"),
            ("GET", "/metrics"),
            ("GET", "/openapi.json"),
            ("POST", "/invoke/async"),
            ("POST", "/threads/v/abort"),
            ("DELETE", "/threads/v"),
        ] {
            let raw = raw(&server, method, path, &headers).await;
            assert!(raw.starts_with("HTTP/1.1 421"), "{method} {path} {host}: {raw}");
            assert!(raw.contains("\"misdirected\""), "{raw}");
        }
    }
    for origin in ["http://evil.example", "null", &format!("http://127.0.0.1:{}", port ^ 1)] {
        let headers = [("origin", origin)];
        client.send("POST", "/threads/v/abort", &headers, "").await.expect(403);
        client.send("POST", "/threads/v/pause", &headers, "").await.expect(403);
    }
    assert_eq!(client.status("v").await["status"], "running");
    let own = format!("http://127.0.0.1:{port}");
    let headers = [("origin", own.as_str()), ("sec-fetch-site", "same-origin")];
    client.send("POST", "/threads/v/abort", &headers, "").await.expect(200);
    for host in ["localhost", "127.0.0.1", "[::1]:1", "LOCALHOST:8080"] {
        let raw = raw(&server, "GET", "/threads", &[("host", host)]).await;
        assert!(raw.starts_with("HTTP/1.1 200"), "{host}: {raw}");
    }
}

#[tokio::test]
async fn a_host_that_is_missing_double_or_broken_is_refused() {
    let server = Home::memory().await.start().await;
    for (headers, expected) in [
        (&[][..], "400"),
        (&[("host", "a"), ("host", "b")], "400"),
        (&[("host", "localhost"), ("host", "localhost")], "400"),
        (&[("host", "a b/c")], "400"),
        (&[("host", "")], "400"),
        (&[("host", "u@localhost")], "400"),
        (&[("host", "10.1.2.3:8080")], "200"),
    ] {
        let raw = raw(&server, "GET", "/health/live", headers).await;
        assert!(raw.starts_with(&format!("HTTP/1.1 {expected}")), "{headers:?}: {raw}");
    }
}

/// What comes back for a request of exactly these headers.
async fn raw(server: &Server, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let mut socket = TcpStream::connect(server.addr).await.unwrap();
    let mut request = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&[name, ": ", value, "\r\n"].concat());
    }
    socket.write_all(format!("{request}\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn what_a_proxy_forwards_to_a_server_without_keys_is_refused() {
    let server = Home::memory().await.start().await;
    let client = server.client();
    for name in ["x-forwarded-for", "x-forwarded-host", "forwarded", "via"] {
        let headers = [(name, "203.0.113.9")];
        let answer = client.send("GET", "/threads", &headers, "").await.expect(403);
        assert_eq!(answer.json()["code"], "forwarded");
        client.send("GET", "/health/ready", &headers, "").await.expect(200);
    }
}

#[tokio::test]
async fn a_named_origin_starts_a_thread_and_follows_it_with_a_token() {
    let keys = format!("ops:{KEY}");
    let launch = Home::memory().await;
    let launch = launch.launch().set("RETHREAD_API_KEYS", &keys);
    let launch = launch.set("RETHREAD_CORS_ORIGINS", "https://app.example, http://localhost:3000");
    let server = launch.start().await;
    let (anybody, ops) = (server.client(), server.client().with_key(KEY));
    let ours = [("origin", "https://app.example"), ("sec-fetch-site", "cross-site")];
    let asks = [ours[0], ("access-control-request-method", "POST")];
    for path in ["/invoke/async", "/stream/t1", "/threads/t1/abort", "/notifications/n"] {
        let answer = anybody.send("OPTIONS", path, &asks, "").await.expect(200);
        assert_eq!(answer.header("access-control-allow-origin"), "https://app.example");
    }
    let body = json!({ "workflow": workflow("w"), "input": { "x": 1 }, "threadId": "t1" });
    let headers = [ours[0], ours[1], ("content-type", "application/json")];
    let answer = ops.send("POST", "/invoke/async", &headers, body.to_string()).await.expect(202);
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.example");
    assert!(answer.header("access-control-expose-headers").contains("location"));
    ops.completed("t1").await;
    let granted = ops.send("POST", "/threads/t1/stream-token", &ours, "").await.expect(201).json();
    let url = granted["url"].as_str().unwrap();
    let stream = [ours[0], ours[1], ("accept", "text/event-stream")];
    let answer = anybody.send("GET", url, &stream, "").await.expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.example");
    assert!(answer.text().contains("workflow_complete"), "{}", answer.text());
    let refused = anybody.send("GET", "/stream/t1", &stream, "").await.expect(401);
    assert!(
        !refused
            .headers
            .get_all("www-authenticate")
            .iter()
            .any(|value| { value.to_str().unwrap().starts_with("Basic") })
    );
    let other = [("origin", "https://evil.example"), headers[2]];
    ops.send("POST", "/invoke/async", &other, body.to_string()).await.expect(403);
    let answer = anybody.send("GET", url, &[("origin", "https://evil.example")], "").await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn no_cache_keeps_what_users_wrote() {
    let server = Home::memory().await.start().await;
    let client = server.client();
    let body = json!({ "workflow": workflow("w"), "input": { "x": 1 }, "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    client.completed("t1").await;
    for path in [
        "/status/t1",
        "/threads",
        "/threads/t1",
        "/threads/t1/events",
        "/threads/t1/checkpoints",
        "/threads/t1/recoveries",
        "/threads/t1/diagnostics",
        "/threads/t1/explain",
        "/workflows",
        "/interventions",
        "/notifications",
        "/monitor",
        "/stats",
        "/health",
        "/metrics",
        "/",
        "/ui/threads/t1",
        "/status/none",
        "/threads?limit=x",
        "/nothing",
    ] {
        let answer = client.get(path).await;
        let rule = answer.header("cache-control");
        let versioned = !answer.header("etag").is_empty();
        assert_eq!(rule, if versioned { "private, no-cache" } else { "no-store" }, "{path}");
    }
}

#[tokio::test]
async fn an_address_of_a_database_without_a_scheme_is_not_printed() {
    let home = Home::memory().await;
    for url in [
        "app:hunter2@db.example/app",
        "hunter2",
        "//app:hunter2/app",
        "postgres:app:hunter2@db/app",
        "host=db password=hunter2",
        "postgres//app:hunter2@db/app",
        "mysql://app:hunter2@db/app",
    ] {
        let output = home.launch().set("DATABASE_URL", url).output(&["serve"]).await;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!output.status.success() && said.contains("DATABASE_URL"), "{url}: {said}");
        assert!(!said.contains("hunter2"), "{url}: {said}");
    }
}
