//! What a newcomer runs first works.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::support::Home;

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|end| end == "json")).collect()
}

/// A repository with two commits.
fn repository(folder: &Path) {
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=A", "-c", "user.email=a@example.com"]).args(arguments);
        let output = command.current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    git(&["init", "--quiet", "."]);
    git(&["commit", "--quiet", "--allow-empty", "-m", "api: Answer {input} \"quoted\""]);
    git(&["commit", "--quiet", "--allow-empty", "-m", "Begin"]);
}

/// Its commits, as the example wants them.
fn log(folder: &Path) -> Vec<String> {
    let format = "--pretty=format:%h%x09%ad%x09%an%x09%s";
    let mut git = Command::new("git");
    let output = git.args(["log", "--date=short", format]).current_dir(folder).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn every_example_completes() {
    let home = Home::sqlite().await;
    repository(home.folder.path());
    let server = home.start().await;
    let client = server.client();
    let examples = examples();
    assert!(examples.len() >= 3);
    for path in examples {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let input = match name.as_str() {
            "release-notes" => json!({ "log": log(home.folder.path()), "server": server.url() }),
            "flaky-recovers" => json!({ "server": server.url() }),
            "parallel" => json!({ "numbers": [3, 1, 2] }),
            other => panic!("give the example {other} an input here"),
        };
        let workflow: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let both = json!({ "workflow": workflow, "input": input });
        client.post("/workflows/validate", &both).await.expect(200);
        client.post("/workflows", &workflow).await.expect(201);
        let body = json!({ "workflow": name, "input": input, "threadId": name });
        client.post("/invoke/async", &body).await.expect(202);
        let status = client.completed(&name).await;
        match name.as_str() {
            "release-notes" => {
                let notes = status["output"]["markdown"].as_str().unwrap();
                assert!(
                    notes.contains("## api") && notes.contains("Answer {input} \"quoted\""),
                    "{notes}"
                );
            }
            "flaky-recovers" => {
                let events = client.events(&name).await;
                assert!(events.iter().any(|event| event.contains("\"step_retry\"")));
            }
            _ => assert_eq!(status["output"]["median"], json!(2)),
        }
    }
}

#[tokio::test]
async fn one_command_shows_a_first_run() {
    let home = Home::sqlite().await;
    repository(home.folder.path());
    let output = home.launch().set("RETHREAD_LOG", "warn").output(&["dev", "--once"]).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}\n{log}");
    for part in ["listening on http://127.0.0.1:", "Release notes", "5/5 steps"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    // What it ran is kept.
    let server = home.start().await;
    let list = server.client().get("/threads").await.json();
    assert_eq!(list["items"][0]["status"], "completed");
}
