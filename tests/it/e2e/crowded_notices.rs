//! What receivers of one namespace keep in memory leaves room for others.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::support::flows::flow;
use super::support::{Client, Home, beside, eventually};

const ONE: &str = "0123456789abcdef-one";
const OTHER: &str = "0123456789abcdef-two";
/// The subscriptions, and the threads that each waits for.
const SUBSCRIPTIONS: usize = 60;
const THREADS: usize = 4;
/// The messages of one namespace that are under way at this limit of memory.
const AT_ONCE: usize = 16;

/// A receiver that takes messages to `/slow` whole, but answers none before it is released.
#[derive(Debug, Clone)]
struct Receiver {
    released: watch::Receiver<bool>,
    came: Arc<Mutex<Vec<String>>>,
    taken: Arc<Mutex<HashSet<String>>>,
}

async fn receive(
    State(receiver): State<Receiver>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let message = format!("{uri} {}", headers["webhook-id"].to_str().unwrap());
    receiver.came.lock().unwrap().push(message.clone());
    if uri.path().starts_with("/slow") {
        assert!(body.len() > 1_000_000);
        let mut released = receiver.released.clone();
        released.wait_for(|released| *released).await.unwrap();
    }
    receiver.taken.lock().unwrap().insert(message);
    StatusCode::OK
}

impl Receiver {
    async fn start(released: watch::Receiver<bool>) -> (Self, String) {
        let receiver = Self { released, came: Arc::default(), taken: Arc::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = axum::Router::new().fallback(receive).with_state(receiver.clone());
        let app = app.layer(axum::extract::DefaultBodyLimit::disable());
        beside(async { axum::serve(listener, app).await });
        (receiver, url)
    }

    fn came(&self, path: &str) -> usize {
        self.came.lock().unwrap().iter().filter(|message| message.starts_with(path)).count()
    }

    fn taken(&self, path: &str) -> usize {
        self.taken.lock().unwrap().iter().filter(|message| message.starts_with(path)).count()
    }
}

async fn subscribe(client: &Client, url: &str) {
    let body = json!({ "url": url, "types": ["step_complete"] });
    client.post("/notifications", &body).await.expect(201);
}

fn letters(count: usize) -> Value {
    let steps =
        json!([{ "id": "a", "kind": "transform", "with": { "jq": format!("\"x\" * {count}") } }]);
    let mut workflow = flow(&steps);
    workflow["output"] = json!(1);
    workflow
}

#[tokio::test]
async fn messages_that_receivers_are_slow_to_take_are_bounded() {
    let home = Home::sqlite().await;
    let keys = format!("a:{ONE}:admin:one,b:{OTHER}:admin:two");
    let launch = home.launch().set("RETHREAD_API_KEYS", &keys).set("RETHREAD_LOG", "warn");
    let server = launch.set("RETHREAD_MEMORY_LIMIT", "256MiB").start().await;
    let [one, other] = [ONE, OTHER].map(|key| server.client().with_key(key));
    let (release, released) = watch::channel(false);
    let (receiver, url) = Receiver::start(released).await;
    for number in 0..SUBSCRIPTIONS {
        subscribe(&one, &format!("{url}/slow/{number}")).await;
    }
    subscribe(&other, &format!("{url}/quick")).await;
    for _ in 0..THREADS {
        let answer = one.post("/invoke", &json!({ "workflow": letters(1_000_000) })).await;
        answer.expect(200);
    }
    eventually("the places are taken", async || (receiver.came("/slow") >= AT_ONCE).then_some(()))
        .await;
    // Beside them, another namespace's threads run and its messages arrive.
    for number in 0..10 {
        let body = json!({ "workflow": letters(20_000), "threadId": format!("t{number}") });
        other.post("/invoke", &body).await.expect(200);
        other.get(&format!("/status/t{number}")).await.expect(200);
    }
    eventually("the other one is told", async || (receiver.taken("/quick") == 10).then_some(()))
        .await;
    assert_eq!(receiver.came("/slow"), AT_ONCE);
    let metrics = one.get("/metrics").await.text().to_owned();
    let held = "rethread_memory_bytes{pool=\"notices\"} ";
    let held: usize =
        metrics.lines().find_map(|line| line.strip_prefix(held)).unwrap().parse().unwrap();
    assert!((AT_ONCE * 1_000_000..32 << 20).contains(&held), "{held}");
    release.send_replace(true);
    eventually("all have arrived", async || {
        (receiver.taken("/slow") == SUBSCRIPTIONS * THREADS).then_some(())
    })
    .await;
    eventually("the memory is given back", async || {
        let metrics = one.get("/metrics").await.text().to_owned();
        metrics.contains("rethread_memory_bytes{pool=\"notices\"} 0\n").then_some(())
    })
    .await;
    assert!(server.most_memory() < 256 << 20, "{} MiB", server.most_memory() >> 20);
}
