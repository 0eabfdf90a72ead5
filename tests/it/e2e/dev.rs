//! `rethread dev` is for whoever reads its terminal: it makes a key, and a browser gets in with it.

use std::process::Stdio;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::support::client::Answer;
use super::support::flows::workflow;
use super::support::{Client, Home, PATIENCE, Server, beside};

const KEY: &str = "0123456789abcdef-key";

/// A running `dev`, a client without its key, and the key.
async fn dev(home: &Home) -> (Child, Client, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rethread"));
    command
        .arg("dev")
        .env_clear()
        .current_dir(home.folder.path())
        .env("RETHREAD_ADDR", "127.0.0.1:0");
    #[expect(clippy::disallowed_methods, reason = "tests have no configuration layer")]
    command.env("PATH", std::env::var("PATH").unwrap_or_default());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told = async {
        let mut addr = None;
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some(rest) = line.strip_prefix("listening on http://") {
                addr = Some(rest.parse().unwrap());
            }
            if let Some((base, key)) = line.split_once("/?key=") {
                let addr = addr.unwrap();
                assert!(base.ends_with(&format!("http://{addr}")), "{line}");
                return (Client::new(addr), key.to_owned());
            }
        }
        panic!("it ended");
    };
    let (client, key) = tokio::time::timeout(PATIENCE, told).await.expect("no key");
    beside(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (child, client, key)
}

/// The cookie that an answer sets, as a browser sends it back.
fn cookie(answer: &Answer) -> String {
    let set = answer.header("set-cookie");
    assert!(set.contains("; HttpOnly") && set.contains("; SameSite=Strict"), "{set}");
    set.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn dev_wants_the_key_that_it_prints_and_starts_no_program() {
    let home = Home::sqlite().await;
    let (_child, anybody, key) = dev(&home).await;
    assert!(key.len() >= 32, "{key}");
    for path in ["/threads", "/", "/stream", "/openapi.json"] {
        anybody.get(path).await.expect(401);
    }
    let steps = json!([{ "id": "s", "kind": "exec", "with": { "program": "git", "args": ["-c", "alias.x=!id", "x"] } }]);
    let body = json!({ "workflow": { "name": "w", "steps": steps } });
    anybody.post("/invoke/async", &body).await.expect(401);
    let owner = anybody.clone().with_key(&key);
    owner.post("/invoke/async", &body).await.expect(403);
    owner.get("/threads").await.expect(200);
    let answer = anybody.get(&format!("/?key={key}")).await.expect(303);
    assert_eq!(answer.header("location"), "/");
    anybody.send("GET", "/", &[("cookie", &cookie(&answer))], "").await.expect(200);
}

/// A server with a key, and the cookie that its address with the key sets.
async fn entered() -> (Server, String) {
    let launch = Home::memory().await;
    let server = launch.launch().set("RETHREAD_API_KEYS", &format!("ops:{KEY}")).start().await;
    let answer = server.client().get(&format!("/?key={KEY}")).await.expect(303);
    (server, cookie(&answer))
}

#[tokio::test]
async fn an_address_with_a_key_opens_a_browsers_session() {
    let (server, cookie) = entered().await;
    let (anybody, ops) = (server.client(), server.client().with_key(KEY));
    let body = json!({ "workflow": workflow("w"), "input": { "x": 1 }, "threadId": "t1" });
    ops.post("/invoke/async", &body).await.expect(202);
    ops.completed("t1").await;
    let path = format!("/ui/threads/t1?key={KEY}&after=2");
    let answer = anybody.get(&path).await.expect(303);
    assert_eq!(answer.header("location"), "/ui/threads/t1?after=2");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    assert_eq!(answer.header("cache-control"), "no-store");
    for path in ["/", "/ui/threads/t1", "/stream/t1", "/status/t1", "/openapi.json"] {
        anybody.send("GET", path, &[("cookie", &cookie)], "").await.expect(200);
        anybody.get(path).await.expect(401);
    }
    for path in ["/?key=wrong", "/?key=", &format!("/threads?key={KEY}"), "/ui/threads/t1?key=x"] {
        let answer = anybody.get(path).await.expect(401);
        assert_eq!(answer.header("set-cookie"), "", "{path}");
    }
    // A link of another site signs nobody in.
    for (site, status) in [("cross-site", 403), ("same-site", 403), ("none", 303)] {
        let from = [("sec-fetch-site", site)];
        let answer = anybody.send("GET", &format!("/?key={KEY}"), &from, "").await.expect(status);
        assert_eq!(answer.header("set-cookie").is_empty(), status == 403, "{site}");
    }
    let flipped = cookie.replace("rethread-", "rethread-9");
    let cut = &cookie[..cookie.len() - 2];
    for bad in [flipped.as_str(), cut, "rethread=x", "a=b"] {
        anybody.send("GET", "/threads", &[("cookie", bad)], "").await.expect(401);
    }
    // Each cookie that is looked at costs work: of one name it is the first alone.
    let name = cookie.split_once('=').unwrap().0;
    for (pair, status) in
        [(format!("{name}=AAAA; {cookie}"), 401), (format!("{cookie}; {name}=AAAA"), 200)]
    {
        anybody.send("GET", "/threads", &[("cookie", &pair)], "").await.expect(status);
    }
    let log = server.log();
    assert!(!log.contains(KEY) && !log.contains(cookie.split_once('=').unwrap().1));
}

#[tokio::test]
async fn a_cookie_changes_things_only_for_a_page_of_the_same_origin() {
    let (server, cookie) = entered().await;
    let (anybody, ops) = (server.client(), server.client().with_key(KEY));
    let steps = json!([{ "id": "s", "kind": "sleep", "with": { "for": "1h" } }]);
    let body = json!({ "workflow": { "name": "w", "steps": steps }, "threadId": "v" });
    ops.post("/invoke/async", &body).await.expect(202);
    let (own, other) = (server.url(), format!("http://127.0.0.1:{}", server.addr.port() ^ 1));
    let cookie = ("cookie", cookie.as_str());
    for (headers, status) in [
        (vec![cookie], 401),
        (vec![cookie, ("sec-fetch-site", "none")], 401),
        (vec![cookie, ("sec-fetch-site", "same-site")], 403),
        (vec![cookie, ("origin", other.as_str())], 403),
        (vec![cookie, ("origin", "null")], 403),
    ] {
        let answer = anybody.send("POST", "/threads/v/abort", &headers, "").await;
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.text());
        assert_eq!(ops.status("v").await["status"], "running");
    }
    let (ours, same) = (("origin", own.as_str()), ("sec-fetch-site", "same-origin"));
    anybody.send("POST", "/threads/v/pause", &[cookie, ours], "").await.expect(200);
    anybody.send("POST", "/threads/v/abort", &[cookie, same], "").await.expect(200);
}
