//! `rethread explain`: asks a server why a thread does not move, and prints the calls that would
//! end that.

use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

use super::client::{Api, local_url};
use super::out;
use crate::config::{Values, read_address};
use crate::model::ThreadId;

/// The server to ask, and the key to ask it with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// The server's address; if absent, the configured one.
    pub url: Option<&'a str>,
    /// A file that holds the secret of an API key.
    pub key_file: Option<&'a Path>,
}

/// Prints each cause, and the call that would end it as a line for a shell.
pub(super) async fn explain(thread: &str, asked: Asked<'_>, values: &Values) -> anyhow::Result<()> {
    let thread = ThreadId::parse(thread).context("that is no thread id")?;
    let base = match asked.url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => local_url(&read_address(values)?),
    };
    let key = asked.key_file.map(|path| {
        let secret = std::fs::read_to_string(path);
        secret.with_context(|| format!("the key can't be read from {}", path.display()))
    });
    let key = key.transpose()?.map(|secret| secret.trim().to_owned());
    let api = Api::new(&base, key)?;
    let told = api.get(&format!("/threads/{thread}/explain")).await;
    let told = if asked.url.is_some() {
        told?
    } else {
        told.with_context(|| {
            format!("{base} was asked; another server: rethread explain {thread} http://HOST:PORT")
        })?
    };
    for line in lines(&told, (&base, asked.key_file)) {
        out::line(&line);
    }
    Ok(())
}

fn lines(told: &Value, (base, key_file): (&str, Option<&Path>)) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines = vec![format!("{} is {}", text(&told["threadId"]), text(&told["status"]))];
    for cause in told["causes"].as_array().into_iter().flatten() {
        lines.push(format!("- {}", text(&cause["sentence"])));
        lines.push(format!("  ends with: {}", text(&cause["endsWith"])));
        let call = &cause["call"];
        if call.is_object() {
            // The key is read from its file when the call is sent, so that neither the screen nor
            // the shell's history has the secret.
            let key = key_file.map_or_else(String::new, |path| {
                let path = quoted(&path.display().to_string());
                format!(" -H \"Authorization: Bearer $(cat {path})\"")
            });
            lines.push(format!("  {}:", text(&call["does"])));
            lines.push(format!(
                "  curl -X {} {base}{}{key} -H 'Content-Type: application/json' -d {}",
                text(&call["method"]),
                text(&call["path"]),
                quoted(&call["body"].to_string())
            ));
        }
    }
    lines
}

/// Quotes a text as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_call_is_a_line_that_a_shell_takes() {
        let call = json!({ "method": "POST", "path": "/p", "body": { "a": "it's" }, "does": "it" });
        let cause = json!({ "sentence": "Stuck.", "endsWith": "time", "call": call });
        let plain = json!({ "sentence": "Sleeps.", "endsWith": "time", "call": null });
        let told = json!({ "threadId": "t", "status": "running", "causes": [cause, plain] });
        let keyed = lines(&told, ("http://h", Some(Path::new("my key"))));
        assert!(keyed[4].contains(" -H \"Authorization: Bearer $(cat 'my key')\" "), "{keyed:?}");
        assert_eq!(
            lines(&told, ("http://h", None)),
            [
                "t is running",
                "- Stuck.",
                "  ends with: time",
                "  it:",
                "  curl -X POST http://h/p -H 'Content-Type: application/json' \
                 -d '{\"a\":\"it'\\''s\"}'",
                "- Sleeps.",
                "  ends with: time",
            ]
        );
    }
}
