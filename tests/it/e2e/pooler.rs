//! Behind the real PgBouncer in transaction mode: everything works, if a little slower.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::Instant;

use super::promise::kept_its_promise;
use super::support::figures::delays;
use super::support::flows::{chain, hanging};
use super::support::{Home, Recorder, Server, eventually};
use crate::support::pgbouncer::{PgBouncer, SESSIONS};

/// A home and a pooler before its database.
async fn pooled() -> Option<(Home, PgBouncer, Recorder)> {
    let home = Home::postgres().await;
    let pooler = PgBouncer::start(&home.url)?;
    Some((home, pooler, Recorder::start().await))
}

async fn start(home: &Home, pooler: &PgBouncer) -> Server {
    let launch = home.launch().set("RETHREAD_POOLER", "transaction");
    launch.set("DATABASE_URL", &pooler.before(&home.url)).start().await
}

#[tokio::test]
async fn two_replicas_work_behind_a_pooler() {
    let Some((home, pooler, recorder)) = pooled().await else { return };
    // Both migrate at once.
    let (first, second) = tokio::join!(start(&home, &pooler), start(&home, &pooler));
    let clients = [first.client(), second.client()];
    // Far more calls at a time than there are sessions: each finds another one every time.
    let threads = (0..24_usize).map(|n| {
        let (here, elsewhere) = (&clients[n % 2], &clients[(n + 1) % 2]);
        let recorder = &recorder;
        async move {
            let thread = format!("t{n}");
            let paths = ["ok/x", "fail/1/x", "delay/20/x", "ok/x"];
            let body = json!({ "workflow": chain(recorder, &paths), "threadId": thread });
            here.post("/invoke/async", &body).await.expect(202);
            let stream = elsewhere.stream(&format!("/stream/{thread}"), &[]).await;
            let (delays, texts) = delays(stream).await;
            assert_eq!(texts, here.events(&thread).await);
            kept_its_promise(elsewhere, recorder, &thread).await;
            delays
        }
    });
    let mut all = super::support::figures::Figures::default();
    for figures in join_all(threads).await {
        all.append(figures);
    }
    all.show("event to a stream elsewhere, behind a pooler");

    let body = json!({ "workflow": hanging(&recorder, "hang"), "threadId": "stopped" });
    clients[0].post("/invoke/async", &body).await.expect(202);
    recorder.reached("hang", 1).await;
    clients[1].post("/threads/stopped/abort", &json!({})).await.expect(200);
    recorder.release("hang");
    clients[1].post("/threads/stopped/resume", &json!({})).await.expect(202);
    clients[0].completed("stopped").await;
    clients[1].delete("/threads/stopped").await.expect(204);

    let sessions = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    assert!((1..=SESSIONS).contains(&home.number(sessions).await));
    for log in [first.log(), second.log(), pooler.log()] {
        for trouble in ["prepared statement", "unsupported startup parameter", "SQLSTATE"] {
            assert!(!log.contains(trouble), "{trouble} in {log}");
        }
    }
    let end = first.sigterm_and_wait().await;
    assert!(end.success());
}

#[tokio::test]
async fn a_killed_replica_behind_a_pooler_is_replaced_when_its_lease_ends() {
    let Some((home, pooler, recorder)) = pooled().await else { return };
    let (first, second) = (start(&home, &pooler).await, start(&home, &pooler).await);
    let body = json!({ "workflow": chain(&recorder, &["wait/one", "ok/two"]), "threadId": "t1" });
    first.client().post("/invoke/async", &body).await.expect(202);
    recorder.reached("one", 1).await;
    let mut stream = second.client().stream("/stream/t1", &[]).await;
    let killed = Instant::now();
    first.kill9().await;
    recorder.reached("one", 2).await;
    println!("taken over after {:?}, leases of 1 s", killed.elapsed());
    assert!(killed.elapsed() < Duration::from_secs(6));
    recorder.release("one");
    stream.wait_for("workflow_recovered").await;
    stream.wait_for("workflow_complete").await;
    kept_its_promise(&second.client(), &recorder, "t1").await;
    // It is known by its silence alone: nothing shows sessions here.
    eventually("it is put down how it was lost", async || {
        let silent = "SELECT count(*) FROM rethread.replicas WHERE lost IS NULL AND NOT attended
            AND lease_until <= clock_timestamp()";
        (home.number(silent).await == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_schema_can_be_moved_through_a_pooler() {
    let Some((home, pooler, _recorder)) = pooled().await else { return };
    let url = pooler.before(&home.url);
    let run = async |arguments: &[&str]| {
        let launch = home.launch().set("RETHREAD_POOLER", "transaction");
        let output = launch.set("DATABASE_URL", &url).output(arguments).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    // Twice each way: whatever a run left behind in a session would be in the way of the next.
    for _ in 0..2 {
        assert!(!run(&["migrate", "up"]).await.contains("missing"));
        assert!(!run(&["migrate", "status"]).await.contains("missing"));
        assert!(run(&["migrate", "down", "--to", "0"]).await.contains("missing"));
        assert!(!run(&["migrate", "status"]).await.contains("applied"));
    }
}
