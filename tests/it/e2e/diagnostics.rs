//! The bundle for support: everything about a thread, and nothing that is a secret.

use serde_json::{Value, json};
use sqlx::Connection as _;

use super::support::flows::{flow, hanging, workflow};
use super::support::{Home, Recorder, on_stores};

on_stores!([memory, sqlite, postgres][everything_about_a_thread_is_in_one_bundle]);

async fn everything_about_a_thread_is_in_one_bundle(home: Home) {
    const KEY: &str = "k3y-of-the-operators";
    const SECRET: &str = "s3cret-of-a-step";
    let recorder = Recorder::start().await;
    let launch = home.launch().set("RETHREAD_API_KEYS", &format!("ops:{KEY}"));
    let launch = launch.set("RETHREAD_MAX_QUEUED", "321").set("RETHREAD_SECRET_TOKEN", SECRET);
    let server = launch.start().await;
    let client = server.client().with_key(KEY);
    let steps = json!([
        { "id": "flaky", "kind": "http",
          "with": { "url": recorder.url("fail/2/flaky"), "headers": { "X-T": "{secrets.TOKEN}" } } },
        { "id": "large", "kind": "http", "dependsOn": ["flaky"],
          "with": { "url": recorder.url("big/40000/large") } },
        { "id": "hangs", "kind": "http", "dependsOn": ["large"],
          "with": { "url": recorder.url("wait/hangs") } },
    ]);
    let workflow = flow(&steps);
    client.invoke(&json!({ "workflow": workflow, "threadId": "t1", "input": "given" })).await;
    recorder.reached("hangs", 1).await;
    let status = client.get("/status/t1?outputs=false").await.expect(200).json();
    let answer = client.get("/threads/t1/diagnostics").await.expect(200);
    let bundle = answer.json();
    assert_eq!(bundle["problems"], json!([]));
    assert_eq!(bundle["status"], status);
    let head = status["lastSeq"].as_u64().unwrap();
    let thread = &bundle["thread"];
    assert_eq!((&thread["lastSeq"], &thread["drivenHere"]), (&json!(head), &json!(true)));
    assert_eq!((&thread["owner"], &thread["stuck"]), (&status["owner"], &Value::Null));
    assert_eq!(bundle["workflow"]["definition"], workflow);
    assert_eq!(bundle["workflow"]["name"], "w");
    let seqs: Vec<_> = events(&bundle).iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=head).collect::<Vec<_>>());
    let large = events(&bundle).iter().find(|event| event["dataBytes"].is_u64()).unwrap();
    assert_eq!((&large["type"], &large["stepId"]), (&json!("step_complete"), &json!("large")));
    assert!(large["dataBytes"].as_u64() > Some(40_000) && large.get("data").is_none());
    let failures = bundle["failures"].as_array().unwrap();
    let attempts: Vec<_> = failures.iter().map(|one| one["error"]["attempt"].clone()).collect();
    assert_eq!(attempts, [2, 1]);
    assert_eq!(failures[0]["error"]["code"], "http_status");
    let checkpoints = client.get("/threads/t1/checkpoints").await.json();
    assert_eq!(bundle["checkpoints"], checkpoints["items"]);
    let replica = &bundle["replica"];
    assert_eq!(replica["limits"]["maxQueued"], json!(321));
    assert_eq!(replica["limits"]["leaseMs"], json!(1000));
    assert_eq!(replica["health"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(replica["store"]["backend"], home.store());
    assert!(answer.body.len() < 40_000, "{} bytes", answer.body.len());
    for hidden in [KEY, SECRET, &home.url, "s3cret"] {
        assert!(home.store() == "memory" && hidden == home.url || !answer.text().contains(hidden));
    }
    recorder.release("hangs");
    client.completed("t1").await;
    let bundle = client.get("/threads/t1/diagnostics").await.expect(200).json();
    assert_eq!(bundle["status"]["status"], "completed");
    assert_eq!(bundle["thread"]["ownerIncarnation"], json!(0));
    client.get("/threads/nosuch/diagnostics").await.expect(404);
    client.get("/threads/t1/diagnostics?x=1").await.expect(400);
    server.client().get("/threads/t1/diagnostics").await.expect(401);
}

fn events(bundle: &Value) -> &[Value] {
    bundle["events"].as_array().unwrap()
}

#[tokio::test]
async fn a_damaged_journal_costs_only_what_cannot_be_read() {
    let home = Home::sqlite().await;
    let server = home.start().await;
    let client = server.client();
    client
        .invoke(&json!({ "workflow": workflow("w"), "threadId": "t1", "input": { "x": 1 } }))
        .await;
    let head = client.completed("t1").await["lastSeq"].clone();
    server.sigterm_and_wait().await;
    let url = format!("sqlite://{}", home.file().display());
    let mut file = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let damage = "UPDATE journal SET crc = crc + 1 WHERE seq = (SELECT max(seq) FROM journal)";
    sqlx::raw_sql(damage).execute(&mut file).await.unwrap();
    file.close().await.unwrap();
    let server = home.start().await;
    let bundle = server.client().get("/threads/t1/diagnostics").await.expect(200).json();
    assert_eq!(bundle["status"], Value::Null);
    let damaged = "a stored record of this thread is damaged";
    let problems = [format!("status: {damaged}"), format!("journal: {damaged}")];
    assert_eq!(bundle["problems"], json!(problems));
    assert_eq!(bundle["thread"]["lastSeq"], head);
    // What stands before the damage is shown.
    assert_eq!(events(&bundle)[0]["type"], "workflow_start");
    assert!(events(&bundle).last().unwrap()["seq"].as_u64() < head.as_u64());
    assert_eq!(bundle["workflow"]["definition"], workflow("w"));
}

#[tokio::test]
async fn any_replica_answers_for_a_thread_that_another_one_drives() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let (first, second) = (home.start().await, home.start().await);
    let body = json!({ "workflow": hanging(&recorder, "one"), "threadId": "t1" });
    first.client().invoke(&body).await;
    recorder.reached("one", 1).await;
    let owner = first.client().status("t1").await["owner"].clone();
    let bundle = second.client().get("/threads/t1/diagnostics").await.expect(200).json();
    let thread = &bundle["thread"];
    assert_eq!((&thread["drivenHere"], &thread["owner"]), (&json!(false), &owner));
    assert_eq!(bundle["status"]["owner"], owner);
    assert!(events(&bundle).len() >= 2);
}
