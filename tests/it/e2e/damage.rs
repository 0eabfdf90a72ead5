//! What is stored of a thread is damaged while no server looks: the thread is left as it is until
//! somebody mends it, and nothing else suffers.

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use super::promise::kept_its_promise;
use super::support::flows::chain;
use super::support::{Client, Home, Recorder, eventually, on_stores};
use super::verify::{count, verify};

on_stores!([sqlite, postgres] [
    a_damaged_thread_is_left_alone_and_goes_on_when_it_is_mended,
    a_damaged_snapshot_is_counted_and_skipped,
]);

/// The newest journal row of the thread.
const NEWEST: &str = "FROM @journal WHERE thread_id = 'hurt'
    AND seq = (SELECT max(seq) FROM @journal WHERE thread_id = 'hurt')";

/// The bytes that a statement finds beside the server; `@` stands before a table.
pub(super) async fn bytes(home: &Home, sql: &str) -> Vec<u8> {
    if home.store() == "sqlite" {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(home.file());
        let mut file = options.read_only(true).connect().await.unwrap();
        let query = sqlx::query_scalar(AssertSqlSafe(sql.replace('@', "")));
        query.fetch_one(&mut file).await.unwrap()
    } else {
        let mut database = sqlx::PgConnection::connect(&home.url).await.unwrap();
        let query = sqlx::query_scalar(AssertSqlSafe(sql.replace('@', "rethread.")));
        query.fetch_one(&mut database).await.unwrap()
    }
}

/// Runs a statement with these bytes as `$1` beside the server, and sees that it hits one row.
async fn put(home: &Home, sql: &str, bytes: &[u8]) {
    let changed = if home.store() == "sqlite" {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(home.file());
        let mut file = options.connect().await.unwrap();
        let query = sqlx::query(AssertSqlSafe(sql.replace('@', ""))).bind(bytes);
        let done = query.execute(&mut file).await.unwrap().rows_affected();
        file.close().await.unwrap();
        done
    } else {
        let mut database = sqlx::PgConnection::connect(&home.url).await.unwrap();
        let query = sqlx::query(AssertSqlSafe(sql.replace('@', "rethread."))).bind(bytes);
        query.execute(&mut database).await.unwrap().rows_affected()
    };
    assert_eq!(changed, 1, "{sql}");
}

/// Changes one bit of one byte, in the middle.
fn flipped(bytes: &[u8]) -> Vec<u8> {
    let (mut changed, middle) = (bytes.to_vec(), bytes.len() / 2);
    changed[middle] ^= 1;
    changed
}

/// Damages the newest record of the thread `hurt`.
pub(super) async fn hurt(home: &Home) {
    let sound = bytes(home, &format!("SELECT payload {NEWEST}")).await;
    let update = "UPDATE @journal SET payload = $1 WHERE thread_id = 'hurt'
        AND seq = (SELECT max(seq) FROM @journal WHERE thread_id = 'hurt')";
    put(home, update, &flipped(&sound)).await;
}

/// What must not change of the thread: all but who may drive it and when.
async fn kept(home: &Home) -> (i64, i64, Vec<u8>, Vec<u8>) {
    let row = "FROM @threads WHERE thread_id = 'hurt'";
    (
        count(home, "SELECT count(*) FROM @journal WHERE thread_id = 'hurt'").await,
        count(home, &format!("SELECT last_seq {row} AND status = 'running'")).await,
        bytes(home, &format!("SELECT payload {NEWEST}")).await,
        bytes(home, &format!("SELECT summary {row}")).await,
    )
}

/// What `/metrics` counts of journals and states that this server never writes.
fn violations(metrics: &str) -> u64 {
    let name = "rethread_invariant_violations_total ";
    metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap()
}

async fn recoveries(client: &Client) -> Vec<Value> {
    let page = client.get("/threads/hurt/recoveries").await.expect(200).json();
    page["items"].as_array().unwrap().clone()
}

/// The monitor's line of the thread.
async fn watched(client: &Client) -> Option<Value> {
    let monitor = client.get("/monitor").await.expect(200).json();
    monitor["active"].as_array().unwrap().iter().find(|one| one["threadId"] == "hurt").cloned()
}

async fn a_damaged_thread_is_left_alone_and_goes_on_when_it_is_mended(home: Home) {
    let recorder = Recorder::start().await;
    let server = home.start().await;
    for (thread, hold) in [("hurt", "wait/two"), ("well", "wait/other")] {
        let workflow = chain(&recorder, &["ok/one", hold, "ok/three"]);
        server.client().invoke(&json!({ "workflow": workflow, "threadId": thread })).await;
    }
    recorder.reached("two", 1).await;
    recorder.reached("other", 1).await;
    server.kill9().await;
    let sound = bytes(&home, &format!("SELECT payload {NEWEST}")).await;
    let update = "UPDATE @journal SET payload = $1 WHERE thread_id = 'hurt'
        AND seq = (SELECT max(seq) FROM @journal WHERE thread_id = 'hurt')";
    put(&home, update, &flipped(&sound)).await;
    let before = kept(&home).await;

    let server = home.start().await;
    let client = server.client();
    recorder.reached("other", 2).await;
    recorder.release("other");
    client.completed("well").await;
    kept_its_promise(&client, &recorder, "well").await;
    let tried = eventually("it is tried, and tried again", async || {
        let tried = recoveries(&client).await;
        let failed = tried.iter().filter(|one| one["result"] == "failed").count();
        (failed >= 2).then_some(tried)
    })
    .await;
    for one in &tried {
        assert!(one["detail"].as_str().unwrap().contains("checksum"), "{one:#}");
    }
    assert_eq!(tried[0]["cause"], "corrupted", "{tried:#?}");
    let first = tried.last().unwrap()["cause"].as_str().unwrap();
    assert!(["crashed", "disconnected"].contains(&first), "{tried:#?}");
    let refused = client.get("/status/hurt").await.expect(500).json();
    assert_eq!(refused["code"], "record_damaged");
    eventually("it looks stuck", async || {
        let shown = watched(&client).await?;
        let why = shown["stuck"].as_str()?;
        let told = why.contains("cannot be recovered") && why.contains("checksum");
        (told && shown["cause"] == "unreadable").then_some(())
    })
    .await;
    assert_eq!(client.get("/monitor").await.json()["stuck"], json!(1));
    assert_eq!(kept(&home).await, before);
    assert_eq!(recorder.count("hurt/s1"), 1, "it was gone on with from a guess");

    put(&home, update, &sound).await;
    recorder.reached("two", 2).await;
    let moving = watched(&client).await.unwrap();
    assert_eq!(moving["stuck"], Value::Null, "{moving:#}");
    recorder.release("two");
    kept_its_promise(&client, &recorder, "hurt").await;
    assert_eq!(recorder.count("hurt/s0"), 1);
    assert_eq!(recorder.count("hurt/s2"), 1);
    let last = eventually("its recovery ends", async || {
        recoveries(&client).await.into_iter().next().filter(|last| !last["result"].is_null())
    })
    .await;
    assert_eq!((&last["result"], &last["cause"]), (&json!("recovered"), &json!("corrupted")));
    assert_eq!(client.status("hurt").await["recoveries"], json!(1));
    let (code, said) = verify(&home).await;
    assert_eq!(code, Some(0), "{said}");
}

async fn a_damaged_snapshot_is_counted_and_skipped(home: Home) {
    let recorder = Recorder::start().await;
    let launch = || home.launch().set("RETHREAD_SNAPSHOT_EVERY", "2");
    let server = launch().start().await;
    let mut paths = vec!["big/3000/much"; 16];
    paths.extend(["wait/last", "ok/end"]);
    let body = json!({ "workflow": chain(&recorder, &paths), "threadId": "hurt" });
    server.client().invoke(&body).await;
    recorder.reached("last", 1).await;
    eventually("it has snapshots to fall back on", async || {
        (count(&home, "SELECT count(*) FROM @snapshots").await >= 2).then_some(())
    })
    .await;
    server.kill9().await;
    let newest = "WHERE thread_id = 'hurt' AND seq = (SELECT max(seq) FROM @snapshots)";
    let sound = bytes(&home, &format!("SELECT state FROM @snapshots {newest}")).await;
    put(&home, &format!("UPDATE @snapshots SET state = $1 {newest}"), &flipped(&sound)).await;
    let (code, said) = verify(&home).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("its snapshot can't be used") && said.contains(" 1 bad"), "{said}");

    let server = launch().start().await;
    let client = server.client();
    recorder.reached("last", 2).await;
    let told = server.log().lines().any(|line| {
        line.contains("a snapshot is skipped") && line.contains("hurt") && line.contains("checksum")
    });
    assert!(told, "it is not reported");
    recorder.release("last");
    kept_its_promise(&client, &recorder, "hurt").await;
    for step in (0..18).filter(|step| *step != 16) {
        assert_eq!(recorder.count(&format!("hurt/s{step}")), 1);
    }
    let rebuilt = &recoveries(&client).await[0];
    assert_eq!(rebuilt["strategy"], "checkpoint_restore", "{rebuilt:#}");
    let metrics = client.get("/metrics").await.expect(200);
    let counted = metrics.text().lines().find(|line| {
        line.starts_with("rethread_snapshots_bad_total{") && line.contains("checksum")
    });
    let counted = counted.and_then(|line| line.rsplit(' ').next()).unwrap_or("0");
    assert!(counted.parse::<f64>().unwrap() >= 1.0, "{}", metrics.text());
    assert!(violations(metrics.text()) >= 1, "{}", metrics.text());
    eventually("it is in the statistics", async || {
        let stats = client.get("/stats").await.expect(200).json();
        (stats["checkpoints"]["badSnapshots"].as_u64()? >= 1).then_some(())
    })
    .await;
}
