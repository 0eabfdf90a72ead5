//! Strangers who hold connections cost nobody else anything.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::flows::workflow;
use super::support::{Home, PATIENCE, eventually};

/// The beginning of a request that never goes on.
const HALF: &[u8] = b"GET /threads HTTP/1.1\r\nhost: localhost\r\n";

#[tokio::test]
async fn half_sent_heads_silence_no_probe_and_give_back_what_they_took() {
    let home = Home::memory().await;
    let launch = home.launch().set("RETHREAD_MAX_CONNECTIONS", "40");
    let server = launch.set("RETHREAD_MAX_CONNECTIONS_PER_ADDRESS", "30").start().await;
    let client = server.client();
    let mut strangers = Vec::new();
    for _ in 0..600 {
        let mut stranger = TcpStream::connect(server.addr).await.unwrap();
        stranger.write_all(HALF).await.unwrap();
        strangers.push(stranger);
    }
    for _ in 0..20 {
        client.get("/health/live").await.expect(200);
        client.get("/health/ready").await.expect(200);
    }
    let refused = client.get("/threads").await.expect(503);
    assert_eq!(refused.json()["code"], "too_many_connections");
    assert_eq!((refused.header("retry-after"), refused.header("connection")), ("1", "close"));
    // The oldest of those that found nothing free made room.
    let evicted = &mut strangers[30];
    let read = tokio::time::timeout(PATIENCE, evicted.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    strangers.truncate(20);
    eventually("there is room again", async || {
        (client.get("/threads").await.status == 200).then_some(())
    })
    .await;
    client.invoke(&json!({ "workflow": workflow("w"), "input": { "x": 1 } })).await;
}

#[tokio::test]
async fn the_soft_limit_of_open_files_is_raised_and_connections_leave_some_for_steps() {
    let home = Home::memory().await;
    let server = home.launch().open_files(700).set("RETHREAD_EXEC_ALLOW", "printf").start().await;
    let (client, addr) = (server.client(), server.addr);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.id())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<&str> = files.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers, ["700", "700"], "{files}");

    let mut strangers = Vec::new();
    for _ in 0..800 {
        strangers.push(TcpStream::connect(addr).await.unwrap());
    }
    let sleep = json!({ "id": "z", "kind": "sleep", "with": { "for": "10ms" } });
    let program = json!({ "id": "p", "kind": "exec", "dependsOn": ["z"], "retry": { "maxAttempts": 1 },
        "with": { "program": "printf", "args": ["hi"] } });
    let body = json!({ "workflow": { "name": "w", "steps": [sleep, program] }, "threadId": "t1" });
    client.get("/health/live").await.expect(200);
    strangers.truncate(250);
    eventually("there is room", async || {
        (client.get("/threads").await.status == 200).then_some(())
    })
    .await;
    client.post("/invoke/async", &body).await.expect(202);
    let status = client.completed("t1").await;
    assert_eq!(status["steps"][1]["output"]["stdout"], "hi", "{status}");
    drop(strangers);
}
