//! What operators meet: bad settings, a database that is away, a full queue, migrations.

use std::time::Duration;

use serde_json::json;
use sqlx::Connection;

use super::support::flows::chain;
use super::support::proxy::{Path, Proxy};
use super::support::{Home, Recorder, eventually};

#[tokio::test]
async fn a_setting_that_cannot_be_read_is_named_with_what_is_allowed() {
    let table = [
        ("RETHREAD_LEASE", "soon", "duration"),
        ("RETHREAD_MAX_BODY", "big", "size"),
        ("RETHREAD_MAX_RUNNING", "0", "whole number"),
        ("RETHREAD_EGRESS", "10.0.0.0/33", "public"),
        ("RETHREAD_LOG_FORMAT", "xml", "json"),
        ("RETHREAD_ADDR", "nowhere", "port"),
        ("DATABASE_URL", "mysql://u:hunter2@h/d", "postgres://"),
        ("DATABASE_SCHEMA", "a;b", "letters"),
        ("RETHREAD_FALLBACK", "cloud", "none"),
        ("RETHREAD_API_KEYS", "hunter2", "name:secret"),
        ("RETHREAD_SHUTDOWN_GRACE", "-1s", "duration"),
    ];
    let home = Home::memory().await;
    let mut launch = home.launch();
    for (name, value, _) in table {
        launch = launch.set(name, value);
    }
    let output = launch.output(&["serve"]).await;
    assert!(!output.status.success() && output.stdout.is_empty());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    for (name, value, allowed) in table {
        let line = said.lines().find(|line| line.contains(name));
        let line = line.unwrap_or_else(|| panic!("{name} is not named in {said}"));
        assert!(line.contains("allowed") && line.contains(allowed), "{line}");
        assert!(value.contains("hunter2") || line.contains(value), "{line}");
    }
    assert!(!said.contains("hunter2"), "{said}");
}

#[tokio::test]
async fn a_second_process_on_the_same_file_is_turned_away() {
    let home = Home::sqlite().await;
    let server = home.start().await;
    let output = home.launch().output(&["serve"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("rethread.db") && said.contains("process"), "{said}");
    server.client().get("/health/ready").await.expect(200);
    // It is free again as soon as the first is gone, however it went.
    server.kill9().await;
    home.start().await;
}

#[tokio::test]
async fn a_database_that_is_away_is_waited_for_and_its_password_masked() {
    let home = Home::memory().await;
    let url = "postgres://app:hunter2@127.0.0.1:1/db?sslmode=disable";
    let log = home.launch().set("DATABASE_URL", url).log_until("trying again").await;
    assert!(log.contains("app:***@127.0.0.1:1"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}

#[tokio::test]
async fn a_database_that_cannot_be_used_ends_the_start() {
    let home = Home::sqlite().await;
    std::fs::write(home.file(), "this is no database, but it is long enough to be looked at")
        .unwrap();
    let output = home.launch().output(&["serve"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("DATABASE_URL"), "{said}");
}

#[tokio::test]
async fn a_database_that_goes_away_is_survived() {
    an_outage_is_answered_in_time_and_survived(Path::Closed).await;
}

#[tokio::test]
async fn a_database_that_falls_silent_is_survived() {
    an_outage_is_answered_in_time_and_survived(Path::Silent).await;
}

/// A way to the database that can be cut, and the URL that goes along it.
pub(super) async fn way_to(home: &Home) -> (Proxy, String) {
    let url = url::Url::parse(&home.url).unwrap();
    let target = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432));
    let proxy = Proxy::to(target.clone()).await;
    let through = home.url.replace(&target, &proxy.addr.to_string());
    (proxy, through)
}

#[tokio::test]
async fn a_server_ends_in_time_while_its_database_is_away() {
    for outage in [Path::Closed, Path::Silent] {
        let (home, recorder) = (Home::postgres().await, Recorder::start().await);
        let (proxy, through) = way_to(&home).await;
        let launch = home.launch().set("DATABASE_URL", &through).set("RETHREAD_LEASE", "60s");
        let server = launch.set("RETHREAD_SHUTDOWN_GRACE", "200ms").start().await;
        let body = json!({ "workflow": chain(&recorder, &["wait/one"]), "threadId": "t1" });
        server.client().post("/invoke/async", &body).await.expect(202);
        recorder.reached("one", 1).await;
        proxy.set(outage);
        // The step's end is to be written, and cannot be.
        recorder.release("one");
        eventually("it is sent again", async || {
            (outage == Path::Silent || server.log().contains("a write of events")).then_some(())
        })
        .await;
        let asked = tokio::time::Instant::now();
        assert!(server.sigterm_and_wait().await.success());
        assert!(asked.elapsed() < Duration::from_secs(9), "{:?}", asked.elapsed());
    }
}

#[tokio::test]
async fn a_thread_goes_on_once_the_database_takes_its_events_again() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let server = home.launch().set("RETHREAD_LEASE", "60s").start().await;
    let client = server.client();
    let body = json!({ "workflow": chain(&recorder, &["wait/one", "ok/two"]), "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    recorder.reached("one", 1).await;
    let mut other = sqlx::PgConnection::connect(&home.url).await.unwrap();
    sqlx::raw_sql("ALTER TABLE rethread.journal RENAME TO away").execute(&mut other).await.unwrap();
    recorder.release("one");
    eventually("it is refused", async || server.log().contains("was refused").then_some(())).await;
    sqlx::raw_sql("ALTER TABLE rethread.away RENAME TO journal").execute(&mut other).await.unwrap();
    // No replica was lost, so that nobody else would come for it.
    client.completed("t1").await;
    assert_eq!(recorder.count("t1/s1"), 1);
}

async fn an_outage_is_answered_in_time_and_survived(outage: Path) {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let (proxy, through) = way_to(&home).await;
    let server = home.launch().set("DATABASE_URL", &through).start().await;
    let client = server.client();
    let body = |thread: &str| json!({ "workflow": chain(&recorder, &["ok/one", "wait/two", "ok/three"]), "threadId": thread });
    client.post("/invoke/async", &body("t1")).await.expect(202);
    recorder.reached("two", 1).await;
    let before = client.events("t1").await;
    let stream = client.stream("/stream/t1", &[]).await;

    proxy.set(outage);
    let asked = tokio::time::Instant::now();
    let refused = client.post("/invoke/async", &body("t2")).await.expect(503);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    let problem = refused.json();
    assert_eq!(
        (&problem["code"], &problem["recoverable"]),
        (&json!("storage_unavailable"), &json!(true))
    );
    assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);
    client.get("/status/t1").await.expect(503);
    client.get("/health/live").await.expect(200);
    eventually("it is not ready", async || {
        (client.get("/health/ready").await.status == 503).then_some(())
    })
    .await;

    proxy.set(Path::Open);
    recorder.release("two");
    eventually("it is ready", async || {
        (client.get("/health/ready").await.status == 200).then_some(())
    })
    .await;
    for thread in ["t1", "t2"] {
        eventually("it is taken", async || {
            let status = client.post("/invoke/async", &body(thread)).await.status;
            matches!(status, 200 | 202).then_some(())
        })
        .await;
        client.completed(thread).await;
    }
    let events = client.events("t1").await;
    assert_eq!(events[..before.len()], before[..]);
    assert_eq!(recorder.count("t1/s0"), 1);
    // A reader either stayed, or was sent away to come back: what it saw is true.
    let seen: Vec<_> = stream.rest().await.into_iter().map(|frame| frame.data).collect();
    assert_eq!(events[..seen.len()], seen[..]);
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_back() {
    let (home, recorder) = (Home::sqlite().await, Recorder::start().await);
    let launch = home.launch().set("RETHREAD_MAX_RUNNING", "1").set("RETHREAD_MAX_QUEUED", "2");
    let server = launch.start().await;
    let client = server.client();
    let body = json!({ "workflow": chain(&recorder, &["wait/all"]) });
    for _ in 0..3 {
        client.post("/invoke/async", &body).await.expect(202);
    }
    let refused = client.post("/invoke/async", &body).await.expect(429);
    let problem = refused.json();
    assert_eq!(
        (&problem["code"], &problem["category"]),
        (&json!("queue_full"), &json!("rate_limit"))
    );
    assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);
    recorder.release("all");
    eventually("all are done", async || {
        let list = client.get("/threads?status=completed").await.json();
        (list["items"].as_array().unwrap().len() == 3).then_some(())
    })
    .await;
    client.post("/invoke/async", &body).await.expect(202);
}

#[tokio::test]
async fn migrations_go_up_and_down_on_both_databases() {
    for home in [Home::sqlite().await, Home::postgres().await] {
        let migrate = async |arguments: &[&str]| {
            let output = home.launch().output(arguments).await;
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            said
        };
        assert!(migrate(&["migrate", "status"]).await.contains("missing"));
        assert!(!migrate(&["migrate"]).await.contains("missing"));
        let server = home.start().await;
        let recorder = Recorder::start().await;
        server.client().run(&json!({ "workflow": chain(&recorder, &["ok/one"]) })).await;
        server.sigterm_and_wait().await;
        assert!(!migrate(&["migrate", "down", "--to", "0"]).await.contains("applied"));
        assert!(!migrate(&["migrate", "up"]).await.contains("missing"));
        let server = home.start().await;
        assert_eq!(server.client().get("/threads").await.json()["items"], json!([]));
    }
}

#[tokio::test]
async fn the_health_command_asks_a_server() {
    let home = Home::memory().await;
    let server = home.start().await;
    let url = server.url();
    assert!(home.launch().output(&["health", &url]).await.status.success());
    server.kill9().await;
    let output = home.launch().output(&["health", &url]).await;
    assert_eq!(output.status.code(), Some(1));
}
