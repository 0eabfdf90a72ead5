//! What a key may do: roles, four eyes, and keys that change while the server runs.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::support::flows::{chain, flow, step};
use super::support::{Client, Home, PATIENCE, Recorder, Server, on_stores};

/// A secret for a key of this name, long enough not to be warned about.
fn secret(name: &str) -> String {
    format!("{name}-0123456789abcdef")
}

/// A line of a key file.
fn key(name: &str, role: &str) -> String {
    format!("{name}:{}:{role}", secret(name))
}

const ROLES: [(&str, &str); 5] = [
    ("viewer", "reader"),
    ("ci", "invoker"),
    ("deploy", "invoker"),
    ("ann", "operator"),
    ("root", "admin"),
];

on_stores!([sqlite, postgres] [
    each_role_does_what_it_may_and_no_more,
    an_invoker_controls_the_threads_it_started,
    an_approval_is_answered_by_its_approvers_and_never_by_the_starter,
    the_audit_list_tells_what_was_refused_and_changed,
]);

async fn served(home: &Home) -> Server {
    let keys: Vec<String> = ROLES.iter().map(|(name, role)| key(name, role)).collect();
    home.launch().set("RETHREAD_API_KEYS", &keys.join(",")).start().await
}

fn by(server: &Server, name: &str) -> Client {
    server.client().with_key(&secret(name))
}

#[track_caller]
fn forbidden(answer: &super::support::Answer, role: &str) {
    assert_eq!((answer.status, answer.json()["code"].as_str()), (403, Some("forbidden")));
    assert!(answer.text().contains(&format!("wants the role {role}")), "{}", answer.text());
}

fn sleeper() -> Value {
    json!({ "name": "sleeper", "steps": [{ "id": "a", "kind": "sleep", "with": { "for": "1h" } }] })
}

async fn each_role_does_what_it_may_and_no_more(home: Home) {
    let server = served(&home).await;
    let (viewer, ci, ann, root) =
        (by(&server, "viewer"), by(&server, "ci"), by(&server, "ann"), by(&server, "root"));
    let start = json!({ "workflow": sleeper(), "threadId": "t" });
    forbidden(&viewer.post("/invoke/async", &start).await, "invoker");
    ci.post("/invoke/async", &start).await.expect(202);
    viewer.get("/status/t").await.expect(200);
    viewer.get("/metrics").await.expect(200);
    forbidden(&viewer.post("/threads/t/pause", &json!({})).await, "invoker");
    forbidden(&ci.post("/interventions/t~1/resolve", &json!({ "choice": "a" })).await, "operator");
    ann.post("/threads/t/abort", &json!({})).await.expect(200);
    forbidden(&ann.delete("/threads/t").await, "admin");
    forbidden(&ann.post("/workflows", &sleeper()).await, "admin");
    let hook = json!({ "url": "http://127.0.0.1:9/hook?token=x", "types": ["workflow_failed"] });
    forbidden(&ann.post("/notifications", &hook).await, "admin");
    root.post("/notifications", &hook).await.expect(201);
    assert!(root.get("/notifications").await.text().contains("token=x"));
    let shown = viewer.get("/notifications").await.expect(200);
    assert!(!shown.text().contains("token=x"), "{}", shown.text());
    root.post("/workflows", &sleeper()).await.expect(201);
    root.delete("/threads/t").await.expect(204);
}

async fn an_invoker_controls_the_threads_it_started(home: Home) {
    let server = served(&home).await;
    let (ci, deploy, ann) = (by(&server, "ci"), by(&server, "deploy"), by(&server, "ann"));
    ci.invoke(&json!({ "workflow": sleeper(), "threadId": "t" })).await;
    for path in ["pause", "resume", "abort", "fork", "steps/a/skip", "steps/a/retry"] {
        let body = if path == "fork" { json!({ "atSeq": 1 }) } else { json!({}) };
        forbidden(&deploy.post(&format!("/threads/t/{path}"), &body).await, "operator");
    }
    deploy.post("/threads/t/signals/go", &json!({})).await.expect(202);
    ci.post("/threads/t/pause", &json!({})).await.expect(200);
    // Another invoke of a thread that stands still sets it going.
    forbidden(&deploy.post("/invoke/async", &json!({ "threadId": "t" })).await, "operator");
    assert_eq!(ci.status("t").await["status"], "paused");
    ci.post("/invoke/async", &json!({ "threadId": "t" })).await.expect(202);
    deploy.post("/threads/none/pause", &json!({})).await.expect(404);
    // Whoever forks a thread starts the fork.
    ann.post("/threads/t/fork", &json!({ "atSeq": 1, "threadId": "f" })).await.expect(202);
    forbidden(&ci.post("/threads/f/abort", &json!({})).await, "operator");
    ci.post("/threads/t/fork", &json!({ "atSeq": 1, "threadId": "g" })).await.expect(202);
    ci.post("/threads/g/abort", &json!({})).await.expect(200);
    ci.post("/threads/t/abort", &json!({})).await.expect(200);
}

async fn an_approval_is_answered_by_its_approvers_and_never_by_the_starter(home: Home) {
    let server = served(&home).await;
    let (ci, ann, root) = (by(&server, "ci"), by(&server, "ann"), by(&server, "root"));
    let steps = json!([{ "id": "ask", "kind": "approval",
        "with": { "prompt": "pay?", "approvers": ["ann", "admin"], "notBy": "starter" } }]);
    let refused = |answer: super::support::Answer| {
        let answer = answer.expect(403);
        assert_eq!(answer.json()["code"], "not_an_approver", "{}", answer.text());
    };
    for (starter, client) in [("root", &root), ("ci", &ci)] {
        client.invoke(&json!({ "workflow": flow(&steps), "threadId": starter })).await;
        let asks = |status: &Value| step(status, "ask")["status"] == "waiting";
        client.until(starter, "it asks", asks).await;
        let open = client.get(&format!("/interventions?threadId={starter}")).await.json();
        let one = &open["items"][0];
        let terms = (&one["approvers"], &one["notBy"]);
        assert_eq!(terms, (&json!(["ann", "admin"]), &json!("starter")));
        let resolve = format!("/interventions/{}/resolve", one["id"].as_str().unwrap());
        let yes = json!({ "choice": "approve", "by": "ann" });
        if starter == "root" {
            // What the body says is no identity.
            refused(root.post(&resolve, &yes).await);
            refused(root.post("/threads/root/steps/ask/skip", &json!({ "output": {} })).await);
            root.post("/threads/root/pause", &json!({})).await.expect(200);
            refused(root.post("/threads/root/resume", &json!({ "skip": ["ask"] })).await);
            root.post("/threads/root/resume", &json!({})).await.expect(202);
        } else {
            refused(ci.post("/threads/ci/steps/ask/skip", &json!({})).await);
        }
        let said = json!({ "choice": "approve", "by": "the board", "comment": "fine" });
        ann.post(&resolve, &said).await.expect(200);
        let output = step(&client.completed(starter).await, "ask")["output"].clone();
        let wanted = json!({ "choice": "approve", "comment": "fine", "by": "ann", "onBehalfOf": "the board" });
        assert_eq!(output, wanted);
        let events = client.events(starter).await.join("\n");
        assert!(events.contains(r#""by":"ann","onBehalfOf":"the board""#), "{events}");
    }
}

/// Waits until the audit list has an entry like this, and gives it.
async fn audited(client: &Client, query: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let look = async {
        loop {
            let page = client.get(&format!("/audit?{query}")).await.expect(200).json();
            if let Some(found) = page["items"].as_array().unwrap().iter().find(|one| wanted(one)) {
                return found.clone();
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("no such entry")
}

async fn the_audit_list_tells_what_was_refused_and_changed(home: Home) {
    let keys: Vec<String> = ROLES.iter().map(|(name, role)| key(name, role)).collect();
    let launch = home.launch().set("RETHREAD_API_KEYS", &keys.join(","));
    // Each of the wrong keys below is to be refused for itself.
    let launch = launch.set("RETHREAD_WRONG_KEYS", "0");
    let server = launch.set("RETHREAD_AUDIT_READS", "true").start().await;
    let (viewer, root) = (by(&server, "viewer"), by(&server, "root"));
    root.post("/workflows", &sleeper()).await.expect(201);
    root.post("/workflows", &sleeper()).await.expect(200);
    root.invoke(&json!({ "workflow": sleeper(), "threadId": "t" })).await;
    root.post("/threads/t/abort", &json!({})).await.expect(200);
    for _ in 0..20 {
        viewer.delete("/threads/t").await.expect(403);
        by(&server, "nobody").get("/threads").await.expect(401);
    }
    viewer.get("/status/t").await.expect(200);
    viewer.get("/threads/t/explain").await.expect(200);
    root.post("/threads/t/stream-token", &json!({})).await.expect(201);
    // However its id is written in the address.
    root.delete("/threads/%74").await.expect(204);

    // Changes are there at once, and once.
    let page = root.get("/audit?by=root").await.expect(200).json();
    let told = page["items"].as_array().unwrap().iter();
    // Stream tokens are counted: their entry comes a moment later.
    let told: Vec<_> = told.filter(|one| one["action"] != "stream_token_created").collect();
    let actions: Vec<_> = told.iter().map(|one| &one["action"]).collect();
    assert_eq!(actions, ["thread_deleted", "workflow_stored"]);
    let stored = told[1]["about"].as_str().unwrap();
    assert!(stored.starts_with("POST /workflows/"), "{stored}");
    let deleted = told[0];
    assert_eq!(
        (&deleted["about"], &deleted["role"]),
        (&json!("DELETE /threads/t"), &json!("admin"))
    );
    assert_eq!(deleted["address"], "127.0.0.1");

    // Refusals that are alike are one entry, which counts them. (A minute may end in between.)
    let refused = |one: &Value| one["about"] == "DELETE /threads/{threadId}";
    audited(&root, "action=stream_token_created", |one| one["by"] == "root").await;
    let one = audited(&root, "by=viewer&action=refused", refused).await;
    assert_eq!((&one["detail"], &one["status"]), (&json!("forbidden"), &json!(403)));
    let page = root.get("/audit?action=refused").await.expect(200).json();
    assert!(page["items"].as_array().unwrap().len() <= 4, "{page}");
    let unknown = audited(&root, "by=anonymous", |one| one["status"] == 401).await;
    assert_eq!(unknown["detail"], "unauthenticated");
    for read in ["GET /status/t", "GET /threads/t/explain"] {
        audited(&root, "by=viewer&action=read", |one| one["about"] == read).await;
    }
    // What a client makes up is no part of the list.
    let made_up = "M".repeat(10_000);
    server.client().send(&made_up, "/status/t", &[], "").await.expect(401);
    audited(&root, "by=anonymous", |one| one["about"] == "other /status/{threadId}").await;

    let newest = page["items"][0]["at"].as_str().unwrap();
    root.get(&format!("/audit?since={newest}&limit=1")).await.expect(200);
    for wrong in ["since=yesterday", "limit=0", "cursor=%21", "who=ann"] {
        root.get(&format!("/audit?{wrong}")).await.expect(400);
    }
    forbidden(&by(&server, "ann").get("/audit").await, "admin");
}

#[tokio::test]
async fn without_keys_nobody_is_an_approver() {
    let server = Home::memory().await.start().await;
    let client = server.client();
    let steps = json!([{ "id": "ask", "kind": "approval", "with": { "prompt": "?", "approvers": ["ann"] } }]);
    client.invoke(&json!({ "workflow": flow(&steps), "threadId": "t" })).await;
    client.until("t", "it asks", |status| step(status, "ask")["status"] == "waiting").await;
    let open = client.get("/interventions?threadId=t").await.json();
    let path = format!("/interventions/{}/resolve", open["items"][0]["id"].as_str().unwrap());
    let answer = client.post(&path, &json!({ "choice": "approve", "by": "ann" })).await.expect(403);
    assert_eq!(answer.json()["code"], "not_an_approver");
}

/// Waits until a key is answered with a status.
async fn until_answered(client: &Client, status: u16) {
    let look = async {
        while client.get("/threads").await.status != status {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, look).await.is_ok(), "never {status}");
}

#[tokio::test]
async fn keys_change_with_their_file_and_a_broken_file_changes_nothing() {
    let home = Home::memory().await;
    let file = home.folder.path().join("keys");
    std::fs::write(&file, key("old", "admin")).unwrap();
    let at = format!("@{}", file.display());
    let server = home.launch().set("RETHREAD_API_KEYS", &at).start().await;
    let (old, new) = (by(&server, "old"), by(&server, "new"));
    let recorder = Recorder::start().await;
    let body = json!({ "workflow": chain(&recorder, &["wait/one"]), "threadId": "t" });
    old.post("/invoke/async", &body).await.expect(202);
    let mut stream = old.stream("/stream/t", &[]).await;
    stream.wait_for("step_start").await;
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let token = old.post("/threads/t/stream-token", &json!({})).await.expect(201).json();
        tokens.push(token["url"].as_str().unwrap().to_owned());
    }
    let mut by_token = server.client().stream(&tokens[0], &[]).await;
    by_token.wait_for("step_start").await;
    new.get("/threads").await.expect(401);

    std::fs::write(&file, format!("{}\n", key("new", "reader"))).unwrap();
    until_answered(&new, 200).await;
    old.get("/threads").await.expect(401);
    let ended = tokio::time::timeout(PATIENCE, stream.rest()).await;
    assert!(ended.is_ok(), "a stream of a key that is gone goes on");
    let ended = tokio::time::timeout(PATIENCE, by_token.rest()).await;
    assert!(ended.is_ok(), "a stream of a token that a key asked for goes on without the key");
    server.client().get(&tokens[1]).await.expect(401);
    forbidden(&new.post("/workflows", &sleeper()).await, "admin");

    // Cut off after the secret, the line would be an admin's.
    std::fs::write(&file, key("new", "reader").trim_end_matches(":reader")).unwrap();
    let until_logged = async |text: &str| {
        let look = async {
            while !server.log().contains(text) {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, look).await.is_ok(), "never {text:?}");
    };
    until_logged("does not end with a newline").await;
    forbidden(&new.post("/workflows", &sleeper()).await, "admin");
    std::fs::write(&file, format!("# no end\n{}", key("new", "reader"))).unwrap();
    until_logged("is taken all the same").await;
    std::fs::write(&file, "new\n").unwrap();
    until_logged("has no colon").await;
    let health = new.get("/health").await.expect(200).json();
    assert_eq!(health["checks"]["api_keys"]["status"], "warning", "{health}");
    assert_eq!(health["checks"]["api_keys"]["value"]["keys"], 1, "{health}");
    new.get("/threads").await.expect(200);
    assert!(!server.log().contains(&secret("new")));
}

#[tokio::test]
async fn a_hangup_reads_keys_and_the_log_again_and_ends_nothing() {
    let home = Home::memory().await;
    let toml = home.folder.path().join("rethread.toml");
    let written = |keys: &str, log: &str| format!("api_keys = \"{keys}\"\nlog = \"{log}\"\n");
    std::fs::write(&toml, written(&key("old", "admin"), "warn")).unwrap();
    let launch = home.launch().set("RETHREAD_CONFIG", toml.to_str().unwrap());
    let mut server = launch.set("RETHREAD_LOG", "").start().await;
    let (old, new) = (by(&server, "old"), by(&server, "new"));
    old.get("/threads").await.expect(200);
    std::fs::write(&toml, written(&key("new", "admin"), "info")).unwrap();
    server.signal(Signal::SIGHUP);
    until_answered(&new, 200).await;
    old.get("/threads").await.expect(401);
    new.get("/nope").await.expect(404);
    assert!(server.log().contains("\"status\":404"), "{}", server.log());
    assert!(!server.has_died());
}
