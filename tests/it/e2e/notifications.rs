//! Who subscribed to events is told of them: signed, in order, again until it is taken.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::support::flows::{chain, flow};
use super::support::recorder::Hit;
use super::support::{Client, Home, Recorder, eventually, on_stores};

on_stores!([sqlite, postgres] [
    events_arrive_in_order_and_signed,
    what_is_not_taken_comes_again_and_in_order,
    a_killed_sender_loses_nothing,
    a_receiver_that_hangs_holds_up_nobody_else,
    a_receiver_that_is_down_is_asked_now_and_then,
    a_receiver_that_is_gone_is_told_no_more,
    a_thread_that_uses_an_id_again_is_told_of_anew,
    a_subscription_is_kept_changed_and_deleted,
    subscriptions_that_cannot_work_are_refused,
]);

const ENDS: [&str; 2] = ["workflow_start", "workflow_complete"];

async fn subscribe(client: &Client, url: &str, types: &[&str]) -> Value {
    let body = json!({ "url": url, "types": types });
    client.post("/notifications", &body).await.expect(201).json()
}

async fn shown(client: &Client, made: &Value) -> Value {
    client.get(&path(made)).await.expect(200).json()
}

fn path(made: &Value) -> String {
    format!("/notifications/{}", made["id"].as_str().unwrap())
}

fn header<'a>(hit: &'a Hit, name: &str) -> &'a str {
    hit.headers[name].to_str().unwrap()
}

fn body(hit: &Hit) -> Value {
    serde_json::from_slice(&hit.body).unwrap()
}

/// What a receiver does with a message before it believes it.
#[track_caller]
fn verify(hit: &Hit, secret: &str) {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    let (id, time) = (header(hit, "webhook-id"), header(hit, "webhook-timestamp"));
    mac.update(format!("{id}.{time}.").as_bytes());
    mac.update(&hit.body);
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    assert_eq!(header(hit, "webhook-signature"), signature);
    assert!(time.parse::<i64>().unwrap() > 1_700_000_000);
    assert_eq!(header(hit, "content-type"), "application/json");
}

/// The first arrival of each message, by thread: its numbers, which must grow.
#[track_caller]
fn in_order(hits: &[Hit]) -> BTreeMap<String, Vec<u64>> {
    let mut seen: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for hit in hits {
        let event = body(hit);
        let (thread, seq) = (event["threadId"].as_str().unwrap(), event["seq"].as_u64().unwrap());
        // When it was decided tells it from an event of an earlier thread of the same id.
        let id = header(hit, "webhook-id");
        let decided = id.strip_prefix(&format!("{thread}/{seq}/")).unwrap();
        assert!(decided.parse::<u64>().unwrap() > 1_700_000_000_000, "{id}");
        let of = seen.entry(thread.to_owned()).or_default();
        if !of.contains(&seq) {
            assert!(of.last().is_none_or(|last| *last < seq), "{thread}: {seq} after {of:?}");
            of.push(seq);
        }
    }
    seen
}

async fn settled(client: &Client, made: &Value) -> Value {
    eventually("all is sent", async || {
        Some(shown(client, made).await).filter(|shown| shown["pending"] == 0)
    })
    .await
}

async fn events_arrive_in_order_and_signed(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let types = ["workflow_start", "step_complete", "workflow_complete"];
    let made = subscribe(&client, &recorder.url("ok/hook?q=path-secret"), &types).await;
    let secret = made["secret"].as_str().unwrap().to_owned();
    let other = json!({ "url": recorder.url("ok/other"), "types": ["workflow_complete"],
        "workflow": "another" });
    client.post("/notifications", &other).await.expect(201);
    let workflow = chain(&recorder, &["ok/one", "ok/two", "ok/three"]);
    for thread in ["a", "b.c", "d"] {
        client.invoke(&json!({ "workflow": workflow, "threadId": thread })).await;
    }
    for thread in ["a", "b.c", "d"] {
        client.completed(thread).await;
    }
    recorder.reached("hook", 15).await;
    let state = settled(&client, &made).await;
    assert!(state["lastSuccessAt"].is_string() && state["lastError"].is_null(), "{state}");
    let hits = recorder.hits_of("hook");
    for thread in ["a", "b.c", "d"] {
        let wanted: Vec<String> = client.events(thread).await;
        let wanted = wanted.into_iter().filter(|event| {
            let event: Value = serde_json::from_str(event).unwrap();
            types.contains(&event["type"].as_str().unwrap())
        });
        let of = |hit: &&Hit| body(hit)["threadId"] == thread;
        let sent = hits.iter().filter(of).map(|hit| String::from_utf8(hit.body.to_vec()).unwrap());
        assert_eq!(sent.collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
    }
    for hit in &hits {
        verify(hit, &secret);
        assert!(!header(hit, "webhook-id").contains('.'));
    }
    assert_eq!(recorder.hits_of("other").len(), 0);
    let everything = [
        client.get("/notifications").await.text().to_owned(),
        client.get(&path(&made)).await.text().to_owned(),
        server.log(),
    ];
    let bare = secret.strip_prefix("whsec_").unwrap();
    assert!(everything.iter().all(|text| !text.contains(bare)));
    assert!(!server.log().contains("path-secret"));
    let metrics = client.get("/metrics").await.text().to_owned();
    assert!(metrics.contains("rethread_notifications_sent_total 15"), "{metrics}");
}

async fn what_is_not_taken_comes_again_and_in_order(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let made = subscribe(&client, &recorder.url("fail/2/hook"), &ENDS).await;
    let workflow = chain(&recorder, &["ok/one"]);
    client.invoke(&json!({ "workflow": workflow, "threadId": "t" })).await;
    client.completed("t").await;
    let state = eventually("it is known to fail", async || {
        Some(shown(&client, &made).await).filter(|shown| shown["failing"] == 1)
    })
    .await;
    assert!(state["lastError"].as_str().unwrap().contains("503"), "{state}");
    assert!(state["pendingSince"].is_string() && state["enabled"] == true, "{state}");
    recorder.reached("hook", 4).await;
    settled(&client, &made).await;
    let hits = recorder.hits_of("hook");
    let seqs = &in_order(&hits)["t"];
    assert_eq!((hits.len(), seqs.len()), (4, 2), "{seqs:?}");
    assert_eq!(header(&hits[0], "webhook-id"), header(&hits[2], "webhook-id"));
}

async fn a_killed_sender_loses_nothing(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    subscribe(&client, &recorder.url("wait/hook"), &ENDS).await;
    let workflow = chain(&recorder, &["ok/one"]);
    for thread in ["a", "b"] {
        client.invoke(&json!({ "workflow": workflow, "threadId": thread })).await;
        client.completed(thread).await;
    }
    recorder.reached("hook", 2).await;
    server.kill9().await;
    let server = home.start().await;
    let client = server.client();
    recorder.reached("hook", 3).await;
    recorder.release("hook");
    let told = eventually("all have come", async || {
        let told = in_order(&recorder.hits_of("hook"));
        let all = told.len() == 2 && told.values().all(|seqs| seqs.len() == 2);
        all.then_some(told)
    });
    for (thread, seqs) in told.await {
        let last = client.events(&thread).await.len();
        assert_eq!(seqs, [1, u64::try_from(last).unwrap()]);
    }
}

async fn a_receiver_that_hangs_holds_up_nobody_else(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let stuck = subscribe(&client, &recorder.url("wait/stuck"), &ENDS).await;
    let quick = subscribe(&client, &recorder.url("ok/quick"), &ENDS).await;
    let workflow = chain(&recorder, &["ok/one"]);
    for number in 0..12 {
        let thread = format!("t{number}");
        client.invoke(&json!({ "workflow": workflow, "threadId": thread })).await;
        client.completed(&thread).await;
    }
    recorder.reached("quick", 24).await;
    settled(&client, &quick).await;
    assert!(in_order(&recorder.hits_of("quick")).values().all(|seqs| seqs.len() == 2));
    // No more than its places are taken.
    let stuck_hits = recorder.hits_of("stuck");
    let timeouts = stuck_hits[0].at.elapsed().as_secs() / 15;
    assert!(stuck_hits.len() <= 4 * (1 + usize::try_from(timeouts).unwrap()));
    assert_eq!(shown(&client, &stuck).await["pending"], 12);
    client.delete(&path(&stuck)).await.expect(204);
    recorder.release("stuck");
    assert!(server.sigterm_and_wait().await.success());
}

async fn a_receiver_that_is_down_is_asked_now_and_then(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let made = subscribe(&client, &recorder.url("down/hook"), &ENDS).await;
    let workflow = chain(&recorder, &["ok/one"]);
    let mut threads = Vec::new();
    for _ in 0..30 {
        threads.push(client.invoke(&json!({ "workflow": workflow })).await);
    }
    for thread in &threads {
        client.completed(thread).await;
    }
    let hits = eventually("some time has passed", async || {
        let hits = recorder.hits_of("hook");
        let over = |hit: &Hit| hit.at.elapsed() > std::time::Duration::from_secs(4);
        hits.first().is_some_and(over).then_some(hits)
    });
    // Not once for each thread, let alone again and again.
    let asked = hits.await.len();
    assert!(asked <= 16, "{asked}");
    recorder.release("hook");
    settled(&client, &made).await;
    let told = in_order(&recorder.hits_of("hook"));
    assert!(told.len() == 30 && told.values().all(|seqs| seqs.len() == 2), "{told:?}");
}

async fn a_receiver_that_is_gone_is_told_no_more(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let made = subscribe(&client, &recorder.url("status/410/hook"), &["workflow_complete"]).await;
    let workflow = chain(&recorder, &["ok/one"]);
    client.invoke(&json!({ "workflow": workflow, "threadId": "t" })).await;
    let state = eventually("it is disabled", async || {
        Some(shown(&client, &made).await).filter(|shown| shown["enabled"] == false)
    })
    .await;
    assert!(state["disabledReason"].as_str().unwrap().contains("410"), "{state}");
    client.run(&json!({ "workflow": workflow, "threadId": "u" })).await;
    assert_eq!(recorder.hits_of("hook").len(), 1);

    // Once it is enabled again, elsewhere, what had waited is sent; what came meanwhile is not.
    let patch = json!({ "enabled": true, "url": recorder.url("ok/new") });
    let json = [("content-type", "application/json")];
    let state = client.send("PATCH", &path(&made), &json, patch.to_string()).await.expect(200);
    assert_eq!(state.json()["disabledReason"], Value::Null);
    recorder.reached("new", 1).await;
    settled(&client, &made).await;
    let told: Vec<_> =
        recorder.hits_of("new").iter().map(|hit| body(hit)["threadId"].clone()).collect();
    assert_eq!(told, ["t"]);
}

async fn a_thread_that_uses_an_id_again_is_told_of_anew(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let made = subscribe(&client, &recorder.url("ok/hook"), &["workflow_start"]).await;
    let workflow = chain(&recorder, &["ok/one"]);
    let mut ids = std::collections::BTreeSet::new();
    for count in 1..=2 {
        client.run(&json!({ "workflow": workflow, "threadId": "t" })).await;
        recorder.reached("hook", count).await;
        settled(&client, &made).await;
        ids.insert(header(&recorder.hits_of("hook")[count - 1], "webhook-id").to_owned());
        client.delete("/threads/t").await.expect(204);
    }
    assert_eq!(ids.len(), 2);
}

async fn a_subscription_is_kept_changed_and_deleted(home: Home) {
    let (server, recorder) = (home.start().await, Recorder::start().await);
    let client = server.client();
    let secret = format!("whsec_{}", STANDARD.encode([7; 32]));
    let asked = json!({ "name": "on call", "url": recorder.url("ok/hook"), "secret": secret,
        "types": ["workflow_failed", "intervention_opened"], "workflow": "w" });
    let answer = client.post("/notifications", &asked).await.expect(201);
    let made = answer.json();
    assert_eq!(answer.header("location"), path(&made));
    assert_eq!((made["secret"].as_str(), made["by"].as_str()), (Some(&*secret), Some("anonymous")));
    server.sigterm_and_wait().await;
    let server = home.start().await;
    let client = server.client();
    let kept = shown(&client, &made).await;
    assert_eq!(kept["types"], json!(["intervention_opened", "workflow_failed"]));
    assert_eq!(
        (&kept["name"], &kept["workflow"], kept.get("secret")),
        (&json!("on call"), &json!("w"), None)
    );

    // A failed thread and an open question are what people want to hear of.
    let steps =
        json!([{ "id": "a", "kind": "http", "with": { "url": recorder.url("status/404/a") } }]);
    client.run(&json!({ "workflow": flow(&steps), "threadId": "t" })).await;
    let asking = json!({ "name": "w", "onFailure": "pause", "steps": steps });
    client.invoke(&json!({ "workflow": asking, "threadId": "asks" })).await;
    recorder.reached("hook", 2).await;
    let json = [("content-type", "application/json")];
    let patch = async |patch: Value, status: u16| {
        let answer = client.send("PATCH", &path(&made), &json, patch.to_string()).await;
        answer.expect(status).json()
    };
    let changed = patch(json!({ "workflow": null, "types": ["workflow_failed"] }), 200).await;
    assert_eq!((&changed["workflow"], &changed["name"]), (&Value::Null, &json!("on call")));
    client.run(&json!({ "workflow": flow(&steps), "threadId": "u" })).await;
    recorder.reached("hook", 3).await;
    let hits = recorder.hits_of("hook");
    let told: BTreeMap<_, _> = hits
        .iter()
        .map(body)
        .map(|event| (event["threadId"].as_str().unwrap().to_owned(), event["type"].clone()))
        .collect();
    assert_eq!(
        json!(told),
        json!({
            "asks": "intervention_opened", "t": "workflow_failed", "u": "workflow_failed",
        })
    );
    for hit in &hits {
        verify(hit, &secret);
    }

    let tested = client.post(&format!("{}/test", path(&made)), &json!({})).await.expect(200);
    assert_eq!(tested.json(), json!({ "delivered": true, "detail": null }));
    let sent = recorder.hits_of("hook").pop().unwrap();
    verify(&sent, &secret);
    assert_eq!(body(&sent)["type"], "notification_test");
    assert_eq!(patch(json!({ "types": [] }), 400).await["code"], "validation_failed");

    let list = client.get("/notifications?limit=1").await.expect(200).json();
    assert_eq!((list["items"].as_array().unwrap().len(), &list["nextCursor"]), (1, &Value::Null));
    client.delete(&path(&made)).await.expect(204);
    assert_eq!(client.get(&path(&made)).await.expect(404).json()["code"], "notification_not_found");
    client.delete(&path(&made)).await.expect(404);
    client.run(&json!({ "workflow": flow(&steps), "threadId": "v" })).await;
    assert_eq!(client.get("/health").await.json()["checks"]["notifications"]["status"], "healthy");
}

async fn subscriptions_that_cannot_work_are_refused(home: Home) {
    let server = home.launch().set("RETHREAD_EGRESS", "public").start().await;
    let client = server.client();
    let bad = json!({ "url": "ftp://host/", "types": ["workflow_filed", "workflow_failed"],
        "secret": "whsec_c2hvcnQ=", "event": "x" });
    let answer = client.post("/notifications", &bad).await.expect(400);
    assert_eq!(answer.pointers(), ["/event", "/secret", "/types/0", "/url"]);
    let answer = client.post("/notifications", &json!({ "types": [] })).await.expect(400);
    assert_eq!(answer.pointers(), ["/types", "/url"]);
    for url in
        ["http://127.0.0.1:9/x", "http://localhost/x", "http://[::1]/", "http://169.254.169.254/"]
    {
        let body = json!({ "url": url, "types": ["workflow_failed"] });
        let answer = client.post("/notifications", &body).await.expect(403);
        assert_eq!(answer.json()["code"], "address_not_allowed", "{url}");
        assert_eq!(answer.pointers(), ["/url"]);
    }
    assert_eq!(client.get("/notifications").await.json()["items"], json!([]));
}

#[tokio::test]
async fn of_two_replicas_one_sends_each_event() {
    let home = Home::postgres().await;
    let (one, two) = (home.start().await, home.start().await);
    let recorder = Recorder::start().await;
    let made = subscribe(&one.client(), &recorder.url("ok/hook"), &ENDS).await;
    let workflow = chain(&recorder, &["ok/one", "ok/two"]);
    // The other replica knows of it by its next look at the list.
    let known = eventually("both know", async || {
        let thread = two.client().invoke(&json!({ "workflow": workflow })).await;
        two.client().completed(&thread).await;
        (!recorder.hits_of("hook").is_empty()).then_some(())
    });
    known.await;
    settled(&one.client(), &made).await;
    let before = recorder.hits_of("hook").len();
    let mut threads = Vec::new();
    for number in 0..20 {
        let client = if number % 2 == 0 { one.client() } else { two.client() };
        threads.push(client.invoke(&json!({ "workflow": workflow })).await);
    }
    for thread in &threads {
        two.client().completed(thread).await;
    }
    recorder.reached("hook", before + 40).await;
    settled(&one.client(), &made).await;
    let hits = recorder.hits_of("hook").split_off(before);
    let told = in_order(&hits);
    assert_eq!((hits.len(), told.len()), (40, 20));
    assert!(threads.iter().all(|thread| told[thread].len() == 2));
}
