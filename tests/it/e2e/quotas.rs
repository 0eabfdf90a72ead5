//! Quotas of keys and of namespaces: who uses one up waits as long as it is told, and nobody else does.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::support::{Answer, Client, Home, PATIENCE, Server, eventually};

const A: &str = "0123456789abcdef-a";
const B: &str = "0123456789abcdef-b";
const OTHER: &str = "0123456789abcdef-other";

/// A server with two keys of one namespace and one of another.
async fn server(settings: &[(&str, &str)]) -> (Home, Server) {
    let keys = format!("a:{A}:admin:team,b:{B}:admin:team,other:{OTHER}:admin:else");
    let home = Home::memory().await;
    let mut launch = home.launch().set("RETHREAD_API_KEYS", &keys);
    for (name, value) in settings {
        launch = launch.set(name, value);
    }
    let server = launch.start().await;
    (home, server)
}

/// Asks until a quota is used up, and gives the refusal.
async fn use_up(client: &Client) -> Answer {
    for _ in 0..1_000 {
        let answer = client.get("/threads").await;
        if answer.status == 429 {
            assert_eq!(answer.json()["code"], "quota_exceeded");
            assert_eq!(answer.json()["recoverable"], true);
            return answer;
        }
        answer.expect(200);
    }
    panic!("nothing is used up");
}

fn wait_of(refusal: &Answer) -> Duration {
    let seconds = refusal.header("retry-after").parse().unwrap();
    assert!(seconds >= 1);
    Duration::from_secs(seconds)
}

fn says(refusal: &Answer, words: &str) {
    let detail = refusal.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(words), "{detail}");
}

#[tokio::test]
async fn a_key_over_its_rate_is_served_after_the_time_it_is_told_and_others_all_along() {
    let (_home, server) = server(&[("RETHREAD_QUOTA_KEY_RATE", "1:3")]).await;
    let (a, b) = (server.client().with_key(A), server.client().with_key(B));
    let refusal = use_up(&a).await;
    says(&refusal, "the key's requests a second");
    b.get("/threads").await.expect(200);
    for path in ["/health", "/health/live", "/health/ready", "/metrics"] {
        for _ in 0..3 {
            a.get(path).await.expect(200);
        }
    }
    tokio::time::sleep(wait_of(&refusal)).await;
    a.get("/threads").await.expect(200);
    let metrics = a.get("/metrics").await.expect(200);
    assert!(metrics.text().contains("rethread_quota_refusals_total{quota=\"key_rate\"} 1\n"));
    let log = server.log();
    let line = log.lines().find(|line| line.contains("a quota is used up")).unwrap();
    assert!(line.contains("\"key\":\"a\"") && !log.contains(A), "{line}");
}

#[tokio::test]
async fn keys_of_a_namespace_share_its_quota_and_another_namespace_has_its_own() {
    let (_home, server) = server(&[("RETHREAD_QUOTA_NAMESPACE_RATE", "1:5")]).await;
    let [a, b, other] = [A, B, OTHER].map(|key| server.client().with_key(key));
    let started = Instant::now();
    says(&use_up(&a).await, "the namespace's requests a second");
    let refusal = b.get("/threads").await;
    // One a second comes back: a machine that is this slow has given one to `b`.
    assert!(refusal.status == 429 || started.elapsed() > Duration::from_secs(1));
    other.get("/threads").await.expect(200);
}

#[tokio::test]
async fn without_keys_the_namespace_has_its_quota_all_the_same() {
    let home = Home::memory().await;
    let launch = home.launch().set("RETHREAD_QUOTA_NAMESPACE_RATE", "1:3");
    let server = launch.set("RETHREAD_QUOTA_KEY_RATE", "1").start().await;
    let refusal = use_up(&server.client()).await;
    says(&refusal, "the namespace's");
}

#[tokio::test]
async fn a_stream_is_a_request_until_its_client_goes() {
    let (_home, server) = server(&[("RETHREAD_QUOTA_KEY_CONCURRENCY", "2")]).await;
    let (a, b) = (server.client().with_key(A), server.client().with_key(B));
    let first = a.stream("/stream", &[]).await;
    let _second = a.stream("/stream", &[]).await;
    let refusal = a.get("/threads").await.expect(429);
    says(&refusal, "requests of the key");
    assert_eq!(refusal.header("retry-after"), "1");
    b.get("/threads").await.expect(200);
    a.get("/health/live").await.expect(200);
    drop(first);
    eventually("the place is free", async || (a.get("/threads").await.status == 200).then_some(()))
        .await;
}

/// Sends a body of blanks in chunks, and gives the answer's head and body.
async fn send_chunks(server: &Server, chunks: usize) -> String {
    let mut socket = TcpStream::connect(server.addr).await.unwrap();
    let head = format!(
        "POST /workflows/validate HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {A}\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n",
        server.addr
    );
    let chunk = format!("400\r\n{}\r\n", " ".repeat(1024));
    let body = format!("{head}{}0\r\n\r\n", chunk.repeat(chunks));
    // The server may have answered, and closed, before all is sent.
    let (mut reader, mut writer) = socket.split();
    let send = async { writer.write_all(body.as_bytes()).await.ok() };
    let mut answer = Vec::new();
    let read = async {
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = reader.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..count]);
        }
    };
    tokio::time::timeout(PATIENCE, async { tokio::join!(send, read) }).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn bytes_are_counted_whether_their_number_is_announced_or_not() {
    let settings = [("RETHREAD_QUOTA_KEY_BYTES", "1KiB"), ("RETHREAD_MAX_BODY", "20KiB")];
    let (_home, server) = server(&settings).await;
    let a = server.client().with_key(A);
    // As much as the largest body comes at once.
    a.post_text("/workflows/validate", " ".repeat(16 * 1024)).await.expect(400);
    let refused = send_chunks(&server, 12).await;
    assert!(refused.starts_with("HTTP/1.1 429"), "{refused}");
    assert!(refused.contains("the key's bytes"), "{refused}");
    let refusal = a.post_text("/workflows/validate", " ".repeat(10 * 1024)).await.expect(429);
    says(&refusal, "the key's bytes");
    let wait = wait_of(&refusal);
    assert!(wait <= Duration::from_secs(10), "{wait:?}");
    a.get("/threads").await.expect(200);
    // What is too large whenever it comes is no matter of time.
    let never = a.post_text("/workflows/validate", " ".repeat(21 * 1024)).await.expect(413);
    assert!(never.header("retry-after").is_empty());
    tokio::time::sleep(wait).await;
    a.post_text("/workflows/validate", " ".repeat(10 * 1024)).await.expect(400);
    let other = server.client().with_key(B);
    other.post_text("/workflows/validate", " ".repeat(16 * 1024)).await.expect(400);
}
