//! What is stored, listed, paged, deleted and reported, the same on every store.

use serde_json::{Value, json};
use sqlx::Connection as _;

use super::support::flows::{hanging, workflow};
use super::support::{Home, Recorder, on_stores};

on_stores!([memory, sqlite, postgres] [
    stored_workflows_have_versions,
    threads_are_listed_filtered_and_paged,
    a_thread_is_deleted_once_it_has_ended,
    checkpoints_and_events_are_paged,
    the_server_says_how_it_is,
]);

async fn stored_workflows_have_versions(home: Home) {
    let server = home.start().await;
    let client = server.client();
    let first = client.post("/workflows", &workflow("stored")).await.expect(201);
    assert_eq!(first.json()["version"], json!(1));
    assert_eq!(first.header("location"), "/workflows/stored?version=1");
    let same = client.post("/workflows", &workflow("stored")).await.expect(200);
    assert_eq!(same.json()["version"], json!(1));
    let mut changed = workflow("stored");
    changed["output"] = json!({ "answer": "{b.output}" });
    assert_eq!(client.post("/workflows", &changed).await.expect(201).json()["version"], json!(2));
    assert_eq!(client.get("/workflows/stored").await.json()["version"], json!(2));
    let old = client.get("/workflows/stored?version=1").await.expect(200).json();
    assert_eq!(old["workflow"], workflow("stored"));
    assert_eq!(client.get("/workflows/stored@1").await.expect(200).json(), old);
    client.get("/workflows/stored@3").await.expect(404);
    client.get("/workflows/other").await.expect(404);
    client.post("/workflows", &workflow("another")).await.expect(201);
    let page = client.get("/workflows?limit=1").await.expect(200).json();
    assert_eq!(page["items"][0]["name"], "another");
    let next = page["nextCursor"].as_str().unwrap();
    let page = client.get(&format!("/workflows?limit=1&cursor={next}")).await.expect(200).json();
    assert_eq!(
        (&page["items"][0]["name"], &page["items"][0]["version"]),
        (&json!("stored"), &json!(2))
    );

    let newest = client.run(&json!({ "workflow": "stored", "input": { "x": 20 } })).await;
    assert_eq!(newest["output"], json!({ "answer": 42 }));
    assert_eq!(newest["workflow"], json!({ "name": "stored", "version": 2 }));
    let older = client.run(&json!({ "workflow": "stored@1", "input": { "x": 20 } })).await;
    assert_eq!(older["output"], json!({ "b": 42, "c": [21, 21] }));
    let unknown = client.post("/invoke/async", &json!({ "workflow": "nobody" })).await.expect(404);
    assert_eq!(unknown.json()["code"], "workflow_not_found");

    let valid = client.post("/workflows/validate", &workflow("v")).await.expect(200).json();
    assert_eq!(valid, json!({ "valid": true }));
    let faulty = json!({ "name": "v", "steps": [{ "id": "a", "kind": "nothing" }] });
    let answer = client.post("/workflows/validate", &faulty).await.expect(400);
    assert!(answer.pointers().contains(&"/steps/0/kind".to_owned()), "{}", answer.text());
}

async fn threads_are_listed_filtered_and_paged(home: Home) {
    let server = home.start().await;
    let client = server.client();
    for number in 0..7 {
        let name = if number % 2 == 0 { "even" } else { "odd" };
        let metadata = json!({ "number": number, "team": "ü b", "nested": { "a": 1 } });
        let thread = format!("t{number}");
        let body = json!({
            "workflow": workflow(name), "input": { "x": 1 }, "threadId": thread, "metadata": metadata
        });
        client.post("/invoke/async", &body).await.expect(202);
        client.completed(&thread).await;
    }
    let ids = async |query: &str| -> Vec<String> {
        let list = client.get(&format!("/threads?{query}")).await.expect(200).json();
        let items = list["items"].as_array().unwrap();
        items.iter().map(|item| item["threadId"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids("").await, ["t6", "t5", "t4", "t3", "t2", "t1", "t0"]);
    assert_eq!(ids("workflow=odd").await, ["t5", "t3", "t1"]);
    assert_eq!(ids("workflow=odd&status=completed&limit=1").await, ["t5"]);
    assert_eq!(ids("status=failed").await, Vec::<String>::new());
    assert_eq!(ids("metadata.number=4").await, ["t4"]);
    assert_eq!(ids("metadata.team=%C3%BC%20b&metadata.number=3").await, ["t3"]);
    assert_eq!(ids("metadata.number=4&workflow=odd").await, Vec::<String>::new());

    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let list = client.get(&format!("/threads?limit=3{cursor}")).await.expect(200).json();
        let items = list["items"].as_array().unwrap();
        paged.extend(items.iter().map(|item| item["threadId"].as_str().unwrap().to_owned()));
        let Some(next) = list["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(paged, ["t6", "t5", "t4", "t3", "t2", "t1", "t0"]);
    let one = client.get("/threads/t3").await.expect(200);
    assert_eq!(one.json()["metadata"]["number"], json!(3));
    assert_eq!(one.header("etag"), format!("\"{}\"", one.json()["lastSeq"]));
}

async fn a_thread_is_deleted_once_it_has_ended(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let body = json!({ "workflow": hanging(&recorder, "h"), "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    recorder.reached("h", 1).await;
    let refused = client.delete("/threads/t1").await.expect(409);
    assert_eq!(refused.json()["category"], "conflict");
    recorder.release("h");
    client.completed("t1").await;
    client.send("DELETE", "/threads/t1", &[("if-match", "\"1\"")], "").await.expect(412);
    client.delete("/threads/t1").await.expect(204);
    for path in ["/status/t1", "/threads/t1", "/threads/t1/events", "/stream/t1"] {
        assert_eq!(client.get(path).await.expect(404).json()["code"], "thread_not_found");
    }
    client.delete("/threads/t1").await.expect(404);
    // The id is free again.
    client.post("/invoke/async", &body).await.expect(202);
    client.completed("t1").await;
}

#[tokio::test]
async fn the_id_of_a_thread_that_is_still_being_removed_is_said_to_be() {
    let home = Home::postgres().await;
    let server = home.start().await;
    let client = server.client();
    let body = json!({ "workflow": workflow("w"), "input": { "x": 1 }, "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    client.completed("t1").await;
    // As a large thread is marked; nobody removes a row that somebody has locked.
    let mut database = sqlx::PgConnection::connect(&home.url).await.unwrap();
    let mark = "UPDATE rethread.threads SET owner = -3 WHERE thread_id = 't1'";
    sqlx::raw_sql(mark).execute(&mut database).await.unwrap();
    let hold = "BEGIN; SELECT FROM rethread.threads WHERE thread_id = 't1' FOR UPDATE";
    sqlx::raw_sql(hold).execute(&mut database).await.unwrap();
    let refused = client.post("/invoke/async", &body).await.expect(409);
    assert_eq!(refused.json()["code"], "thread_deleting");
    assert_eq!(refused.json()["recoverable"], true);
    assert_eq!(refused.header("retry-after"), "5");
    client.get("/status/t1").await.expect(404);
}

async fn checkpoints_and_events_are_paged(home: Home) {
    let server = home.start().await;
    let client = server.client();
    let body = json!({ "workflow": workflow("w"), "input": { "x": 1 }, "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    let last = client.completed("t1").await["lastSeq"].as_u64().unwrap();
    let page = client.get("/threads/t1/events?after=2&limit=3").await.expect(200).json();
    let seqs: Vec<_> =
        page["items"].as_array().unwrap().iter().map(|item| item["seq"].clone()).collect();
    assert_eq!(seqs, [3, 4, 5]);
    assert_eq!((&page["nextCursor"], &page["lastSeq"]), (&json!("5"), &json!(last)));
    let end = client.get(&format!("/threads/t1/events?after={last}")).await.expect(200).json();
    assert_eq!((&end["items"], &end["nextCursor"]), (&json!([]), &Value::Null));

    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/threads/t1/checkpoints?limit=2{cursor}");
        let page = client.get(&path).await.expect(200).json();
        for item in page["items"].as_array().unwrap() {
            found.push(item["seq"].as_u64().unwrap());
            assert!(!item["checksum"].as_str().unwrap().is_empty());
        }
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert!(!found.is_empty() && found.is_sorted_by(|a, b| a > b), "{found:?}");
    assert_eq!(found[0], last);
}

async fn the_server_says_how_it_is(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    assert_eq!(client.get("/health/live").await.expect(200).json()["status"], "live");
    assert_eq!(client.get("/health/ready").await.expect(200).json()["status"], "ready");
    let health = client.get("/health").await.expect(200).json();
    assert!(matches!(health["status"].as_str(), Some("healthy" | "warning")), "{health:#}");
    for member in ["checks", "circuits", "version", "uptimeMs"] {
        assert!(health.get(member).is_some(), "{member} in {health:#}");
    }
    let store = client.get("/health/checkpointer").await.expect(200).json();
    assert_eq!(store["backend"], home.store());
    assert_eq!(store["durable"], json!(home.store() != "memory"));

    let body = json!({ "workflow": hanging(&recorder, "h"), "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    recorder.reached("h", 1).await;
    let monitor = client.get("/monitor").await.expect(200).json();
    assert_eq!(monitor["active"][0]["threadId"], "t1");
    recorder.release("h");
    client.completed("t1").await;
    let metrics = client.get("/metrics").await.expect(200);
    assert!(metrics.header("content-type").starts_with("text/plain"));
    assert!(metrics.text().lines().any(|line| line.starts_with("rethread_")));
    let monitor = client.get("/monitor").await.expect(200).json();
    assert_eq!(monitor["active"], json!([]));
    client.get("/").await.expect(200);
    client.get("/ui/threads/t1").await.expect(200);
    client.get("/openapi.json").await.expect(200);
}
