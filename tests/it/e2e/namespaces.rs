//! Two tenants on one server: neither sees, hears of or touches what belongs to the other.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::support::flows::{chain, gapless, hanging, workflow};
use super::support::{Answer, Client, Home, Recorder, Server, eventually, on_stores};

on_stores!([sqlite, postgres] [
    what_belongs_to_another_is_as_if_it_did_not_exist,
    lists_and_counts_are_those_of_the_callers_namespace,
    the_same_names_in_two_namespaces_are_two_things,
    who_subscribes_hears_of_one_namespace_alone,
    a_killed_server_goes_on_with_each_namespaces_threads,
]);

const PLAIN: &str = "0123456789abcdef-plain";
const TEAM: &str = "0123456789abcdef-team";

/// A server with a key of `default` and one of `team`.
async fn tenants(home: &Home) -> (Server, Client, Client) {
    let keys = format!("plain:{PLAIN}:admin,team:{TEAM}:admin:team");
    let server = home.launch().set("RETHREAD_API_KEYS", &keys).start().await;
    let (plain, team) = (server.client().with_key(PLAIN), server.client().with_key(TEAM));
    (server, plain, team)
}

/// A workflow that asks a person.
fn asking() -> Value {
    let with = json!({ "prompt": "go on?", "choices": ["approve", "reject"] });
    json!({ "name": "asking", "steps": [{ "id": "w", "kind": "approval", "with": with }] })
}

/// Starts a thread that waits for a person; gives the id of the intervention.
async fn ask(client: &Client, thread: &str) -> String {
    client.invoke(&json!({ "workflow": asking(), "threadId": thread })).await;
    let path = format!("/interventions?status=open&threadId={thread}");
    let id = eventually("it asks", async || {
        let items = client.get(&path).await.expect(200).json()["items"].clone();
        items[0]["id"].as_str().map(str::to_owned)
    });
    id.await
}

async fn subscribe(client: &Client, url: &str) -> String {
    let body = json!({ "url": url, "types": ["workflow_start", "workflow_complete"] });
    let made = client.post("/notifications", &body).await.expect(201).json();
    made["id"].as_str().unwrap().to_owned()
}

/// What the parameters of a path stand for.
#[derive(Clone, Copy)]
struct Names<'a> {
    thread: &'a str,
    other: &'a str,
    intervention: &'a str,
    notification: &'a str,
    workflow: &'a str,
}

impl Names<'_> {
    fn put_in(&self, path: &str) -> String {
        // A signal may have any name; a workflow of that name has to be there.
        let name = if path.starts_with("/workflows") { self.workflow } else { "s" };
        path.replace("{threadId}", self.thread)
            .replace("{otherId}", self.other)
            .replace("{interventionId}", self.intervention)
            .replace("{notificationId}", self.notification)
            .replace("{stepId}", "w")
            .replace("{name}", name)
    }

    /// An answer without the names it was asked for.
    fn take_out(&self, answer: &Answer) -> (u16, String) {
        let mut body = answer.json();
        body["requestId"] = Value::Null;
        let mut text = body.to_string();
        let names = [self.intervention, self.notification, self.thread, self.other, self.workflow];
        for name in names {
            text = text.replace(name, "NAME");
        }
        (answer.status, text)
    }
}

fn body(method: &str, path: &str) -> String {
    let body = match path.rsplit('/').next().unwrap_or_default() {
        _ if matches!(method, "GET" | "DELETE") => return String::new(),
        "fork" => json!({ "atSeq": 1 }),
        "resolve" => json!({ "choice": "approve" }),
        "output" => json!({ "output": 1 }),
        "{notificationId}" => json!({ "enabled": false }),
        _ => json!({}),
    };
    body.to_string()
}

async fn what_belongs_to_another_is_as_if_it_did_not_exist(home: Home) {
    let (_server, plain, team) = tenants(&home).await;
    let recorder = Recorder::start().await;
    let asked = ask(&team, "theirs").await;
    plain.invoke(&json!({ "workflow": asking(), "threadId": "mine" })).await;
    let hears = subscribe(&team, &recorder.url("ok/heard")).await;
    team.post("/workflows", &workflow("private")).await.expect(201);
    let before = team.status("theirs").await;

    let theirs = Names {
        thread: "theirs",
        other: "theirs",
        intervention: &asked,
        notification: &hears,
        workflow: "private",
    };
    let none = Names {
        thread: "nothing",
        other: "nothing",
        intervention: "nothing~2",
        notification: "0190a000-0000-7000-8000-000000000000",
        workflow: "nowhere",
    };
    let document = plain.get("/openapi.json").await.expect(200).json();
    let mut routes = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys().map(|name| name.to_uppercase()) {
            // The names in a path are those of steps and signals only where it names a thread, too.
            if !path.contains('{') || path == "/callbacks/{token}" {
                continue;
            }
            for swap in [false, true] {
                let mine_first = |names: Names<'static>| Names { thread: "mine", ..names };
                let (theirs, none) = match (swap, path.contains("{otherId}")) {
                    (false, _) => (theirs, none),
                    (true, true) => (Names { thread: "mine", ..theirs }, mine_first(none)),
                    (true, false) => continue,
                };
                let json = [("content-type", "application/json")];
                let send = async |names: Names<'_>| {
                    let sent = body(&method, path);
                    let headers = if sent.is_empty() { &[][..] } else { &json[..] };
                    let answer = plain.send(&method, &names.put_in(path), headers, sent).await;
                    (names.take_out(&answer), answer.status)
                };
                let (found, status) = send(theirs).await;
                assert_eq!(status, 404, "{method} {path}: {found:?}");
                assert_eq!(found, send(none).await.0, "{method} {path}");
                routes += 1;
            }
        }
    }
    assert!(routes > 25, "{routes}");

    // A body and a query name threads as well.
    let fork = json!({ "atSeq": 1, "threadId": "theirs" });
    assert_eq!(plain.post("/threads/mine/fork", &fork).await.expect(202).json()["created"], true);
    let filtered = plain.get("/threads?forkedFrom=theirs").await.expect(200).json();
    assert_eq!(filtered["items"], json!([]));
    let named = json!({ "workflow": "private", "threadId": "t9" });
    plain.post("/invoke/async", &named).await.expect(404);

    let after = team.status("theirs").await;
    assert_eq!((&after["lastSeq"], &after["status"]), (&before["lastSeq"], &before["status"]));
    let shown = team.get(&format!("/notifications/{hears}")).await.expect(200).json();
    assert_eq!(shown["enabled"], true);
    let resolve = format!("/interventions/{asked}/resolve");
    team.post(&resolve, &json!({ "choice": "approve" })).await.expect(200);
    team.completed("theirs").await;
}

async fn lists_and_counts_are_those_of_the_callers_namespace(home: Home) {
    let (_server, plain, team) = tenants(&home).await;
    let recorder = Recorder::start().await;
    ask(&team, "theirs").await;
    let metadata = json!({ "tag": "x" });
    let body = json!({ "workflow": chain(&recorder, &["ok/one"]), "threadId": "done",
        "metadata": metadata });
    team.invoke(&body).await;
    team.completed("done").await;
    team.post("/workflows", &workflow("private")).await.expect(201);
    subscribe(&team, &recorder.url("ok/heard")).await;
    let lists = [
        "/threads",
        "/threads?workflow=chain",
        "/threads?status=completed",
        "/threads?metadata.tag=x",
        "/interventions",
        "/interventions?status=open",
        "/workflows",
        "/notifications",
    ];
    for list in lists {
        let items = async |client: &Client| {
            client.get(list).await.expect(200).json()["items"].as_array().unwrap().len()
        };
        assert_eq!(items(&plain).await, 0, "{list}");
        assert!(items(&team).await > 0, "{list}");
    }
    let active = async |client: &Client| {
        client.get("/monitor").await.expect(200).json()["active"].as_array().unwrap().len()
    };
    assert_eq!((active(&plain).await, active(&team).await), (0, 1));
    let counted = async |client: &Client| {
        let stats = client.get("/stats").await.expect(200).json();
        let kinds = stats["checkpoints"]["byKind"].clone();
        (stats["interventions"]["open"].clone(), kinds["workflow_complete"].clone())
    };
    assert_eq!(counted(&plain).await, (json!(0), Value::Null));
    assert_eq!(counted(&team).await, (json!(1), json!(1)));
    // An estimate is made of the caller's threads.
    let body =
        |thread: &str| json!({ "workflow": chain(&recorder, &["ok/one"]), "threadId": thread });
    let estimate = async |client: &Client, thread: &str| {
        let answer = client.post("/invoke/async", &body(thread)).await.expect(202).json();
        answer["estimatedDurationMs"].clone()
    };
    assert_eq!(estimate(&plain, "p1").await, Value::Null);
    let told = eventually("an estimate", async || {
        let estimate = estimate(&team, &format!("e{}", recorder.hits().len())).await;
        (!estimate.is_null()).then_some(())
    });
    told.await;
    // A cursor of the other leads nowhere else.
    let page = team.get("/threads?limit=1").await.expect(200).json();
    let cursor = page["nextCursor"].as_str().unwrap();
    let page = plain.get(&format!("/threads?limit=50&cursor={cursor}")).await.expect(200).json();
    let items = page["items"].as_array().unwrap();
    assert!(items.iter().all(|item| item["threadId"] == "p1"), "{items:?}");
    // Pages show what is listed.
    assert!(!plain.get("/").await.expect(200).text().contains("theirs"));
    assert!(team.get("/").await.expect(200).text().contains("theirs"));
    plain.get("/ui/threads/theirs").await.expect(404);
    team.get("/ui/threads/theirs").await.expect(200);
}

async fn the_same_names_in_two_namespaces_are_two_things(home: Home) {
    let (server, plain, team) = tenants(&home).await;
    let recorder = Recorder::start().await;
    let other = |path: &str| {
        let steps = chain(&recorder, &[path])["steps"].clone();
        json!({ "name": "same", "steps": steps })
    };
    for (client, path) in [(&plain, "ok/plain"), (&team, "ok/team")] {
        let stored = client.post("/workflows", &other(path)).await.expect(201).json();
        assert_eq!((&stored["name"], &stored["version"]), (&json!("same"), &json!(1)));
        client.invoke(&json!({ "workflow": "same", "threadId": "t" })).await;
        client.completed("t").await;
    }
    team.post("/workflows", &other("ok/second")).await.expect(201);
    plain.get("/workflows/same@2").await.expect(404);
    assert_eq!(plain.get("/workflows/same").await.expect(200).json()["version"], 1);

    // A target that both call never takes the attempt of one for that of the other.
    let keys: Vec<String> =
        ["plain", "team"].map(|name| recorder.hits_of(name)[0].key.clone()).into();
    assert_eq!(keys, ["t/s0", "team/t/s0"]);

    let mut threads = BTreeMap::new();
    for (name, client) in [("plain", &plain), ("team", &team)] {
        let headers = [("content-type", "application/json"), ("idempotency-key", "once")];
        let body = json!({ "workflow": "same" }).to_string();
        let first = client.send("POST", "/invoke/async", &headers, body.clone()).await.expect(202);
        let again = client.send("POST", "/invoke/async", &headers, body).await.expect(200);
        assert_eq!(first.json()["threadId"], again.json()["threadId"]);
        assert_eq!(again.header("idempotent-replayed"), "true");
        threads.insert(name, first.json()["threadId"].clone());
    }
    assert_ne!(threads["plain"], threads["team"]);

    // Nothing that is shown says more than the client's own text.
    let token = team.post("/threads/t/stream-token", &json!({})).await.expect(201).json();
    for client in [&plain, &team] {
        for path in [
            "/threads/t",
            "/status/t",
            "/threads/t/explain",
            "/threads/t/diagnostics",
            "/threads/t/checkpoints",
            "/threads/t/recoveries",
            "/stream/t",
            "/ui/threads/t",
        ] {
            let answer = client.get(path).await.expect(200);
            assert!(!answer.text().contains("team/t"), "{path}: {}", answer.text());
        }
        let fork = client.post("/threads/t/fork", &json!({ "atSeq": 1, "threadId": "f" })).await;
        assert_eq!(fork.expect(202).json()["forkedFrom"], json!({ "threadId": "t", "seq": 1 }));
        let status = client.completed("f").await;
        assert_eq!(status["forkedFrom"]["threadId"], "t");
        let forks = client.get("/threads?forkedFrom=t").await.expect(200).json();
        assert_eq!(forks["items"].as_array().unwrap().len(), 1);
        assert_eq!(forks["items"][0]["forkedFrom"]["threadId"], "t");
        for event in gapless(client, "f").await {
            assert_eq!(event["threadId"], "f");
        }
    }
    // Who comes with a token alone is where the token was made.
    let url = token["url"].as_str().unwrap();
    let streamed = server.client().get(url).await.expect(200);
    let last = team.events("t").await.pop().unwrap();
    assert!(streamed.text().contains(&last), "{}", streamed.text());
    assert!(!streamed.text().contains(plain.events("t").await.last().unwrap()));
}

async fn who_subscribes_hears_of_one_namespace_alone(home: Home) {
    let (_server, plain, team) = tenants(&home).await;
    let recorder = Recorder::start().await;
    subscribe(&plain, &recorder.url("ok/plain")).await;
    subscribe(&team, &recorder.url("ok/team")).await;
    let (mut hears_plain, mut hears_team) =
        (plain.stream("/stream", &[]).await, team.stream("/stream", &[]).await);
    for (client, thread) in [(&plain, "p"), (&team, "t"), (&plain, "same"), (&team, "same")] {
        let input = json!({ "x": 1 });
        let body = json!({ "workflow": workflow("w"), "threadId": thread, "input": input });
        client.invoke(&body).await;
        client.completed(thread).await;
    }
    for (name, own, stream) in [("plain", "p", &mut hears_plain), ("team", "t", &mut hears_team)] {
        let hits = eventually("all is told", async || {
            Some(recorder.hits_of(name)).filter(|hits| hits.len() >= 4)
        });
        for hit in hits.await {
            let event: Value = serde_json::from_slice(&hit.body).unwrap();
            let thread = event["threadId"].as_str().unwrap();
            assert!([own, "same"].contains(&thread), "{event}");
        }
        let mut ended = Vec::new();
        while ended.len() < 2 {
            let frame = stream.wait_for("workflow_complete").await;
            let event: Value = serde_json::from_str(&frame.data).unwrap();
            ended.push(event["threadId"].as_str().unwrap().to_owned());
        }
        assert_eq!(ended, [own, "same"]);
    }
    // The receivers of both tell the messages of one id apart.
    let ids = |name: &str| {
        let hits = recorder.hits_of(name).into_iter();
        let ids = hits.map(|hit| hit.headers["webhook-id"].to_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    assert!(ids("plain").iter().all(|id| !ids("team").contains(id)));
}

async fn a_killed_server_goes_on_with_each_namespaces_threads(home: Home) {
    let recorder = Recorder::start().await;
    let (server, plain, team) = tenants(&home).await;
    for (client, name) in [(&plain, "plain"), (&team, "team")] {
        let body = json!({ "workflow": hanging(&recorder, name), "threadId": "t" });
        client.invoke(&body).await;
        recorder.reached(name, 1).await;
    }
    let asked = ask(&team, "asks").await;
    server.kill9().await;
    let (server, plain, team) = tenants(&home).await;
    for (client, name) in [(&plain, "plain"), (&team, "team")] {
        recorder.reached(name, 2).await;
        recorder.release(name);
        let status = client.completed("t").await;
        assert_eq!(status["recoveries"], 1, "{status:#}");
    }
    let resolve = format!("/interventions/{asked}/resolve");
    plain.post(&resolve, &json!({ "choice": "approve" })).await.expect(404);
    team.post(&resolve, &json!({ "choice": "approve" })).await.expect(200);
    team.completed("asks").await;
    team.delete("/threads/t").await.expect(204);
    plain.get("/threads/t").await.expect(200);
    server.sigterm_and_wait().await;
    let (code, said) = super::verify::verify(&home).await;
    assert_eq!(code, Some(0), "{said}");
}
