//! A server leaves the definition's text out of a start once it knows that the store has it.

use serde_json::json;
use sqlx::{ConnectOptions, Connection};

use super::support::flows::{hanging, workflow};
use super::support::{Home, Recorder, on_stores};

on_stores!([sqlite, postgres] [
    a_definition_that_the_store_has_lost_comes_again_with_the_next_start,
]);

async fn a_definition_that_the_store_has_lost_comes_again_with_the_next_start(home: Home) {
    let recorder = Recorder::start().await;
    let server = home.launch().set("RETHREAD_MAX_RUNNING", "1").start().await;
    let client = server.client();
    let body = |thread: &str| json!({ "workflow": workflow("w"), "input": { "x": 1 }, "threadId": thread });
    client.post("/invoke/async", &body("t1")).await.expect(202);
    client.completed("t1").await;
    // A failover to a standby that had not seen it yet.
    lose_definitions(&home).await;
    client.post("/invoke/async", &body("t2")).await.expect(202);
    client.completed("t2").await;
    assert!(server.log().contains("the store has lost a definition"));

    // The same for a thread that has to wait for its turn.
    let hang = |thread: &str| json!({ "workflow": hanging(&recorder, "s"), "threadId": thread });
    client.post("/invoke/async", &hang("h1")).await.expect(202);
    recorder.reached("s", 1).await;
    lose_definitions(&home).await;
    let queued = client.post("/invoke/async", &hang("h2")).await.expect(202);
    assert_eq!(queued.json()["status"], "queued");
    recorder.release("s");
    client.completed("h2").await;
    // Whoever comes later finds it in the store.
    server.kill9().await;
    let server = home.start().await;
    assert_eq!(server.client().status("h2").await["workflow"]["name"], "hanging");
}

async fn lose_definitions(home: &Home) {
    let sql = "DELETE FROM definitions";
    if home.store() == "sqlite" {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(home.file());
        let mut connection = options.connect().await.unwrap();
        sqlx::query(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    } else {
        let mut connection = sqlx::PgConnection::connect(&home.url).await.unwrap();
        let sql = format!("SET search_path = rethread; {sql}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}
