//! Streams: every event once, in order, whatever happens to the connection.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::flows::chain;
use super::support::{Client, Dice, Frame, Home, PATIENCE, Recorder, on_stores};

on_stores!([memory, sqlite, postgres] [
    readers_that_lose_their_connection_see_every_event_once,
    a_reader_that_stalls_loses_nothing_and_holds_nobody_up,
    cursors_start_where_they_say,
]);

/// Reads a whole stream over many connections, each cut after a random number of events; every
/// connection may go to another client.
async fn read_with_cuts(clients: Vec<Client>, thread: &str, seed: u64) -> Vec<Frame> {
    let mut dice = Dice(seed);
    let mut frames: Vec<Frame> = Vec::new();
    loop {
        let client = &clients[dice.below(clients.len())];
        let from = frames.last().map_or("0", |frame| frame.id.as_deref().unwrap());
        let mut stream = if dice.below(2) == 0 {
            client.stream(&format!("/stream/{thread}"), &[("last-event-id", from)]).await
        } else {
            client.stream(&format!("/stream/{thread}?after={from}"), &[]).await
        };
        if stream.status == 204 {
            return frames;
        }
        assert_eq!(stream.status, 200);
        let mut first = true;
        for _ in 0..=dice.below(5) {
            let Some(frame) = stream.next().await else { break };
            assert_eq!(frame.retry.is_some(), first, "{frame:?}");
            first = false;
            frames.push(frame);
        }
    }
}

fn data(frames: &[Frame]) -> Vec<String> {
    frames.iter().map(|frame| frame.data.clone()).collect()
}

async fn readers_that_lose_their_connection_see_every_event_once(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let paths: Vec<_> = (0..12).map(|n| ["ok/x", "delay/4/x", "fail/1/x"][n % 3]).collect();
    let body = json!({ "workflow": chain(&recorder, &paths), "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    let readers = (0..8).map(|seed| read_with_cuts(vec![client.clone()], "t1", seed));
    let all = join_all(readers).await;
    let events = client.events("t1").await;
    for frames in all {
        assert_eq!(data(&frames), events);
        let ids: Vec<_> = frames.iter().map(|frame| frame.id.clone().unwrap()).collect();
        let numbers: Vec<_> = (1..=events.len()).map(|n| n.to_string()).collect();
        assert_eq!(ids, numbers);
    }
}

#[tokio::test]
async fn readers_may_change_between_replicas() {
    let (home, recorder) = (Home::postgres().await, Recorder::start().await);
    let (first, second) = (home.start().await, home.start().await);
    let paths: Vec<_> = (0..12).map(|n| ["ok/x", "delay/30/x"][n % 2]).collect();
    let body = json!({ "workflow": chain(&recorder, &paths), "threadId": "t1" });
    first.client().post("/invoke/async", &body).await.expect(202);
    let clients = vec![first.client(), second.client()];
    let all = join_all((0..6).map(|seed| read_with_cuts(clients.clone(), "t1", 100 + seed))).await;
    let events = first.client().events("t1").await;
    assert_eq!(events, second.client().events("t1").await);
    for frames in all {
        assert_eq!(data(&frames), events);
    }
}

async fn a_reader_that_stalls_loses_nothing_and_holds_nobody_up(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    // 40 outputs of 200 kB: far more than sockets buffer.
    let paths = ["big/200000/b"; 40];
    let mut workflow = chain(&recorder, &paths);
    workflow["output"] = json!({});
    // The stalled reader has its connection before anything happens, with a small buffer.
    let gate =
        json!({ "id": "gate", "kind": "http", "with": { "url": recorder.url("wait/gate") } });
    workflow["steps"].as_array_mut().unwrap().push(gate);
    workflow["steps"][0]["dependsOn"] = json!(["gate"]);
    let body = json!({ "workflow": workflow, "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stalled = socket.connect(server.addr).await.unwrap();
    let request = "GET /stream/t1 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stalled.write_all(request.as_bytes()).await.unwrap();
    let mut text = vec![0; 1];
    stalled.read_exact(&mut text).await.unwrap();

    recorder.release("gate");
    let frames = client.stream("/stream/t1", &[]).await.rest().await;
    let events = client.events("t1").await;
    assert_eq!(data(&frames), events);
    client.completed("t1").await;

    // A byte at a time for a while, then the rest.
    for _ in 0..2_000 {
        text.push(stalled.read_u8().await.unwrap());
    }
    let rest = stalled.read_to_end(&mut text);
    tokio::time::timeout(PATIENCE, rest).await.unwrap().unwrap();
    assert_eq!(events_of(&text), events);
}

/// The `data` lines of a raw answer in chunks.
fn events_of(answer: &[u8]) -> Vec<String> {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let (mut body, mut rest) = (Vec::new(), &answer[head + 4..]);
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n").unwrap();
        let size = std::str::from_utf8(&rest[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        body.extend_from_slice(&rest[line + 2..line + 2 + size]);
        rest = &rest[line + 2 + size + 2..];
    }
    let body = String::from_utf8(body).unwrap();
    body.split('\n').filter_map(|line| line.strip_prefix("data: ")).map(str::to_owned).collect()
}

async fn cursors_start_where_they_say(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let body = json!({ "workflow": chain(&recorder, &["ok/one", "wait/two"]), "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    recorder.reached("two", 1).await;
    let head = client.events("t1").await.len();

    // Only what comes.
    let stream = client.stream("/stream/t1?after=now", &[]).await;
    // The header wins over the query.
    let both = client.stream("/stream/t1?after=now", &[("last-event-id", "2")]).await;
    // Beyond the head: a reset, then everything.
    let beyond = client.stream("/stream/t1?after=1000", &[]).await;
    recorder.release("two");
    let events = {
        client.completed("t1").await;
        client.events("t1").await
    };
    assert_eq!(data(&stream.rest().await), events[head..]);
    assert_eq!(data(&both.rest().await), events[2..]);
    let frames = beyond.rest().await;
    assert_eq!((frames[0].event.as_str(), &frames[0].id), ("reset", &None));
    assert_eq!(data(&frames[1..]), events);

    let last = events.len().to_string();
    for path in ["/stream/t1", "/api/invoke/stream/t1"] {
        let answer = client.send("GET", path, &[("last-event-id", &last)], "").await.expect(204);
        assert!(answer.body.is_empty());
    }
    client.get("/stream/t1?after=now").await.expect(204);
    let after_the_end = client.stream("/stream/t1?after=1000000", &[]).await.rest().await;
    assert_eq!(after_the_end[0].event, "reset");
    assert_eq!(data(&after_the_end[1..]), events);

    for bad in ["x", "-1", "1.5", "", "18446744073709551616", "0x1", " 1 2"] {
        let answer = client.send("GET", "/stream/t1", &[("last-event-id", bad)], "").await;
        assert_eq!(answer.expect(400).json()["category"], "validation", "{bad:?}");
    }
    client.get("/stream/t1?after=soon").await.expect(400);
    client.get("/stream/none").await.expect(404);
}

#[tokio::test]
async fn a_stream_has_the_headers_of_the_contract_and_is_never_compressed() {
    let (home, recorder) = (Home::memory().await, Recorder::start().await);
    let server = home.start().await;
    let client = server.client();
    let body = json!({ "workflow": chain(&recorder, &["wait/one"]), "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    let wishes = [("accept-encoding", "gzip, br"), ("accept", "text/event-stream")];
    let mut stream = client.stream("/stream/t1", &wishes).await;
    assert_eq!(stream.status, 200);
    let header = |name: &str| stream.headers.get(name).map(|value| value.to_str().unwrap());
    assert_eq!(header("content-type"), Some("text/event-stream"));
    assert_eq!(header("cache-control"), Some("no-cache, no-transform"));
    assert_eq!(header("x-accel-buffering"), Some("no"));
    assert_eq!(header("content-encoding"), None);
    assert!(header("x-request-id").is_some());
    assert_eq!(stream.next().await.unwrap().retry.as_deref(), Some("2000"));
    // Silence is broken within 15 s.
    let began = tokio::time::Instant::now();
    stream.comment().await;
    assert!(began.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn the_stream_of_all_threads_is_live_and_filtered() {
    let (home, recorder) = (Home::memory().await, Recorder::start().await);
    let server = home.start().await;
    let client = server.client();
    let mut all = client.stream("/stream", &[]).await;
    let mut one = client.stream("/stream?workflow=other", &[]).await;
    let mut ends = client.stream("/stream?status=completed", &[]).await;
    for name in ["chain", "other"] {
        let mut workflow = chain(&recorder, &["ok/one"]);
        workflow["name"] = json!(name);
        let body = json!({ "workflow": workflow, "threadId": name });
        client.post("/invoke/async", &body).await.expect(202);
        client.completed(name).await;
    }
    let thread = |frame: &Frame| {
        assert_eq!(frame.id, None);
        let event: Value = serde_json::from_str(&frame.data).unwrap();
        event["threadId"].as_str().unwrap().to_owned()
    };
    assert_eq!(thread(&all.wait_for("workflow_complete").await), "chain");
    assert_eq!(thread(&all.wait_for("workflow_complete").await), "other");
    assert_eq!(thread(&one.next().await.unwrap()), "other");
    assert_eq!(thread(&ends.wait_for("workflow_complete").await), "chain");
    client.get("/stream?status=happy").await.expect(400);
    client.get("/stream?after=1").await.expect(400);
}
