//! What one namespace keeps in memory leaves room for others.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use super::support::flows::flow;
use super::support::{Client, Home, PATIENCE, Server, beside, eventually};

const ONE: &str = "0123456789abcdef-one";
const OTHER: &str = "0123456789abcdef-two";

async fn launch(home: &Home) -> Server {
    let keys = format!("a:{ONE}:admin:one,b:{OTHER}:admin:two");
    let launch = home.launch().set("RETHREAD_API_KEYS", &keys).set("RETHREAD_LOG", "warn");
    launch.set("RETHREAD_MEMORY_LIMIT", "256MiB").start().await
}

/// A workflow of so many outputs of 700 KB.
fn large(outputs: usize) -> Value {
    let step = |at| json!({ "id": format!("t{at}"), "kind": "transform", "with": { "jq": "\"x\" * 700000" } });
    let steps: Vec<Value> = (0..outputs).map(step).collect();
    json!({ "name": "large", "steps": steps, "output": 1 })
}

async fn large_thread(client: &Client, outputs: usize) {
    client.invoke(&json!({ "threadId": "large", "workflow": large(outputs) })).await;
    let path = "/status/large?wait=60s&outputs=false";
    let status = tokio::time::timeout(PATIENCE * 3, client.attempt("GET", path, &[], "")).await;
    assert_eq!(status.unwrap().unwrap().json()["status"], "completed");
}

/// A request whose answer nobody takes.
async fn untaken(server: &Server, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(server.addr).await.unwrap();
    let ask = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {ONE}\r\n\r\n",
        server.addr
    );
    stream.write_all(ask.as_bytes()).await.unwrap();
    stream.readable().await.unwrap();
    stream
}

fn kilobytes(count: usize) -> Value {
    json!([{ "id": "a", "kind": "transform", "with": { "jq": format!("\"x\" * {count}000") } }])
}

#[tokio::test]
async fn answers_that_one_namespace_does_not_take_refuse_no_other_and_hide_no_thread() {
    let home = Home::sqlite().await;
    let server = launch(&home).await;
    let [one, other] = [ONE, OTHER].map(|key| server.client().with_key(key));
    large_thread(&one, 8).await;
    other
        .post("/invoke", &json!({ "workflow": flow(&kilobytes(80)), "threadId": "t" }))
        .await
        .expect(200);
    let mut readers = Vec::new();
    for _ in 0..12 {
        readers.push(untaken(&server, "/status/large").await);
    }
    one.get("/status/large").await.expect(503);
    for number in 0..10 {
        other.get("/status/t").await.expect(200);
        let thread = format!("other-{number}");
        let body = json!({ "workflow": flow(&kilobytes(20)), "threadId": thread });
        other.post("/invoke", &body).await.expect(200);
    }
    // One that has no memory left for its answers hears that its thread is there.
    let body = json!({ "workflow": large(6), "threadId": "there" });
    let answer = one.post("/invoke", &body).await.expect(202);
    assert_eq!(answer.header("location"), "/status/there");
    assert_eq!(answer.json()["threadId"], "there");
    assert_eq!(one.get("/threads/there").await.expect(200).json()["status"], "completed");
    drop(readers);
    eventually("there is room again", async || {
        (one.get("/status/large").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn pages_of_a_large_thread_count_while_they_wait() {
    let home = Home::sqlite().await;
    let server = launch(&home).await;
    let [one, other] = [ONE, OTHER].map(|key| server.client().with_key(key));
    large_thread(&one, 8).await;
    let pages: Vec<_> = (0..150)
        .map(|_| {
            let client = one.clone();
            beside(async move { client.attempt("GET", "/ui/threads/large", &[], "").await })
        })
        .collect();
    for number in 0..20 {
        let body = json!({ "workflow": flow(&kilobytes(1)), "threadId": format!("t{number}") });
        other.post("/invoke", &body).await.expect(200);
    }
    let mut answered = 0;
    for page in pages {
        answered += usize::from(page.await.unwrap().is_ok_and(|page| page.status == 200));
    }
    assert!(answered > 0, "no page at all");
    assert!(server.most_memory() < 450 << 20, "{} MiB", server.most_memory() >> 20);
}
