//! Large answers come compressed to whoever takes it; event streams never do.

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZstdDecoder};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use super::support::{Answer, Home};

async fn decoded(answer: &Answer) -> Value {
    let (mut plain, body) = (Vec::new(), answer.body.as_ref());
    match answer.header("content-encoding") {
        "gzip" => GzipDecoder::new(body).read_to_end(&mut plain).await.unwrap(),
        "br" => BrotliDecoder::new(body).read_to_end(&mut plain).await.unwrap(),
        _ => ZstdDecoder::new(body).read_to_end(&mut plain).await.unwrap(),
    };
    serde_json::from_slice(&plain).unwrap()
}

#[tokio::test]
async fn a_large_answer_is_compressed_and_its_version_is_the_same() {
    let server = Home::memory().await.start().await;
    let client = server.client();
    let steps = json!([
        { "id": "long", "kind": "transform", "with": { "jq": "[range(50000)]" } },
        { "id": "wait", "kind": "signal", "dependsOn": ["long"], "with": { "name": "go" } },
    ]);
    let workflow = json!({ "name": "w", "steps": steps });
    client.invoke(&json!({ "threadId": "t", "workflow": workflow })).await;
    let plain =
        client.until("t", "waits", |status| status["steps"][1]["status"] == "waiting").await;
    for coding in ["gzip", "br", "zstd"] {
        let takes = [("accept-encoding", coding)];
        let answer = client.attempt("GET", "/status/t", &takes, "").await.unwrap().expect(200);
        assert_eq!(answer.header("content-encoding"), coding);
        assert!(answer.body.len() < 200_000, "{coding}: {}", answer.body.len());
        assert_eq!(decoded(&answer).await, plain, "{coding}");
        // The version is that of the thread, in whatever coding it was read.
        let seen = [("if-none-match", answer.header("etag")), takes[0]];
        client.send("GET", "/status/t", &seen, "").await.expect(304);
    }
    let takes = [("accept-encoding", "gzip, br, zstd")];
    let mut stream = client.stream("/stream/t", &takes).await;
    assert!(!stream.headers.contains_key("content-encoding"), "{:?}", stream.headers);
    stream.wait_for("step_waiting").await;
    let token = client.send("POST", "/threads/t/stream-token", &takes, "").await.expect(201);
    assert!(!token.headers.contains_key("content-encoding"));
    // It is done, not answered with 406 once it was done.
    let none = [("accept-encoding", "identity;q=0"), ("content-type", "application/json")];
    client.send("POST", "/threads/t/signals/go", &none, "{}").await.expect(202);
    client.completed("t").await;
}
