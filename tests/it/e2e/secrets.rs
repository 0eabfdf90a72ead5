//! Secrets are shown nowhere, in no form, whichever step or target repeats them.

use base64::Engine as _;
use serde_json::{Value, json};

use super::support::flows::{flow, step};
use super::support::{Client, Home, Recorder, Server};

const TOKEN: &str = "CanaryToken-\"Qx7\"-käse/42";

/// All that a server shows of a thread, and what it has stored and logged, in lower case.
async fn everything(
    home: &Home,
    server: Server,
    client: &Client,
    thread: &str,
) -> Vec<(String, String)> {
    let mut shown = Vec::new();
    for path in [
        format!("/status/{thread}"),
        format!("/threads/{thread}/explain"),
        format!("/threads/{thread}/diagnostics"),
        format!("/ui/threads/{thread}"),
        "/health".to_owned(),
        "/metrics".to_owned(),
        "/monitor".to_owned(),
        "/notifications".to_owned(),
    ] {
        let text = client.get(&path).await.text().to_owned();
        shown.push((path, text));
    }
    shown.push(("events".to_owned(), client.events(thread).await.join("\n")));
    shown.push(("log".to_owned(), server.log()));
    server.sigterm_and_wait().await;
    for entry in std::fs::read_dir(home.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap_or_default();
        shown.push((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
    }
    shown.into_iter().map(|(place, text)| (place, text.to_lowercase())).collect()
}

#[tokio::test]
async fn what_is_repeated_of_a_secret_is_shown_nowhere_whoever_repeats_it() {
    let (home, scratch) = (Home::sqlite().await, tempfile::tempdir().unwrap());
    let recorder = Recorder::start().await;
    let hook = recorder.url("status/404/xyzSECRETPATHxyz?sig=QUERYSECRET99");
    let launch = home.launch().set("RETHREAD_SECRET_TOKEN", TOKEN).set("RETHREAD_LOG", "trace");
    let launch = launch.set("RETHREAD_SECRET_HOOK", &hook);
    let launch = launch.set("RETHREAD_SECRET_HOST", "CanaryHost99");
    let server = launch.set("RETHREAD_EXEC_ALLOW", "tee,sh").start().await;
    let client = server.client();
    let file = scratch.path().join("kept").display().to_string();
    let once = json!({ "maxAttempts": 1 });
    let mut steps = vec![json!({ "id": "kept", "kind": "exec", "with": { "program": "tee",
        "args": [file], "stdin": "{secrets.TOKEN} {secrets.HOOK}" } })];
    // None of these names a secret.
    for (id, script) in [
        ("cat", "cat F"),
        ("capitals", "tr a-z A-Z <F"),
        ("base64", "(printf 'user:'; cat F) | base64"),
        ("quoted", "sed 's/\"/\\\\\"/g; s/^/{\"a\":\"/; s/$/\"}/' F"),
        ("percent", "sed 's/\"/%22/g; s/-/%2d/g' F"),
        ("fails", "cat F >&2; exit 1"),
        (
            "halves",
            "dd if=F bs=1 count=15 2>/dev/null; sleep 0.2; dd if=F bs=1 skip=15 2>/dev/null",
        ),
    ] {
        let script = script.replace(" F", &format!(" {file}")).replace("<F", &format!("<{file}"));
        let script = script.replace("=F", &format!("={file}"));
        steps.push(json!({ "id": id, "kind": "exec", "dependsOn": ["kept"], "retry": once,
            "continueOnError": true, "with": { "program": "sh", "args": ["-c", script] } }));
    }
    for (id, url) in [
        ("hook", "{secrets.HOOK}"),
        ("host", "http://{secrets.HOST}.invalid/"),
        ("scheme", "{secrets.HOST}://x/"),
    ] {
        steps.push(json!({ "id": id, "kind": "http", "retry": once, "continueOnError": true,
            "with": { "url": url } }));
    }
    let body = json!({ "workflow": flow(&json!(steps)), "threadId": "t1" });
    client.post("/invoke/async", &body).await.expect(202);
    let status = client.completed("t1").await;
    assert!(
        step(&status, "hook")["error"]["message"].as_str().unwrap().contains("[redacted:HOOK]")
    );
    assert_eq!(step(&status, "cat")["output"]["stdout"], "[redacted:TOKEN] [redacted:HOOK]");
    assert_eq!(step(&status, "halves")["output"]["stdout"], "[redacted:TOKEN] [redacted:HOOK]");
    assert_eq!(step(&status, "fails")["error"]["code"], "exit_nonzero");

    let coded = base64::prelude::BASE64_STANDARD.encode(format!("user:{TOKEN}"));
    let middle = coded[12..32].to_lowercase();
    let never = ["canarytoken", "qx7", "secretpath", "querysecret", "canaryhost", &middle];
    for (place, text) in everything(&home, server, &client, "t1").await {
        for part in never {
            assert!(!text.contains(part), "{part} in {place}");
        }
    }
}

#[tokio::test]
async fn what_a_client_sends_itself_stays_as_it_is() {
    let home = Home::memory().await;
    let server = home.launch().set("RETHREAD_SECRET_TOKEN", TOKEN).start().await;
    let client = server.client();
    let steps = json!([{ "id": "s", "kind": "transform", "with": { "jq": ".input" } }]);
    let body = json!({ "workflow": flow(&steps), "input": TOKEN });
    let status: Value = client.run(&body).await;
    assert_eq!(status["input"], TOKEN);
    // What a step makes of it is a step's output like any other.
    assert_eq!(status["output"]["s"], "[redacted:TOKEN]");
}
