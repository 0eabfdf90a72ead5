//! Tokens and cookies, which anybody may make up, cost the store nothing.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use sqlx::Executor;
use tokio::time::Instant;

use super::support::Home;
use super::support::flows::flow;
use crate::support::postgres::TestDatabase;

const KEY: &str = "0123456789abcdef-one";
/// Longer than an answer takes that asks the store for nothing, shorter than one that waits for a lock.
const AT_ONCE: Duration = Duration::from_millis(1_500);
/// The bytes of a token before its seal: its expiry, the end of its streams, and whether it has a holder.
const FRONT: [u8; 17] = [0x7F; 17];
const SEAL: [u8; 64] = [7; 64];

#[tokio::test]
async fn tokens_and_cookies_that_anybody_makes_up_ask_the_store_for_nothing() {
    let home = Home::postgres().await;
    let server = home.launch().set("RETHREAD_API_KEYS", &format!("a:{KEY}")).start().await;
    let (client, anybody) = (server.client().with_key(KEY), server.client());
    let mut database = TestDatabase { url: home.url.clone() }.connect().await;
    let lock = "BEGIN; LOCK TABLE rethread.secrets IN ACCESS EXCLUSIVE MODE";
    let refused = async |path: &str, headers: &[(&str, &str)]| {
        let asked = Instant::now();
        anybody.send("GET", path, headers, "").await.expect(401);
        assert!(asked.elapsed() < AT_ONCE, "{path}: {:?}", asked.elapsed());
    };

    // Before anybody has a token the key is not read for what cannot be one.
    database.execute(lock).await.unwrap();
    refused("/stream/t?token=x", &[]).await;
    database.execute("ROLLBACK").await.unwrap();

    let nap = flow(&json!([{ "id": "a", "kind": "sleep", "with": { "for": "1m" } }]));
    client.invoke(&json!({ "workflow": nap, "threadId": "t" })).await;
    let granted = client.post("/threads/t/stream-token", &json!({})).await.expect(201).json();
    let entered = anybody.get(&format!("/?key={KEY}")).await.expect(303);
    let cookie = entered.header("set-cookie").split(';').next().unwrap().to_owned();
    let name = cookie.split('=').next().unwrap();

    database.execute(lock).await.unwrap();
    let forged = URL_SAFE_NO_PAD.encode([&FRONT[..], &SEAL].concat());
    refused(&format!("/stream/t?token={forged}"), &[]).await;
    let forged = URL_SAFE_NO_PAD.encode([&FRONT[..8], &SEAL].concat());
    refused("/threads/t", &[("cookie", &format!("{name}={forged}"))]).await;
    let mut stream = anybody.stream(granted["url"].as_str().unwrap(), &[]).await;
    stream.wait_for("workflow_start").await;
    anybody.send("GET", "/threads/t", &[("cookie", &cookie)], "").await.expect(200);
    database.execute("ROLLBACK").await.unwrap();
}
