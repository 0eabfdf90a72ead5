//! A process that is gone is noticed long before its lease ends; one that lives loses nothing.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;
use tokio::time::Instant;

use super::promise::kept_its_promise;
use super::support::figures::Figures;
use super::support::flows::chain;
use super::support::{Home, Recorder, Server, eventually};

/// Sessions of this database that show that a replica lives.
const SESSIONS: &str = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE d.datname = current_database() AND locktype = 'advisory' AND objsubid = 2";
/// Replicas that have said so.
const ATTENDED: &str = "SELECT count(*) FROM rethread.replicas
    WHERE attended AND lease_until > clock_timestamp()";

async fn patient(home: &Home) -> Server {
    home.launch().set("RETHREAD_LEASE", "30s").start().await
}

/// Waits until this many replicas are seen by their sessions.
async fn attended(home: &Home, count: i64) {
    eventually("replicas are attended", async || {
        let seen = (home.number(SESSIONS).await, home.number(ATTENDED).await);
        (seen == (count, count)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn threads_of_a_killed_process_are_taken_over_within_two_seconds() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let heir = patient(&home).await;
    let mut figures = Figures::default();
    for n in 0..3 {
        let victim = patient(&home).await;
        attended(&home, 2).await;
        let (thread, name) = (format!("t{n}"), format!("w{n}"));
        let workflow = chain(&recorder, &[&format!("wait/{name}"), "ok/x"]);
        let body = json!({ "workflow": workflow, "threadId": thread });
        victim.client().post("/invoke/async", &body).await.expect(202);
        recorder.reached(&name, 1).await;
        let killed = Instant::now();
        victim.kill9().await;
        recorder.reached(&name, 2).await;
        figures.add(killed.elapsed());
        recorder.release(&name);
        kept_its_promise(&heir.client(), &recorder, &thread).await;
        assert_eq!(heir.client().status(&thread).await["recoveries"], json!(1));
    }
    figures.show("from a kill to the next attempt elsewhere, leases of 30 s");
    assert!(figures.quantile(0.5) < Duration::from_secs(2));
    assert!(figures.quantile(1.0) < Duration::from_secs(5));
    let gone = "SELECT count(*) FROM rethread.replicas WHERE lost = 'session_ended'";
    assert_eq!(home.number(gone).await, 3);
}

#[tokio::test]
async fn a_process_that_stands_still_is_told_from_one_that_is_gone() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let (first, second) = (home.start().await, home.start().await);
    attended(&home, 2).await;
    let body = json!({ "workflow": chain(&recorder, &["wait/one"]), "threadId": "t1" });
    first.client().post("/invoke/async", &body).await.expect(202);
    recorder.reached("one", 1).await;
    first.signal(Signal::SIGSTOP);
    recorder.reached("one", 2).await;
    recorder.release("one");
    kept_its_promise(&second.client(), &recorder, "t1").await;
    eventually("it is put down how it was lost", async || {
        let frozen = "SELECT count(*) FROM rethread.replicas WHERE lost = 'frozen'";
        (home.number(frozen).await == 1).then_some(())
    })
    .await;
    first.signal(Signal::SIGCONT);
    // It registers anew, with a new session.
    attended(&home, 2).await;
}

/// Three replicas with work, one of which loses its session; then all lose all their connections.
#[tokio::test]
async fn nothing_is_taken_from_a_live_replica_whose_connections_are_cut() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let mut servers = vec![patient(&home).await, patient(&home).await];
    let mut threads = Vec::new();
    for n in 0..24 {
        let paths = ["delay/40/x"; 100];
        let thread = format!("t{n}");
        let body = json!({ "workflow": chain(&recorder, &paths), "threadId": thread });
        servers[n % 2].client().post("/invoke/async", &body).await.expect(202);
        threads.push(thread);
    }
    servers.push(patient(&home).await);
    attended(&home, 3).await;
    // The third is old enough to judge others once it has looked a few times.
    eventually("the third may judge", async || {
        let old = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
            WHERE a.datname = current_database() AND l.locktype = 'advisory'
              AND a.backend_start < clock_timestamp() - interval '2 seconds'";
        (home.number(old).await == 3).then_some(())
    })
    .await;
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM (
        SELECT pid FROM pg_locks JOIN pg_stat_activity a USING (pid)
        WHERE a.datname = current_database() AND locktype = 'advisory'
        ORDER BY backend_start LIMIT 1) oldest";
    assert_eq!(home.number(cut).await, 1);
    let cut_at = Instant::now();
    attended(&home, 3).await;
    println!("a session that was cut is back after {:?}", cut_at.elapsed());
    let cut_all = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    for _ in 0..2 {
        assert!(home.number(cut_all).await > 6);
        attended(&home, 3).await;
    }
    for thread in &threads {
        let status = servers[2].client().completed(thread).await;
        assert_eq!(status["recoveries"], json!(0), "{thread}");
    }
    assert_eq!(home.number("SELECT count(*) FROM rethread.replicas").await, 3);
    assert_eq!(home.number("SELECT count(lost) FROM rethread.replicas").await, 0);
}
