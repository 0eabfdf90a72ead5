//! A database that goes away in every way: gone, frozen, forgotten by the network, out of
//! connections, cut off before its answer, locked.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::Connection;

use super::promise::kept_its_promise;
use super::support::flows::chain;
use super::support::proxy::{Path, Proxy};
use super::support::server::Launch;
use super::support::sse::Stream;
use super::support::{Client, Home, Recorder, Server, eventually};
use crate::support::postgres::{OwnCluster, connect};

/// Threads under way when the database goes away.
const THREADS: usize = 12;
/// What an invoke may take to be answered.
const ANSWERED: Duration = Duration::from_secs(5);
/// What an answer about health may take.
const PROMPT: Duration = Duration::from_secs(1);
/// By when all is well again after a database has come back.
const BACK: Duration = Duration::from_secs(10);
/// Longer than a lease of the tests' servers, so that authority is lost.
const SHORT: Duration = Duration::from_secs(3);
/// Longer than any deadline of a single call.
const LONG: Duration = Duration::from_secs(13);

/// A server whose database will go away, and threads in all states.
struct Scene {
    server: Server,
    client: Client,
    recorder: Recorder,
}

impl Scene {
    async fn set(home: &Home, url: &str) -> Self {
        Self::of(home.launch().set("DATABASE_URL", url)).await
    }

    async fn of(launch: Launch<'_>) -> Self {
        let (recorder, server) = (Recorder::start().await, launch.start().await);
        let scene = Self { client: server.client(), server, recorder };
        for number in 0..THREADS {
            let body = scene.body(&format!("t{number}"));
            scene.client.post("/invoke/async", &body).await.expect(202);
        }
        scene.recorder.reached("middle", THREADS).await;
        scene
    }

    /// Two steps that take their time, one that waits for a release, one behind it.
    fn body(&self, thread: &str) -> Value {
        let paths = ["ok/first", "delay/50/x", "wait/middle", "delay/20/x", "ok/last"];
        json!({ "workflow": chain(&self.recorder, &paths), "threadId": thread })
    }

    /// What the outside sees while the database is away, for that long.
    async fn stands_it(&self, outage: Duration) {
        let began = tokio::time::Instant::now();
        // Half of the steps end meanwhile: what they did must be written later.
        self.recorder.release("middle");
        let asked = tokio::time::Instant::now();
        let refused = self.client.post("/invoke/async", &self.body("refused")).await.expect(503);
        assert!(asked.elapsed() < ANSWERED, "{:?}", asked.elapsed());
        assert_eq!(refused.json()["code"], "storage_unavailable");
        assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);
        eventually("it is not ready", async || {
            (self.prompt("/health/ready").await == 503).then_some(())
        })
        .await;
        // Once it is known, nobody is kept waiting.
        for (path, body) in
            [("/invoke/async", self.body("refused")), ("/workflows/validate", json!({}))]
        {
            let asked = tokio::time::Instant::now();
            let status = self.client.post(path, &body).await.status;
            assert!(status == 503 || path != "/invoke/async", "{status}");
            assert!(asked.elapsed() < PROMPT * 2, "{path} {:?}", asked.elapsed());
        }
        let asked = tokio::time::Instant::now();
        self.client.get("/status/t0").await.expect(503);
        assert!(asked.elapsed() < PROMPT * 2, "{:?}", asked.elapsed());
        while began.elapsed() < outage {
            assert_eq!(self.prompt("/health/live").await, 200);
            assert_eq!(self.prompt("/health/ready").await, 503);
            assert_eq!(self.prompt("/health").await, 503);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn prompt(&self, path: &str) -> u16 {
        let asked = tokio::time::Instant::now();
        let status = self.client.get(path).await.status;
        assert!(asked.elapsed() < PROMPT, "{path}: {:?}", asked.elapsed());
        status
    }

    /// All is well again in time, and nothing was lost or doubled.
    async fn recovers(&self) {
        let back = tokio::time::Instant::now();
        eventually("it is ready", async || {
            (self.prompt("/health/ready").await == 200).then_some(())
        })
        .await;
        eventually("it is taken", async || {
            let body = json!({ "workflow": chain(&self.recorder, &["ok/new"]), "threadId": "new" });
            let status = self.client.post("/invoke/async", &body).await.status;
            matches!(status, 200 | 202).then_some(())
        })
        .await;
        self.client.completed("new").await;
        assert!(back.elapsed() < BACK, "{:?}", back.elapsed());
        self.keeps_its_promise().await;
    }

    async fn keeps_its_promise(&self) {
        for number in 0..THREADS {
            let thread = format!("t{number}");
            kept_its_promise(&self.client, &self.recorder, &thread).await;
            // What was complete before did not run again.
            assert_eq!(self.recorder.count(&format!("{thread}/s0")), 1, "{thread}");
        }
    }

    /// A number that `/metrics` shows.
    async fn metric(&self, name: &str) -> u64 {
        let text = self.client.get("/metrics").await.expect(200).text().to_owned();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    }
}

/// A way to a home's database that can be cut, and the URL that goes along it.
async fn way_to(home: &Home) -> (Proxy, String) {
    let url = url::Url::parse(&home.url).unwrap();
    let target = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432));
    let proxy = Proxy::to(target.clone()).await;
    let through = home.url.replace(&target, &proxy.addr.to_string());
    (proxy, through)
}

#[tokio::test]
async fn a_database_that_was_stopped_and_started_again_is_survived() {
    let mut cluster = OwnCluster::start();
    let home = Home::of(&cluster);
    let scene = Scene::set(&home, &home.url).await;
    cluster.stop();
    scene.stands_it(SHORT).await;
    cluster.restart();
    scene.recovers().await;
    let given_up = scene.metric("rethread_storage_retries_abandoned_total").await;
    assert!(scene.metric("rethread_storage_retries_total").await >= given_up);
}

#[tokio::test]
async fn a_server_whose_log_nobody_reads_any_more_survives_its_database() {
    let mut cluster = OwnCluster::start();
    let home = Home::of(&cluster);
    let (reader, log) = std::io::pipe().unwrap();
    let scene = Scene::of(home.launch().log_to(log)).await;
    drop(reader);
    cluster.stop();
    scene.stands_it(SHORT).await;
    cluster.restart();
    scene.recovers().await;
    assert!(scene.metric("rethread_log_lines_dropped_total").await > 0);
    assert!(scene.server.sigterm_and_wait().await.success());
}

#[tokio::test]
async fn a_server_whose_log_stands_survives_its_database() {
    let mut cluster = OwnCluster::start();
    let home = Home::of(&cluster);
    let (_reader, log) = std::io::pipe().unwrap();
    let scene = Scene::of(home.launch().set("RETHREAD_LOG", "trace").log_to(log)).await;
    // More lines than the pipe and the server keep.
    eventually("lines are dropped", async || {
        for _ in 0..50 {
            scene.client.get("/threads").await.expect(200);
        }
        (scene.metric("rethread_log_lines_dropped_total").await > 0).then_some(())
    })
    .await;
    cluster.stop();
    scene.stands_it(SHORT).await;
    cluster.restart();
    scene.recovers().await;
    assert!(scene.server.sigterm_and_wait().await.success());
}

/// Waits until a server has lost its lease.
async fn lease_lost(client: &Client) {
    eventually("the lease is lost", async || {
        let lease = client.get("/health").await.json()["checks"]["lease"].clone();
        (lease["value"]["holds"] == false).then_some(())
    })
    .await;
}

/// Reads a stream up to an event of that number.
async fn up_to(stream: &mut Stream, seq: &str) {
    while stream.next().await.unwrap().id.as_deref() != Some(seq) {}
}

#[tokio::test]
async fn readers_of_a_database_that_was_restored_begin_anew_while_they_are_connected() {
    let mut cluster = OwnCluster::start();
    let home = Home::of(&cluster);
    let recorder = Recorder::start().await;
    let server = home.launch().start().await;
    let client = server.client();
    // Of the one, more was written after the backup than comes again; of the other, less.
    let longer = ["ok/a", "wait/longer", "ok/b", "ok/c", "wait/never"];
    let shorter = ["ok/a", "wait/shorter", "ok/b", "ok/c", "ok/d"];
    for (thread, paths) in [("longer", longer), ("shorter", shorter)] {
        let body = json!({ "workflow": chain(&recorder, &paths), "threadId": thread });
        client.post("/invoke/async", &body).await.expect(202);
        recorder.reached(thread, 1).await;
    }
    // Their starts and one step; the second step is under way.
    let mut readers = Vec::new();
    for thread in ["longer", "shorter"] {
        let mut reader = client.stream(&format!("/stream/{thread}"), &[]).await;
        up_to(&mut reader, "4").await;
        readers.push(reader);
    }
    // Each outage outlives the lease, so that both threads are recovered.
    cluster.stop();
    cluster.back_up();
    lease_lost(&client).await;
    cluster.restart();
    eventually("it is ready", async || {
        (client.get("/health/ready").await.status == 200).then_some(())
    })
    .await;
    recorder.release("longer");
    up_to(&mut readers[0], "9").await;
    let mut shorter_seen = readers[1].next().await.unwrap().event;
    while shorter_seen == "step_retry" {
        shorter_seen = readers[1].next().await.unwrap().event;
    }
    assert_eq!(shorter_seen, "workflow_recovered");
    cluster.stop();
    cluster.restore();
    lease_lost(&client).await;
    cluster.restart();
    recorder.release("shorter");
    for (thread, reader) in ["longer", "shorter"].into_iter().zip(&mut readers) {
        reader.wait_for("reset").await;
        let first = reader.next().await.unwrap();
        assert_eq!((first.id.as_deref(), &*first.event), (Some("1"), "workflow_start"), "{thread}");
        let mut seen = vec![first.data];
        while seen.len() < 7 {
            seen.push(reader.next().await.unwrap().data);
        }
        assert_eq!(seen, client.events(thread).await[..seen.len()], "{thread}");
    }
    let metrics = client.get("/metrics").await.expect(200);
    assert!(metrics.text().contains("rethread_sse_streams_reset_total 2"), "{}", metrics.text());
}

#[tokio::test]
async fn a_database_that_hangs_is_survived() {
    let cluster = OwnCluster::start();
    let home = Home::of(&cluster);
    let scene = Scene::set(&home, &home.url).await;
    cluster.freeze();
    scene.stands_it(LONG).await;
    cluster.thaw();
    scene.recovers().await;
}

#[tokio::test]
async fn connections_that_the_network_forgot_are_replaced() {
    for outage in [SHORT, LONG] {
        let home = Home::postgres().await;
        let (proxy, through) = way_to(&home).await;
        let scene = Scene::set(&home, &through).await;
        proxy.set(Path::Forgotten);
        scene.stands_it(outage).await;
        // What was open stays silent for ever; only new connections get through.
        proxy.set(Path::Open);
        scene.recovers().await;
    }
}

#[tokio::test]
async fn a_database_without_connections_left_is_survived() {
    let home = Home::postgres().await;
    let mut admin = connect(&home.url).await;
    let database = url::Url::parse(&home.url).unwrap().path().trim_start_matches('/').to_owned();
    let role = format!("{database}_app");
    let mut run = async |sql: String| {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
    };
    run(format!("CREATE ROLE {role} LOGIN PASSWORD 'app'")).await;
    run(format!("GRANT CREATE ON DATABASE {database} TO {role}")).await;
    let mut url = url::Url::parse(&home.url).unwrap();
    url.set_username(&role).unwrap();
    url.set_password(Some("app")).unwrap();
    let scene = Scene::set(&home, url.as_str()).await;
    run(format!("ALTER ROLE {role} CONNECTION LIMIT 0")).await;
    run(format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"))
        .await;
    scene.stands_it(SHORT).await;
    run(format!("ALTER ROLE {role} CONNECTION LIMIT -1")).await;
    scene.recovers().await;
}

#[tokio::test]
async fn every_tenth_answer_that_never_arrives_loses_and_doubles_nothing() {
    let home = Home::postgres().await;
    let (proxy, through) = way_to(&home).await;
    // A lease that outlives a lost heartbeat or two: this is about statements, not about leases.
    let recorder = Recorder::start().await;
    let launch = home.launch().set("DATABASE_URL", &through).set("RETHREAD_LEASE", "5s");
    let server = launch.start().await;
    let scene = Scene { client: server.client(), server, recorder };
    proxy.set(Path::EveryTenthUnanswered);
    scene.recorder.release("middle");
    for number in 0..THREADS {
        let body = scene.body(&format!("t{number}"));
        // Nobody need see a hiccup: the same call is made again behind the client's back.
        let answer = scene.client.post("/invoke/async", &body).await;
        assert!(matches!(answer.status, 200 | 202), "{}", answer.text());
    }
    for number in 0..THREADS {
        scene.client.completed(&format!("t{number}")).await;
    }
    assert!(proxy.cut() > 10, "{}", proxy.cut());
    proxy.set(Path::Open);
    scene.keeps_its_promise().await;
    for number in 0..THREADS {
        let thread = format!("t{number}");
        for step in 0..5 {
            assert_eq!(scene.recorder.count(&format!("{thread}/s{step}")), 1, "{thread}/s{step}");
        }
        assert_eq!(scene.client.status(&thread).await["recoveries"], json!(0));
    }
    assert!(scene.metric("rethread_storage_retries_total").await > 0);
    assert!(scene.metric("rethread_storage_retries_recovered_total").await > 0);
    assert!(scene.server.sigterm_and_wait().await.success());
}

#[tokio::test]
async fn a_thread_whose_row_is_locked_holds_up_nobody_else() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    // One lease is enough: the lock outlives it, and nobody may lose a thread over that.
    let server = home.start().await;
    let client = server.client();
    let body = |thread: &str, paths: &[&str]| json!({ "workflow": chain(&recorder, paths), "threadId": thread });
    client.post("/invoke/async", &body("locked", &["wait/one", "ok/two"])).await.expect(202);
    recorder.reached("one", 1).await;
    let mut other = sqlx::PgConnection::connect(&home.url).await.unwrap();
    let lock = "BEGIN; SELECT FROM rethread.threads WHERE thread_id = 'locked' FOR UPDATE";
    sqlx::raw_sql(lock).execute(&mut other).await.unwrap();
    let began = tokio::time::Instant::now();
    recorder.release("one");
    let (mut number, mut slowest) = (0, Duration::ZERO);
    while began.elapsed() < Duration::from_secs(5) {
        let asked = tokio::time::Instant::now();
        let threads: Vec<String> = (0..8).map(|n| format!("t{}", number + n)).collect();
        number += threads.len();
        for thread in &threads {
            client
                .post("/invoke/async", &body(thread, &["ok/x", "ok/x", "ok/x"]))
                .await
                .expect(202);
        }
        for thread in &threads {
            client.completed(thread).await;
        }
        slowest = slowest.max(asked.elapsed());
    }
    assert!(slowest < Duration::from_millis(1_500), "{slowest:?}");
    assert_eq!(client.status("locked").await["status"], "running");
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    client.completed("locked").await;
    assert_eq!((recorder.count("locked/s0"), recorder.count("locked/s1")), (1, 1));
    kept_its_promise(&client, &recorder, "locked").await;
}
