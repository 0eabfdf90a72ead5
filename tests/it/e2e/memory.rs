//! What clients do costs bounded memory, and beyond the limit calls are refused while health answers.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::support::{Client, Home, PATIENCE, Server, beside, eventually};

/// A thread of so many outputs of 700 KB.
async fn large_thread(client: &Client, name: &str, outputs: usize) {
    let step = |at| json!({ "id": format!("t{at}"), "kind": "transform", "with": { "jq": "\"x\" * 700000" } });
    let steps: Vec<Value> = (0..outputs).map(step).collect();
    let workflow = json!({ "name": "large", "steps": steps, "output": 1 });
    client.invoke(&json!({ "threadId": name, "workflow": workflow })).await;
    let path = format!("/status/{name}?wait=60s&outputs=false");
    let status = tokio::time::timeout(PATIENCE * 3, client.attempt("GET", &path, &[], "")).await;
    assert_eq!(status.unwrap().unwrap().json()["status"], "completed");
}

/// The value of a line of the metrics.
async fn metric(client: &Client, line: &str) -> f64 {
    let metrics = client.get("/metrics").await.expect(200);
    let found =
        metrics.text().lines().find_map(|text| text.strip_prefix(line)?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("{line} is not in {}", metrics.text()))
}

async fn healthy(server: &Server) {
    for path in ["/health/live", "/health/ready", "/metrics"] {
        server.client().get(path).await.expect(200);
    }
}

#[tokio::test]
async fn validating_keeps_nothing_and_small_filters_are_small() {
    let server = Home::memory().await.launch().set("RETHREAD_LOG", "warn").start().await;
    let client = server.client();
    for round in 0..6 {
        let step = |at: usize| match round % 3 {
            0 => {
                json!({ "id": format!("s{at}"), "kind": "transform", "with": { "jq": ".", "from": at } })
            }
            1 => {
                json!({ "id": format!("s{at}"), "kind": "transform", "with": { "jq": "map(.a) | join(\",\")" } })
            }
            _ => json!({ "id": format!("s{at}"), "kind": "sleep", "with": { "for": 1 },
                "when": format!("input.a{at} == 1 || input.b.exists(x, x > {at})") }),
        };
        let steps: Vec<Value> = (0..1_000).map(step).collect();
        let members: serde_json::Map<String, Value> = (0..300)
            .map(|at| (format!("m{at}"), json!({ "type": "string", "minLength": at })))
            .collect();
        let schema = json!({ "type": "object", "properties": members });
        let workflow =
            json!({ "name": format!("w{round}"), "steps": steps, "inputSchema": schema });
        client.post("/workflows/validate", &workflow).await.expect(200);
        assert!(metric(&client, "rethread_memory_bytes{pool=\"plans\"}").await < 1.0);
    }
    assert!(server.most_memory() < 350 << 20, "{} MiB", server.most_memory() >> 20);
}

#[tokio::test]
async fn plans_of_many_workflows_are_kept_by_their_weight() {
    let server = Home::memory().await.launch().set("RETHREAD_LOG", "warn").start().await;
    let client = server.client();
    for round in 0..20 {
        let step = |at: usize| {
            json!({ "id": format!("s{at}"), "kind": "transform",
                "with": { "jq": format!("[paths, {at}] | map(tostring) | group_by(.) | flatten") } })
        };
        let steps: Vec<Value> = (0..300).map(step).collect();
        let workflow = json!({ "name": format!("w{round}"), "steps": steps });
        client.post("/workflows", &workflow).await.expect(201);
    }
    let kept = metric(&client, "rethread_memory_bytes{pool=\"plans\"}").await;
    assert!(kept > 1e6 && kept <= f64::from(64 << 20), "{kept}");
    assert!(server.most_memory() < 350 << 20, "{} MiB", server.most_memory() >> 20);
}

#[tokio::test]
async fn readers_that_stand_still_share_what_they_stand_before() {
    const READERS: usize = 100;
    /// Looks in which nothing changes.
    const STILL: usize = 20;
    let home = Home::sqlite().await;
    let server = home.launch().set("RETHREAD_LOG", "warn").start().await;
    let client = server.client();
    large_thread(&client, "large", 20).await;
    let before = server.memory();
    let mut readers = Vec::new();
    for path in ["/stream/large"; READERS] {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(server.addr).await.unwrap();
        let ask = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", server.addr);
        stream.write_all(ask.as_bytes()).await.unwrap();
        readers.push(stream);
    }
    eventually("all are served", async || {
        let open = metric(&client, "rethread_sse_streams_open").await;
        (open > 99.0).then_some(())
    })
    .await;
    // Each has what its socket takes once nothing more is counted for a while.
    let streams = "rethread_memory_bytes{pool=\"streams\"}";
    let (mut last, mut same) = (-1.0, 0);
    eventually("the readers stand", async || {
        let counted = metric(&client, streams).await;
        same = if (counted - last).abs() < 1.0 { same + 1 } else { 0 };
        last = counted;
        (same > STILL).then_some(())
    })
    .await;
    let grown = server.memory().saturating_sub(before);
    assert!(grown < READERS * (512 << 10), "{} KiB", grown >> 10);
    let counted = metric(&client, streams).await;
    assert!(counted < 100.0 * f64::from(128 << 10), "{counted}");
    // One that reads gets all of it, whoever stands beside it.
    let frames = client.stream("/stream/large", &[]).await.rest().await;
    let events = client.events("large").await;
    assert_eq!(frames.len(), events.len());
    assert!(frames.iter().zip(&events).all(|(frame, event)| frame.data == *event));
}

#[tokio::test]
async fn signals_that_nobody_takes_are_kept_up_to_a_few_megabytes() {
    let home = Home::sqlite().await;
    let server = home.launch().set("RETHREAD_LOG", "warn").start().await;
    let client = server.client();
    let steps = json!([{ "id": "s", "kind": "signal", "with": { "name": "go" } },
        { "id": "t", "kind": "signal", "with": { "name": "other" }, "dependsOn": ["s"] }]);
    let thread = client.invoke(&json!({ "workflow": { "name": "w", "steps": steps } })).await;
    let payload = json!("x".repeat(100_000));
    let mut kept = 0;
    let refused = loop {
        let answer = client.post(&format!("/threads/{thread}/signals/other"), &payload).await;
        if answer.status != 202 {
            break answer.expect(429);
        }
        kept += 1;
        assert!(kept < 100, "nothing is refused");
    };
    assert_eq!(refused.json()["code"], "too_many_signals");
    assert!((30..=45).contains(&kept), "{kept}");
    // What is awaited is taken all the same, and makes room.
    client.post(&format!("/threads/{thread}/signals/go"), &payload).await.expect(202);
    assert_eq!(client.completed(&thread).await["steps"][1]["output"], payload);
}

#[tokio::test]
async fn large_reads_beyond_the_limit_are_refused_and_served_again_later() {
    let home = Home::sqlite().await;
    let launch = home.launch().set("RETHREAD_LOG", "warn").set("RETHREAD_MEMORY_LIMIT", "192MiB");
    let server = launch.start().await;
    let client = server.client();
    large_thread(&client, "large", 20).await;
    let reads: Vec<_> = (0..60)
        .map(|_| {
            let client = client.clone();
            beside(async move { client.attempt("GET", "/status/large", &[], "").await.unwrap() })
        })
        .collect();
    healthy(&server).await;
    let mut answered = 0;
    for read in reads {
        let answer = read.await.unwrap();
        if answer.status == 200 {
            answered += 1;
            continue;
        }
        let answer = answer.expect(503);
        assert_eq!(
            (answer.json()["code"].as_str(), answer.header("retry-after")),
            (Some("overloaded"), "2")
        );
        assert_eq!(answer.json()["recoverable"], true);
    }
    assert!(answered > 0 && answered < 60, "{answered}");
    assert!(server.most_memory() < 420 << 20, "{} MiB", server.most_memory() >> 20);
    eventually("it is served again", async || {
        (client.get("/status/large").await.status == 200).then_some(())
    })
    .await;
    assert!(metric(&client, "rethread_memory_refused_total{pool=\"loads\"}").await >= 0.0);
}

#[tokio::test]
async fn bodies_on_their_way_are_counted_and_who_ends_something_gets_through() {
    let home = Home::sqlite().await;
    let launch = home.launch().set("RETHREAD_LOG", "warn").set("RETHREAD_MEMORY_LIMIT", "192MiB");
    let server = launch.start().await;
    let client = server.client();
    let waits = json!({ "name": "w", "steps": [{ "id": "s", "kind": "signal", "with": { "name": "go" } }] });
    let thread = client.invoke(&json!({ "workflow": waits })).await;
    let (mut standing, mut refused) = (Vec::new(), 0);
    for _ in 0..40 {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        let head = format!(
            "POST /invoke/async HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: 3000001\r\n\r\n",
            server.addr
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // The last byte never comes; who is refused is told so and closed.
        if stream.write_all(&vec![b' '; 3_000_000]).await.is_err() {
            refused += 1;
        }
        standing.push(stream);
    }
    eventually("some are refused", async || {
        let line = "rethread_memory_refused_total{pool=\"requests\"}";
        (refused > 0 || metric(&client, line).await > 0.0).then_some(())
    })
    .await;
    healthy(&server).await;
    assert!(server.most_memory() < 400 << 20, "{} MiB", server.most_memory() >> 20);
    client.post(&format!("/threads/{thread}/abort"), &json!({})).await.expect(200);
    drop(standing);
    eventually("there is room again", async || {
        let body = json!({ "workflow": waits, "input": "x".repeat(100_000) });
        (client.post("/invoke/async", &body).await.status == 202).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_thread_takes_no_more_than_its_part_of_the_memory() {
    let home = Home::sqlite().await;
    let launch = home.launch().set("RETHREAD_LOG", "warn").set("RETHREAD_MEMORY_LIMIT", "128MiB");
    let server = launch.start().await;
    let client = server.client();
    let step = |at| json!({ "id": format!("t{at}"), "kind": "transform", "with": { "jq": "\"x\" * 1000000" } });
    let steps: Vec<Value> = (0..60).map(step).collect();
    let body = json!({ "workflow": { "name": "w", "steps": steps, "output": 1 } });
    let thread = client.invoke(&body).await;
    let path = format!("/status/{thread}?wait=60s&outputs=false");
    let status = eventually("it ends", async || {
        let answer = client.get(&path).await;
        (answer.status == 200).then(|| answer.json())
    })
    .await;
    assert_eq!(status["status"], "failed", "{status:#}");
    assert_eq!(status["error"]["code"], "payload_too_large");
    assert!(server.most_memory() < 400 << 20, "{} MiB", server.most_memory() >> 20);
}

#[tokio::test]
async fn one_append_holds_no_more_than_readers_can_afford() {
    let home = Home::sqlite().await;
    let server = home.launch().set("RETHREAD_LOG", "warn").start().await;
    let client = server.client();
    large_thread(&client, "large", 8).await;
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let ask = format!(
        "GET /threads/large/events?limit=1000 HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        server.addr
    );
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.len() < 2 << 20, "{} bytes on one page", answer.len());
    assert_eq!(client.events("large").await.len(), 8 * 2 + 2);
}

#[tokio::test]
async fn an_answer_counts_until_its_reader_has_taken_it() {
    const READERS: usize = 10;
    let home = Home::sqlite().await;
    let server = home.launch().set("RETHREAD_LOG", "warn").start().await;
    let client = server.client();
    large_thread(&client, "large", 8).await;
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(server.addr).await.unwrap();
        let ask = format!("GET /status/large HTTP/1.1\r\nHost: {}\r\n\r\n", server.addr);
        stream.write_all(ask.as_bytes()).await.unwrap();
        // The answer has begun, so the server is done with the request.
        stream.readable().await.unwrap();
        readers.push(stream);
    }
    let answers = async || metric(&client, "rethread_memory_bytes{pool=\"answers\"}").await;
    let counted = answers().await;
    assert!(counted > f64::from(8 * 700_000 * 10), "{counted}");
    drop(readers);
    eventually("the memory is given back", async || (answers().await < 1e6).then_some(())).await;
}

#[tokio::test]
async fn a_request_that_finds_no_thread_is_told_to_come_back_and_then_finds_one() {
    let server = Home::memory().await.launch().start().await;
    let client = server.client();
    let step =
        json!({ "id": "s", "kind": "transform", "with": { "jq": "[.input[] | test(\"a\")]" } });
    let workflow = json!({ "name": "w", "steps": [step] });
    let body = |id: &str| json!({ "threadId": id, "workflow": workflow, "input": ["a"] });
    // Room for the threads of the runtime, and for none with a large stack.
    server.bound_addresses(Some(server.addresses() + (128 << 20)));
    let refused = client.post("/invoke/async", &body("t1")).await.expect(503);
    assert_eq!(refused.json()["code"], "overloaded", "{}", refused.text());
    assert_ne!(refused.header("retry-after"), "");
    client.get("/status/t1").await.expect(404);
    server.bound_addresses(None);
    client.post("/invoke/async", &body("t1")).await.expect(202);
    assert_eq!(client.ended("t1").await["output"], json!({ "s": [true] }));
}

#[tokio::test]
async fn a_filter_that_finds_no_thread_is_run_when_there_is_one() {
    let server = Home::memory().await.launch().start().await;
    let client = server.client();
    let retry = json!({ "maxAttempts": 50, "initialInterval": "100ms", "backoffFactor": 1 });
    let filter = json!({ "jq": "[.input[] | test(\"a\")]" });
    let steps = json!([{ "id": "go", "kind": "signal", "with": { "name": "go" } },
        { "id": "s", "kind": "transform", "dependsOn": ["go"], "with": filter, "retry": retry }]);
    let workflow = json!({ "name": "w", "steps": steps });
    client.invoke(&json!({ "threadId": "t1", "workflow": workflow, "input": ["a"] })).await;
    server.bound_addresses(Some(server.addresses() + (128 << 20)));
    client.post("/threads/t1/signals/go", &json!({})).await.expect(202);
    eventually("its filter finds no thread", async || {
        let step = client.status("t1").await["steps"][1].clone();
        (step["error"]["code"] == "overloaded").then_some(())
    })
    .await;
    server.bound_addresses(None);
    assert_eq!(client.ended("t1").await["status"], "completed");
}

#[tokio::test]
async fn a_server_takes_small_pages_and_its_programs_what_they_like() {
    let server = Home::memory().await.launch().set("RETHREAD_EXEC_ALLOW", "grep").start().await;
    let client = server.client();
    let with = json!({ "program": "grep", "args": ["THP_enabled", "/proc/self/status"] });
    let step = json!({ "id": "s", "kind": "exec", "with": with });
    let status = client.run(&json!({ "workflow": { "name": "w", "steps": [step] } })).await;
    assert_eq!(status["steps"][0]["output"]["stdout"], "THP_enabled:\t1\n", "{status:#}");
    assert!(!server.may_have_huge_pages());
}
