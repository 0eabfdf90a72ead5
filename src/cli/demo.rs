//! The demo of `rethread dev`: one workflow, started, followed and shown over HTTP like any other.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tokio::process::Command;

use super::client::Api;
use super::out;
use super::render::Renderer;
use super::sse::Parser;
use crate::model::{Event, EventBody};

const RELEASE_NOTES: &str = include_str!("../../examples/release-notes.json");
const PARALLEL: &str = include_str!("../../examples/parallel.json");

/// The number of times that a stream may break off without a new event before the demo gives up.
const MAX_BREAKS: u32 = 5;
/// The pause before a broken stream is resumed.
const BREAK: Duration = Duration::from_millis(300);
/// The time limit of the demo. It takes seconds; this is for one that hangs.
const LIMIT: Duration = Duration::from_mins(2);

/// A workflow with an input to show.
struct Demo {
    workflow: &'static str,
    input: Value,
}

/// Runs the demo and shows it; fails if the thread does not complete.
pub(super) async fn run(api: &Api, color: bool) -> anyhow::Result<()> {
    tokio::time::timeout(LIMIT, show(api, color))
        .await
        .with_context(|| format!("no end after {}", humantime::format_duration(LIMIT)))?
}

async fn show(api: &Api, color: bool) -> anyhow::Result<()> {
    let demo = choose(api).await?;
    let workflow: Value = serde_json::from_str(demo.workflow)?;
    let steps = workflow.get("steps").and_then(Value::as_array).map_or(0, Vec::len);
    let body = json!({ "workflow": workflow, "input": demo.input });
    let invoked = api.post("/invoke/async", &body).await?;
    let thread = text(&invoked, "threadId")?;
    out::line(&format!("\nPOST /invoke/async → thread {thread}"));
    out::line(&format!("GET  /stream/{thread}\n"));
    let completed = follow(api, &thread, Renderer::new(steps, color)).await?;
    let status = api.get(&format!("/status/{thread}")).await?;
    result(&status);
    look_around(api, &thread);
    if completed { Ok(()) } else { bail!("thread {thread} did not complete") }
}

/// Returns a demo that writes release notes of the repository in the working directory, or, without
/// git or a repository, one that needs neither.
async fn choose(api: &Api) -> anyhow::Result<Demo> {
    let here = std::env::current_dir().context("the working directory is gone")?;
    match history(&here).await {
        Ok(log) => {
            let input = json!({ "log": log, "server": api.base() });
            Ok(Demo { workflow: RELEASE_NOTES, input })
        }
        Err(reason) => {
            out::line(&format!(
                "{reason}; showing examples/parallel.json instead of release notes"
            ));
            let input = json!({ "numbers": [3, 1, 4, 1, 5, 9, 2, 6] });
            Ok(Demo { workflow: PARALLEL, input })
        }
    }
}

/// Returns the newest commits of the repository that `folder` lies in, a line each. This process
/// calls git, and no step does: a server that lets steps start git lets them start anything.
async fn history(folder: &Path) -> Result<Vec<String>, String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(["log", "--no-merges", "--max-count=200", "--date=short"])
        .arg("--pretty=format:%h%x09%ad%x09%an%x09%s")
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("git can't be started ({error})"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if output.status.success() && !lines.is_empty() {
        Ok(lines)
    } else {
        Err(format!("{} has no git history", folder.display()))
    }
}

/// Follows the thread to its end, wherever the stream breaks off; `true` if the thread completed.
async fn follow(api: &Api, thread: &str, mut renderer: Renderer) -> anyhow::Result<bool> {
    let path = format!("/stream/{thread}");
    let mut seen = 0;
    let mut breaks = 0;
    loop {
        let before = seen;
        if let Some(completed) = read_stream(api, &path, &mut seen, &mut renderer).await? {
            renderer.finish();
            return Ok(completed);
        }
        breaks = if seen > before { 0 } else { breaks + 1 };
        if breaks > MAX_BREAKS {
            bail!("the stream broke off at event {seen}");
        }
        tokio::time::sleep(BREAK).await;
    }
}

/// Shows events until the stream breaks off (`None`) or the thread has ended.
async fn read_stream(
    api: &Api,
    path: &str,
    seen: &mut u64,
    renderer: &mut Renderer,
) -> anyhow::Result<Option<bool>> {
    let Ok(mut response) = api.stream(path, *seen).await else { return Ok(None) };
    if !response.status().is_success() {
        bail!("{path} was answered with {}", response.status());
    }
    let mut parser = Parser::default();
    while let Ok(Some(chunk)) = response.chunk().await {
        for frame in parser.push(&chunk) {
            let event = Event::decode(&frame.data)
                .with_context(|| format!("{path} sent {:?}", frame.data))?;
            if event.seq <= *seen {
                continue;
            }
            *seen = event.seq;
            renderer.show(&event);
            if event.body.is_terminal() {
                return Ok(Some(matches!(event.body, EventBody::WorkflowComplete(_))));
            }
        }
    }
    Ok(None)
}

/// Prints the output or the error of the thread: text as text, anything else as JSON.
fn result(status: &Value) {
    let output = status.get("output").filter(|output| !output.is_null());
    let shown = match (output, status.get("error")) {
        (Some(output), _) => match output.get("markdown").and_then(Value::as_str) {
            Some(markdown) => markdown.to_owned(),
            None => format!("{output:#}"),
        },
        (None, Some(error)) => format!("{error:#}"),
        (None, None) => return,
    };
    out::line("");
    for line in shown.lines() {
        out::line(&format!("  {line}"));
    }
}

fn look_around(api: &Api, thread: &str) {
    let base = api.base();
    let key = api.key();
    let (entry, auth) = key.map_or_else(Default::default, |key| {
        (format!("?key={key}"), format!(" -H 'authorization: Bearer {key}'"))
    });
    let hello = json!({
        "workflow": { "name": "hello", "steps": [
            { "id": "pause", "kind": "sleep", "with": { "for": "1s" } },
            { "id": "greet", "kind": "transform", "dependsOn": ["pause"],
              "with": { "jq": "\"hello \" + .input.name" } }
        ] },
        "input": { "name": "world" }
    });
    out::line(&format!(
        "\nlook around\n  \
         in a browser  {base}/ui/threads/{thread}{entry}\n  \
         all threads   {base}/\n  \
         status        {base}/status/{thread}\n  \
         stream        {base}/stream/{thread}\n\n\
         try next\n  \
         curl -s{auth} '{base}/invoke?wait=10s' -H 'content-type: application/json' \\\n    -d '{hello}'\n"
    ));
}

fn text(document: &Value, key: &str) -> anyhow::Result<String> {
    let value = document.get(key).and_then(Value::as_str);
    value.map(str::to_owned).with_context(|| format!("{key} is missing in {document}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_json_with_steps() {
        for text in [RELEASE_NOTES, PARALLEL] {
            let workflow: Value = serde_json::from_str(text).unwrap();
            assert!(!workflow["steps"].as_array().unwrap().is_empty());
        }
    }

    #[tokio::test]
    async fn folder_without_repository_has_no_history() {
        let folder = tempfile::tempdir().unwrap();
        assert!(history(folder.path()).await.is_err());
    }
}
