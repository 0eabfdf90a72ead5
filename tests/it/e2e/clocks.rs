//! Replicas whose machines have wrong clocks share the database's; a clock that is set under a
//! server ends no sleep early or late.

use std::time::Duration;

use rethread::app::SystemClock;
use rethread::model::{Clock, Timestamp};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::support::faketime::FakeClock;
use super::support::flows::{gapless, step};
use super::support::{Client, Home, Server, eventually, on_stores};

on_stores!([memory, sqlite][a_clock_that_is_set_ends_no_sleep_early_or_late]);

const HOUR: i64 = 3_600;
/// Longer than a thread is driven for nothing: it is parked.
const PARKED: Duration = Duration::from_secs(11);
/// For which a thread stays where it is.
const SHORT: Duration = Duration::from_secs(5);
/// How much later than they should sleeps may end, on a busy machine.
const LATE: Duration = Duration::from_secs(4);

/// Sleeps, and says when it ended, by this process's clock.
async fn sleeps(client: &Client, thread: &str, time: Duration) -> Duration {
    begin(client, thread, time).await;
    let began = Instant::now();
    client.completed(thread).await;
    began.elapsed()
}

async fn begin(client: &Client, thread: &str, time: Duration) {
    let duration = format!("{}ms", time.as_millis());
    let steps = json!([{ "id": "s", "kind": "sleep", "with": { "for": duration } }]);
    let workflow = json!({ "name": "w", "steps": steps });
    let body = json!({ "workflow": workflow, "threadId": thread });
    client.post("/invoke/async", &body).await.expect(202);
}

#[track_caller]
fn on_time(took: Duration, wanted: Duration) {
    // The invoke itself took a moment of it.
    let early = wanted.saturating_sub(Duration::from_millis(500));
    assert!((early..wanted + LATE).contains(&took), "{took:?} instead of {wanted:?}");
}

/// Checks that the events' times are in order and between the two of this machine's clock, give or
/// take a second; returns how many there were.
async fn within(client: &Client, thread: &str, began: Timestamp) -> usize {
    let events = gapless(client, thread).await;
    let at = |event: &Value| Timestamp::parse(event["at"].as_str().unwrap()).unwrap();
    let times: Vec<Timestamp> = events.iter().map(at).collect();
    assert!(times.is_sorted(), "{times:?}");
    let second = Duration::from_secs(1);
    let (first, last) = (times[0], times[times.len() - 1]);
    let now = SystemClock::start().now();
    assert!(first.plus(second) >= began, "{first} is before {began}");
    assert!(last <= now.plus(second), "{last} is after {now}");
    times.len()
}

async fn clock_check(server: &Server) -> Value {
    server.client().get("/health").await.json()["checks"]["clock"].clone()
}

/// Waits until the server says that its machine's clock is so many seconds ahead.
async fn says(server: &Server, ahead: i64) {
    eventually("the skew is in the report", async || {
        let check = clock_check(server).await;
        let skew = check["value"]["skewMs"].as_i64().unwrap();
        (skew.abs_diff(ahead * 1_000) < 3_000).then(|| {
            let wrong = ahead != 0;
            assert_eq!(check["status"], if wrong { "warning" } else { "healthy" }, "{check:#}");
            assert_eq!(check["recommendation"].is_string(), wrong, "{check:#}");
        })
    })
    .await;
    eventually("the skew is a metric", async || {
        let metrics = server.client().get("/metrics").await;
        let mut lines = metrics.text().lines();
        let value = lines.find_map(|line| line.strip_prefix("rethread_clock_skew_seconds "));
        let value: f64 = value.unwrap().parse().unwrap();
        let ahead = f64::from(i32::try_from(ahead).unwrap());
        ((value - ahead).abs() < 3.0).then_some(())
    })
    .await;
}

fn counted(log: &str, words: &str) -> usize {
    log.lines().filter(|line| line.contains(words)).count()
}

const APART: &str = "this machine's clock and the store's are apart";
const AGREE: &str = "this machine's clock and the store's agree again";

/// A right replica and a wrong one beside each other.
async fn replicas_share_the_databases_clock(ahead: i64) {
    let home = Home::postgres().await;
    let Some(fake) = FakeClock::new(&home) else { return };
    fake.set(ahead);
    let began = SystemClock::start().now();
    let (fair, skewed) = (home.start().await, fake.on(home.launch()).start().await);
    says(&skewed, ahead).await;
    says(&fair, 0).await;
    let (one, other) = (fair.client(), skewed.client());
    let (parked, elsewhere, here) = tokio::join!(
        sleeps(&one, "fair", PARKED),
        sleeps(&other, "skewed", PARKED),
        sleeps(&other, "short", SHORT),
    );
    on_time(parked, PARKED);
    on_time(elsewhere, PARKED);
    on_time(here, SHORT);
    for (thread, time) in [("fair", PARKED), ("skewed", PARKED), ("short", SHORT)] {
        recorded(&one, (thread, time), began).await;
    }
    assert_eq!(counted(&skewed.log(), APART), 1);
    assert_eq!(counted(&skewed.log(), AGREE), 0);
    assert_eq!(counted(&fair.log(), APART), 0);
}

/// A wrong replica, without another that could be right for it.
async fn one_alone_goes_by_the_databases_clock(ahead: i64) {
    let home = Home::postgres().await;
    let Some(fake) = FakeClock::new(&home) else { return };
    fake.set(ahead);
    let began = SystemClock::start().now();
    let skewed = fake.on(home.launch()).start().await;
    let client = skewed.client();
    on_time(sleeps(&client, "alone", PARKED).await, PARKED);
    recorded(&client, ("alone", PARKED), began).await;
    says(&skewed, ahead).await;
}

/// Checks the times that the thread's journal has.
async fn recorded(client: &Client, (thread, time): (&str, Duration), began: Timestamp) {
    let status = client.status(thread).await;
    let at = |name: &str| Timestamp::parse(step(&status, "s")[name].as_str().unwrap()).unwrap();
    on_time(at("completedAt").since(at("startedAt")), time);
    assert!(within(client, thread, began).await >= 4, "{thread}");
}

#[tokio::test]
async fn a_replica_an_hour_ahead_shares_the_databases_clock() {
    tokio::join!(
        replicas_share_the_databases_clock(HOUR),
        one_alone_goes_by_the_databases_clock(HOUR),
    );
}

#[tokio::test]
async fn a_replica_an_hour_behind_shares_the_databases_clock() {
    tokio::join!(
        replicas_share_the_databases_clock(-HOUR),
        one_alone_goes_by_the_databases_clock(-HOUR),
    );
}

async fn a_clock_that_is_set_ends_no_sleep_early_or_late(home: Home) {
    let Some(fake) = FakeClock::new(&home) else { return };
    let server = fake.on(home.launch()).start().await;
    let client = server.client();
    let began = SystemClock::start().now();
    for (thread, ahead) in [("forward", HOUR), ("back", -HOUR)] {
        let asked = Instant::now();
        begin(&client, thread, SHORT).await;
        fake.set(ahead);
        says(&server, ahead).await;
        assert_eq!(client.status(thread).await["status"], "running");
        client.completed(thread).await;
        on_time(asked.elapsed(), SHORT);
        within(&client, thread, began).await;
    }
    fake.set(0);
    says(&server, 0).await;
    eventually("the log says so", async || (counted(&server.log(), AGREE) == 1).then_some(()))
        .await;
    assert_eq!(counted(&server.log(), APART), 1);
}
