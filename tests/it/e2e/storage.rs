//! A database that answers and takes nothing, because it is read-only or its disk is full; and what the
//! log and the health report say of outages.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};

use super::promise::kept_its_promise;
use super::support::flows::chain;
use super::support::{Client, Home, Recorder, Server, eventually};
use crate::support::postgres::{OwnCluster, connect, server_user};

const LOST: &str = "storage is lost";
const BACK: &str = "storage is back";

/// What readiness says, and the reason if it says no.
async fn readiness(client: &Client) -> (u16, String) {
    let answer = client.get("/health/ready").await;
    (answer.status, answer.json()["detail"].as_str().unwrap_or_default().to_owned())
}

async fn ready(client: &Client) {
    eventually("it is ready", async || (readiness(client).await.0 == 200).then_some(())).await;
}

/// The lines that an operator reads: all but those for debugging, and those of single requests.
fn lines(server: &Server) -> Vec<Value> {
    let log = server.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let loud = |line: &Value| {
        line["level"] != "DEBUG" && line["target"].as_str().is_some_and(|at| !at.contains("api"))
    };
    lines.filter(loud).collect()
}

async fn logged(server: &Server, words: &str, times: usize) {
    eventually(words, async || (server.log().matches(words).count() >= times).then_some(())).await;
}

async fn run(admin: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(admin).await.unwrap();
}

/// Makes the sessions of a database read-only or not, and ends those that are there.
async fn set_read_only(url: &str, on: bool) {
    let mut admin = connect(url).await;
    let set = if on {
        "SET default_transaction_read_only = on"
    } else {
        "RESET default_transaction_read_only"
    };
    run(&mut admin, "SET default_transaction_read_only = off").await;
    run(
        &mut admin,
        &format!(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I {set}', current_database()); END $$;
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ),
    )
    .await;
}

#[tokio::test]
async fn a_read_only_database_is_not_ready_and_says_so_until_it_takes_writes() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let server = home.launch().set("RETHREAD_LEASE", "20s").start().await;
    let client = server.client();
    let body = |thread: &str| json!({ "workflow": chain(&recorder, &["wait/one", "ok/two"]), "threadId": thread });
    client.post("/invoke/async", &body("t0")).await.expect(202);
    recorder.reached("one", 1).await;
    set_read_only(&home.url, true).await;
    recorder.release("one");
    // Long before the lease would run out.
    let why = eventually("it is not ready", async || {
        let (status, why) = readiness(&client).await;
        (status == 503).then_some(why)
    })
    .await;
    assert!(why.contains("read-only"), "{why}");
    let refused = client.post("/invoke/async", &body("t1")).await.expect(503).json();
    assert_eq!(refused["code"], "storage_unavailable");
    assert!(refused["detail"].as_str().unwrap().contains("read-only"), "{refused}");
    let check = client.get("/health").await.expect(503).json()["checks"]["storage"].clone();
    assert_eq!(check["status"], "failed");
    assert!(check["detail"].as_str().unwrap().contains("read-only"), "{check}");
    client.get("/status/t0").await.expect(200);
    client.get("/health/live").await.expect(200);

    set_read_only(&home.url, false).await;
    ready(&client).await;
    kept_its_promise(&client, &recorder, "t0").await;
    client.post("/invoke/async", &body("t1")).await.expect(202);
    client.completed("t1").await;
    logged(&server, BACK, 1).await;
    assert!(server.log().contains("SQLSTATE 25006"));
    assert!(server.sigterm_and_wait().await.success());
}

/// A disk of a few megabytes, until it is dropped; only root may make one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let (uid, gid) = server_user()?;
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size=24m,uid={uid},gid={gid},mode=700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path());
        // A container may keep even root from that.
        mount.status().is_ok_and(|status| status.success()).then(|| Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all that is free.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.path().join("fill")).unwrap();
        let chunk = [0_u8; 4096];
        while std::io::Write::write_all(&mut file, &chunk).is_ok() {}
    }

    fn empty(&self) {
        std::fs::remove_file(self.path().join("fill")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _left = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_of_the_database_is_told_as_such_and_waited_for() {
    // The cluster goes first, and then its disk.
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("not tried: this needs root, and the right to mount");
        return;
    };
    let cluster = OwnCluster::start();
    let mut admin = connect(&cluster.url()).await;
    let at = disk.path().display();
    // The write-ahead log is elsewhere: without room for that, Postgres ends itself.
    run(&mut admin, &format!("CREATE TABLESPACE small LOCATION '{at}'")).await;
    run(&mut admin, "CREATE DATABASE small TABLESPACE small").await;
    let mut home = Home::of(&cluster);
    let url = url::Url::parse(&cluster.url()).unwrap();
    home.url = format!("postgres://postgres@127.0.0.1:{}/small", url.port().unwrap());
    let recorder = Recorder::start().await;
    let server = home.start().await;
    let client = server.client();
    let padding = "x".repeat(6_000);
    let body = |thread: &str| {
        json!({ "workflow": chain(&recorder, &["wait/one", "ok/two"]), "threadId": thread,
                "input": { "padding": padding } })
    };
    for number in 0..8 {
        client.post("/invoke/async", &body(&format!("before-{number}"))).await.expect(202);
    }
    recorder.reached("one", 8).await;
    disk.fill();
    let mut number = 0;
    let refused = eventually("it is refused", async || {
        number += 1;
        let asked = tokio::time::Instant::now();
        let answer = client.post("/invoke/async", &body(&format!("t{number}"))).await;
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        (answer.status != 202).then_some(answer)
    })
    .await;
    assert_eq!(refused.expect(507).json()["code"], "storage_full");
    let (status, why) = readiness(&client).await;
    assert!(status == 503 && why.contains("storage is full"), "{status} {why}");
    let check = client.get("/health").await.expect(503).json()["checks"]["storage"].clone();
    assert!(check["detail"].as_str().unwrap().contains("full"), "{check}");
    recorder.release("one");
    client.get("/status/before-0").await.expect(200);

    disk.empty();
    ready(&client).await;
    for number in 0..8 {
        kept_its_promise(&client, &recorder, &format!("before-{number}")).await;
    }
    // What was refused was not written.
    client.get(&format!("/status/t{number}")).await.expect(404);
    client.post("/invoke/async", &body(&format!("t{number}"))).await.expect(202);
    client.completed(&format!("t{number}")).await;
    logged(&server, BACK, 1).await;
    let told = lines(&server);
    let about = |words: &str| told.iter().filter(|line| line.to_string().contains(words)).count();
    assert_eq!((about(LOST), about(BACK)), (1, 1), "{told:#?}");
    assert!(about("53100") >= 1, "{told:#?}");
}

#[tokio::test]
async fn an_outage_is_two_lines_of_the_log_and_counts_while_nobody_calls() {
    let mut cluster = OwnCluster::start();
    let home = Home::of(&cluster);
    let recorder = Recorder::start().await;
    let server = home.start().await;
    let client = server.client();
    let workflow = chain(&recorder, &["ok/first", "wait/middle", "ok/last"]);
    for number in 0..20 {
        let body = json!({ "workflow": workflow, "threadId": format!("t{number}") });
        client.post("/invoke/async", &body).await.expect(202);
    }
    recorder.reached("middle", 20).await;
    let before = lines(&server).len();
    cluster.stop();
    recorder.release("middle");
    let storage = async || client.get("/health").await.json()["checks"]["storage"].clone();
    let check = eventually("failures are counted", async || {
        let check = storage().await;
        (check["consecutiveFailures"].as_u64().unwrap() >= 5).then_some(check)
    })
    .await;
    assert!(check["value"]["errorRate"].as_f64().unwrap() > 0.0, "{check}");
    // The lease is lost meanwhile, and heartbeats are made again and again.
    eventually("the replica has registered in vain", async || {
        let lease = client.get("/health").await.json()["checks"]["lease"].clone();
        let more = storage().await["consecutiveFailures"].as_u64().unwrap() >= 10;
        (lease["value"]["holds"] == false && more).then_some(())
    })
    .await;
    cluster.restart();
    ready(&client).await;
    logged(&server, BACK, 1).await;
    assert_eq!(storage().await["consecutiveFailures"], 0);
    let metrics = client.get("/metrics").await.expect(200);
    let retries = metrics
        .text()
        .lines()
        .find_map(|line| line.strip_prefix("rethread_storage_retries_total ")?.parse::<u64>().ok());
    assert!(retries.unwrap() >= 5, "{retries:?}");
    for number in 0..20 {
        kept_its_promise(&client, &recorder, &format!("t{number}")).await;
    }
    let told = lines(&server).split_off(before);
    let of_outage: Vec<&Value> = told
        .iter()
        .filter(|line| !line["target"].as_str().unwrap().contains("recoveries"))
        .collect();
    assert_eq!(of_outage.len(), 2, "{of_outage:#?}");
    assert!(of_outage[0].to_string().contains(LOST) && of_outage[1].to_string().contains(BACK));
    for line in of_outage {
        assert!(line.to_string().contains("reason"), "{line}");
    }
}

#[tokio::test]
async fn every_answer_of_an_outage_has_its_cause_in_the_log() {
    let mut cluster = OwnCluster::start();
    let home = Home::of(&cluster);
    let recorder = Recorder::start().await;
    let server = home.start().await;
    let client = server.client();
    cluster.stop();
    let body = json!({ "workflow": chain(&recorder, &["ok/one"]) });
    let mut ids = Vec::new();
    for path in ["/invoke/async", "/invoke/async", "/workflows"] {
        let body = if path == "/workflows" { &body["workflow"] } else { &body };
        let answer = client.post(path, body).await.expect(503);
        ids.push(answer.header("x-request-id").to_owned());
    }
    for path in ["/threads", "/status/t0", "/health", "/"] {
        let answer = client.get(path).await.expect(503);
        ids.push(answer.header("x-request-id").to_owned());
    }
    for id in ids {
        let line = eventually("it is logged", async || {
            let log = server.log();
            log.lines()
                .find(|line| line.contains(&id) && line.contains("answered"))
                .map(str::to_owned)
        })
        .await;
        let line: Value = serde_json::from_str(&line).unwrap();
        let cause = line["cause"].as_str().unwrap_or_default();
        assert!(!cause.is_empty(), "{line}");
    }
    cluster.restart();
}

#[tokio::test]
async fn writes_that_a_fence_refused_are_counted() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let server = home.start().await;
    let client = server.client();
    let body = json!({ "workflow": chain(&recorder, &["wait/one", "ok/two"]), "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    recorder.reached("one", 1).await;
    let counted = async |name: &str| {
        let metrics = client.get("/metrics").await.expect(200);
        let lines = metrics.text().lines();
        lines.filter_map(|line| line.strip_prefix(name)).find_map(|n| n.trim().parse::<u64>().ok())
    };
    assert_eq!(counted("rethread_fenced_total").await, Some(0));
    // As if somebody else had claimed it in between.
    let mut beside = connect(&home.url).await;
    run(&mut beside, "UPDATE rethread.threads SET epoch = epoch + 1 WHERE thread_id = 't1'").await;
    recorder.release("one");
    client.completed("t1").await;
    assert!(counted("rethread_fenced_total").await >= Some(1));
    assert_eq!(counted("rethread_invariant_violations_total").await, Some(0));
}
