//! Looks into the page that a browser has open, by its protocol for debuggers, over a pair of pipes.

use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe::{OpenOptions, Receiver, Sender};

use super::PATIENCE;

/// The pipes to and from a browser. A message is JSON and ends with a zero byte.
#[derive(Debug)]
pub(super) struct DevTools {
    commands: Sender,
    answers: BufReader<Receiver>,
    /// The number of the last command.
    last: u64,
    /// The session with the page, once there is one.
    session: Option<String>,
}

impl DevTools {
    /// Makes the pipes `commands` and `answers` in a folder.
    pub(super) fn new(folder: &Path) -> Self {
        let pipe = |name| {
            let path = folder.join(name);
            mkfifo(&path, Mode::S_IRWXU).unwrap();
            path
        };
        // Nobody has to be at the other end yet.
        let mut both = OpenOptions::new();
        both.read_write(true);
        Self {
            commands: both.open_sender(pipe("commands")).unwrap(),
            answers: BufReader::new(both.open_receiver(pipe("answers")).unwrap()),
            last: 0,
            session: None,
        }
    }

    /// The value of an expression in the page; waits for a promise.
    pub(super) async fn evaluate(&mut self, expression: &str) -> Value {
        if self.session.is_none() {
            self.session = Some(self.attach().await);
        }
        let parameters =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut answer = self.call("Runtime.evaluate", &parameters).await;
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    /// Begins a session with the page, which may still have to be opened.
    async fn attach(&mut self) -> String {
        loop {
            let targets = self.call("Target.getTargets", &json!({})).await;
            let all = targets["targetInfos"].as_array().unwrap();
            let page = all.iter().find(|one| one["type"] == "page" && one["url"] != "about:blank");
            let Some(page) = page else { continue };
            let parameters = json!({ "targetId": page["targetId"], "flatten": true });
            let attached = self.call("Target.attachToTarget", &parameters).await;
            return attached["sessionId"].as_str().unwrap().to_owned();
        }
    }

    async fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.last += 1;
        let mut command = json!({ "id": self.last, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        self.commands.write_all(format!("{command}\0").as_bytes()).await.unwrap();
        let answer = tokio::time::timeout(PATIENCE, self.answer()).await;
        answer.unwrap_or_else(|_| panic!("the browser does not answer {command}"))
    }

    /// The result of the last command; events are passed over.
    async fn answer(&mut self) -> Value {
        loop {
            let mut text = Vec::new();
            self.answers.read_until(0, &mut text).await.unwrap();
            let mut message: Value =
                serde_json::from_slice(text.strip_suffix(b"\0").unwrap()).unwrap();
            if message["id"] == self.last {
                assert!(message["error"].is_null(), "{message}");
                return message["result"].take();
            }
        }
    }
}
