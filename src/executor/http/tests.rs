use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::definition::Action;
use crate::executor::{Attempt, Pulse, Redactor, Room, Rooms, StepExecutor as _};
use crate::model::{Clock, Json, Namespace, StepId, ThreadId, Timestamp};
use crate::observe::{Memory, MemoryMetrics, Pool};

mod kept;
mod server;

use server::{Server, answering, closing};

/// The longest wait for anything here that should take milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// A secret of the executors in these tests.
const TOKEN: &str = "t0p-\"secret\"-value";

/// Returns an attempt of `t1/s1` with that `with`.
pub(super) fn attempt(with: &str) -> Attempt {
    Attempt {
        thread_id: ThreadId::parse("t1").unwrap(),
        step_id: StepId::parse("s1").unwrap(),
        number: 1,
        action: Arc::new(Action::Http),
        with: Json::parse(with).unwrap(),
        holds_secrets: false,
        traceparent: None,
        work: crate::definition::Work::Own,
        compensation_epoch: 0,
        pulse: Pulse::default(),
        room: Room::boundless(),
    }
}

#[tokio::test]
async fn an_answer_becomes_status_headers_and_exact_body() {
    let server = Server::start().await;
    let output = server.get("/json", "open").await.unwrap();
    assert!(output.starts_with("{\"status\":200,\"headers\":{\"content-type\":"), "{output}");
    assert!(output.contains("\"x-twice\":\"one, two\""), "{output}");
    assert!(output.ends_with(",\"body\":{\"b\":1.0,\"a\":12345678901234567890}}"), "{output}");
    let output = server.get("/status/204", "open").await.unwrap();
    assert!(output.ends_with(",\"body\":\"\"}"), "{output}");
}

#[tokio::test]
async fn the_other_side_sees_key_attempt_and_agent() {
    let server = Server::start().await;
    let with = format!(
        r#"{{"method":"POST","url":"{}/echo","query":{{"q":"ä"}},"headers":{{"X-Mine":"1"}},"json":{{"a":[1.0]}}}}"#,
        server.url
    );
    let output = server.run(&with, "open").await.unwrap();
    for part in [
        "POST /echo?q=%C3%A4",
        "idempotency-key: t1/s1",
        "x-rethread-attempt: 1",
        "x-mine: 1",
        "content-type: application/json",
        concat!("user-agent: rethread/", env!("CARGO_PKG_VERSION")),
        "\\n{\\\"a\\\":[1.0]}\"",
    ] {
        assert!(output.contains(part), "{part} is not in {output}");
    }
}

#[tokio::test]
async fn statuses_are_retried_by_the_contracts_table() {
    let server = Server::start().await;
    for (status, recoverable, category) in [
        (400, false, "validation"),
        (401, false, "authentication"),
        (403, false, "authorization"),
        (404, false, "not_found"),
        (408, true, "timeout"),
        (409, false, "conflict"),
        (418, false, "external"),
        (425, true, "external"),
        (429, true, "rate_limit"),
        (500, true, "external"),
        (501, true, "external"),
        (503, true, "external"),
        (504, true, "timeout"),
    ] {
        let error = server.get(&format!("/status/{status}"), "open").await.unwrap_err();
        let failure = error.failure;
        assert_eq!(failure.code, "http_status");
        assert_eq!(failure.recoverable, recoverable, "{status}");
        assert_eq!(failure.category.as_str(), category, "{status}");
        let expected = recoverable.then_some(Duration::from_secs(7));
        assert_eq!(error.retry_after, expected, "{status}");
        assert!(failure.message.starts_with(&format!("HTTP {status}")), "{}", failure.message);
        if status == 500 {
            assert!(failure.message.ends_with(": said\\u{1b}[1m so"), "{}", failure.message);
        }
    }
}

#[tokio::test]
async fn expected_statuses_are_outputs_and_expected_redirects_are_not_followed() {
    let server = Server::start().await;
    let expecting = |path: &str, expected: &str| {
        let with = format!(r#"{{"url":"{}{path}","expectStatus":{expected}}}"#, server.url);
        async { server.run(&{ with }, "open").await }
    };
    assert!(expecting("/status/404", "[200, 404]").await.is_ok());
    let output = expecting("/to/%2Fjson", "303").await.unwrap();
    assert!(output.starts_with("{\"status\":303,"), "{output}");
    let error = expecting("/json", "201").await.unwrap_err();
    assert_eq!((error.failure.code.as_str(), error.failure.recoverable), ("http_status", false));
}

#[tokio::test]
async fn refused_and_broken_connections_and_unknown_names_are_retried() {
    let server = Server::start().await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for url in [
        format!("http://{free}/"),
        "http://no-such-host.invalid/".to_owned(),
        format!("{}/broken", server.url),
        closing().await,
    ] {
        let with = format!(r#"{{"url":"{url}"}}"#);
        let failure = server.run(&with, "open").await.unwrap_err().failure;
        assert_eq!(
            (failure.code.as_str(), failure.recoverable),
            ("connection_failed", true),
            "{url}"
        );
    }
}

#[tokio::test]
async fn a_step_names_another_host_than_its_urls_only_where_egress_is_open() {
    let server = Server::start().await;
    let with = format!(r#"{{"url":"{}/echo","headers":{{"Host":"evil.example"}}}}"#, server.url);
    assert!(server.run(&with, "open").await.unwrap().contains("evil.example"));
    let refused = server.run(&with, "127.0.0.0/8").await.unwrap_err().failure;
    assert_eq!(refused.code, "invalid_configuration");
    assert!(refused.message.contains("Host"), "{}", refused.message);
}

#[tokio::test]
async fn redirects_are_followed_up_to_ten_and_drop_credentials_elsewhere() {
    let (server, other) = (Server::start().await, Server::start().await);
    assert!(server.get("/to/%2Fjson", "open").await.unwrap().contains("\"status\":200"));
    let error = server.get("/loop", "open").await.unwrap_err();
    assert_eq!((error.failure.code.as_str(), error.failure.recoverable), ("http_status", false));
    let with = format!(
        r#"{{"url":"{}/to/{}","headers":{{"Authorization":"Bearer s3cret"}}}}"#,
        server.url,
        format!("{}/echo", other.url).replace('/', "%2F")
    );
    let output = server.run(&with, "open").await.unwrap();
    assert!(output.contains("GET /echo") && !output.contains("s3cret"), "{output}");
    assert!(output.contains("idempotency-key"), "{output}");
}

#[tokio::test]
async fn what_holds_a_secret_follows_redirects_within_its_origin_alone() {
    let (server, other) = (Server::start().await, Server::start().await);
    let to = |target: &str| format!("{}/to/{}", server.url, target.replace('/', "%2F"));
    let there_and_away = to(&to(&format!("{}/json", other.url)));
    let with = |url: &str, member: &str, value: &serde_json::Value| {
        let mut with = serde_json::json!({ "url": url, "method": "POST" });
        with[member] = value.clone();
        with.to_string()
    };
    for (member, value) in [
        ("headers", serde_json::json!({ "X-Key": TOKEN.to_uppercase() })),
        ("headers", serde_json::json!({ "Authorization": basic(TOKEN) })),
        ("json", serde_json::json!({ "k": [TOKEN] })),
        ("body", serde_json::json!(format!("k={TOKEN}"))),
        ("query", serde_json::json!({ "k": TOKEN })),
    ] {
        for url in [to(&format!("{}/json", other.url)), there_and_away.clone()] {
            let error = server.run(&with(&url, member, &value), "open").await.unwrap_err();
            let failure = error.failure;
            assert_eq!((failure.code.as_str(), failure.recoverable), ("http_status", false));
            assert!(failure.message.contains("another origin"), "{}", failure.message);
        }
        let within = server.run(&with(&to("/json"), member, &value), "open").await.unwrap();
        assert!(within.contains("\"status\":200"), "{within}");
    }
    // A secret that is too short to be found, but that the template names.
    let mut named = attempt(&format!(r#"{{"url":"{}"}}"#, to(&format!("{}/json", other.url))));
    named.holds_secrets = true;
    assert!(executor("open").execute(named).await.is_err());
    assert!(other.seen().is_empty(), "{:?}", other.seen());
}

fn basic(password: &str) -> String {
    use base64::Engine as _;
    let text = format!("user:{password}");
    format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(text))
}

#[tokio::test]
async fn an_error_page_that_is_cut_shows_no_half_of_a_secret() {
    let server = Server::start().await;
    for before in [0, 280, 295, 4090, 4095] {
        let path = format!("/failing/{before}");
        let message = server.get(&path, "open").await.unwrap_err().failure.message;
        assert!(!message.contains("t0p-"), "{before}: {message}");
        assert_eq!(message.contains("[redacted:TOKEN]"), before <= 280, "{before}: {message}");
    }
}

#[tokio::test]
async fn every_hop_is_judged_on_the_address_it_connects_to() {
    let server = Server::start().await;
    let port = server.address.port();
    for (path, policy) in [
        ("/json", "public"),
        ("/json", "10.0.0.0/8,example.org"),
        (format!("/to/http:%2F%2F127.0.0.2:{port}%2Fjson").as_str(), "127.0.0.1"),
        ("/to/http:%2F%2Flocalhost:1%2F", "127.0.0.1/32,no-such.example"),
        ("/to/http:%2F%2F[::ffff:169.254.169.254]%2F", "127.0.0.1/32"),
        ("/to/file:%2F%2F%2Fetc%2Fpasswd", "open"),
    ] {
        let failure = server.get(path, policy).await.unwrap_err().failure;
        let denied = if path.contains("file") {
            "http_status"
        } else if path.contains("localhost") {
            // `localhost` is 127.0.0.1 too, which this list allows; the port is closed.
            "connection_failed"
        } else {
            "egress_denied"
        };
        assert_eq!(failure.code, denied, "{path} {policy}: {}", failure.message);
        assert_eq!(failure.recoverable, denied == "connection_failed");
    }
    assert!(server.get("/json", "127.0.0.0/8").await.is_ok());
}

#[tokio::test]
async fn names_that_resolve_to_denied_addresses_are_not_connected_to() {
    let server = Server::start().await;
    let with = format!(r#"{{"url":"http://localhost:{}/json"}}"#, server.address.port());
    for policy in ["public", "192.0.2.0/24"] {
        let failure = server.run(&with, policy).await.unwrap_err().failure;
        assert_eq!((failure.code.as_str(), failure.recoverable), ("egress_denied", false));
        assert_eq!(failure.message, "the egress policy does not allow connections to localhost");
    }
    assert!(server.run(&with, "localhost").await.is_ok());
    assert!(server.seen().iter().all(|line| line.contains("/json")) && server.seen().len() == 1);
}

#[tokio::test]
async fn answers_above_the_bound_are_cut_off_while_they_stream() {
    let server = Server::start().await;
    for path in ["/endless", "/announced"] {
        let failure = server.get(path, "open").await.unwrap_err().failure;
        assert_eq!((failure.code.as_str(), failure.recoverable), ("payload_too_large", false));
    }
}

#[tokio::test]
async fn the_head_of_an_answer_and_each_piece_of_it_are_signs_of_life() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let attempt = attempt(&format!(r#"{{"url":"http://{}/"}}"#, listener.local_addr().unwrap()));
    let pulse = attempt.pulse.clone();
    let answering = async {
        let (mut connection, _) = listener.accept().await.unwrap();
        assert!(connection.read(&mut [0; 4096]).await.unwrap() > 0);
        let mut last = pulse.last();
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        for piece in [head, "3\r\none\r\n", "3\r\ntwo\r\n"] {
            connection.write_all(piece.as_bytes()).await.unwrap();
            while pulse.last() == last {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            last = pulse.last();
        }
        connection.write_all(b"0\r\n\r\n").await.unwrap();
        // The connection stays open until the answer was read.
        std::future::pending::<()>().await;
    };
    let executor = executor("open");
    let both = async {
        tokio::select! {
            outcome = executor.execute(attempt) => outcome,
            () = answering => unreachable!(),
        }
    };
    let output = tokio::time::timeout(PATIENCE, both).await.expect("each piece is a beat").unwrap();
    assert!(output.as_str().ends_with("\"body\":\"onetwo\"}"), "{output:?}");
}

#[tokio::test]
async fn a_dropped_attempt_closes_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let with = format!(r#"{{"url":"http://{}/"}}"#, listener.local_addr().unwrap());
    let executor = executor("open");
    let waiting = executor.execute(attempt(&with));
    let closed = async {
        let (connection, _) = listener.accept().await.unwrap();
        connection
    };
    let connection = tokio::select! {
        outcome = waiting => panic!("ended: {outcome:?}"),
        connection = closed => connection,
    };
    let mut buffer = [0; 4096];
    let end = async {
        loop {
            connection.readable().await.unwrap();
            match connection.try_read(&mut buffer) {
                Ok(0) => break,
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => break,
                Ok(_) | Err(_) => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, end).await.expect("the connection is closed");
}

#[tokio::test]
async fn names_without_an_answer_hold_up_no_step_of_another_namespace() {
    let server = Server::start().await;
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let ended = Mutex::new(ended);
    let names = names::Names::new(move |host| {
        if host.starts_with("silent") {
            assert!(ended.lock().unwrap().recv().is_err());
        }
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], 0))])
    });
    let executor = executor("open").asking(names);
    let port = server.address.port();
    let step = |namespace: &str, host: &str| {
        let namespace = Namespace::parse(namespace).unwrap();
        let with = format!(r#"{{"url":"http://{host}:{port}/json"}}"#);
        let thread_id = ThreadId::within(&namespace, "t1").unwrap();
        executor.execute(Attempt { thread_id, ..attempt(&with) })
    };
    let mut crowd: Vec<_> = (0..600).map(|n| step("crowd", &format!("silent{n}.test"))).collect();
    assert!(crowd.iter_mut().all(|step| step.now_or_never().is_none()));
    let good = tokio::time::timeout(PATIENCE / 4, step("other", "good.test")).await;
    assert!(good.expect("it waits for nobody").is_ok());
    drop((crowd, end));
}

#[tokio::test]
async fn the_bytes_of_a_head_are_bounded_and_not_a_small_number_of_headers() {
    let get = async |headers: usize, bytes: usize| {
        let with = format!(r#"{{"url":"{}"}}"#, answering(headers, bytes, 0).await);
        let executor = executor("open");
        let done = tokio::time::timeout(PATIENCE, executor.execute(attempt(&with))).await;
        done.expect("the attempt ends")
    };
    let output = get(200, 200).await.unwrap();
    assert!(output.as_str().contains("\"x-199\":\"aaa"), "{}", output.as_str());
    // What was read beyond the bound, before it was reached, may still be a whole head.
    for (headers, bytes) in [(90, 1_800), (1, 180_000), (usize::MAX, 800)] {
        let failure = get(headers, bytes).await.unwrap_err().failure;
        assert_eq!((failure.code.as_str(), failure.recoverable), ("payload_too_large", false));
        assert_eq!(failure.message, "the head of the answer is larger than 65536 bytes");
    }
}

#[tokio::test]
async fn the_head_of_an_answer_counts_while_its_body_is_waited_for() {
    let memory = Memory::new(4 << 20, &MemoryMetrics::default(), Box::new(|| None));
    let memory = Arc::new(memory);
    let executor = executor("open");
    let with = format!(r#"{{"url":"{}"}}"#, answering(200, 250, 1000).await);
    let room = Rooms::within(&memory).room(Namespace::default());
    let mut waiting = executor.execute(Attempt { room, ..attempt(&with) });
    let counted = async {
        while memory.used(Pool::Received) < 100_000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        outcome = &mut waiting => panic!("it ended: {outcome:?}"),
        () = counted => {}
        () = tokio::time::sleep(PATIENCE) => panic!("it is not counted"),
    }
    drop(waiting);
    assert_eq!(memory.used(Pool::Received), 0);
}

fn executor(policy: &str) -> HttpExecutor {
    // The first test of this process installs the provider; for all others it is there already.
    let first = rustls::crypto::ring::default_provider().install_default().is_ok();
    assert!(first || rustls::crypto::CryptoProvider::get_default().is_some());
    let policy = EgressPolicy::parse(policy).unwrap();
    let redactor = Redactor::new([("TOKEN", TOKEN)]);
    HttpExecutor::new(policy, 64 * 1024, Arc::new(Still), Arc::new(redactor)).unwrap()
}

#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::default()
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}
