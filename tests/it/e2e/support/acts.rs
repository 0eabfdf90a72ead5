//! Everything that a person can do to a thread, as a table, and one workflow on which each of it
//! makes sense.

use serde_json::{Value, json};

use super::client::Answer;
use super::flows::{gapless, step};
use super::{Client, GLANCE, PATIENCE, Recorder, eventually};

/// Something that a person can do to a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Pause,
    Resume,
    Abort,
    Retry,
    Skip,
    Edit,
    Signal,
    Resolve,
}

impl Act {
    pub(crate) const ALL: [Self; 8] = [
        Self::Pause,
        Self::Resume,
        Self::Abort,
        Self::Retry,
        Self::Skip,
        Self::Edit,
        Self::Signal,
        Self::Resolve,
    ];

    /// Whether it makes sense on a paused thread alone.
    const fn wants_pause(self) -> bool {
        matches!(self, Self::Resume | Self::Edit)
    }

    /// Its path and body, on a thread as it stands.
    pub(crate) async fn call(self, client: &Client, thread: &str) -> (String, Value) {
        let (path, body) = match self {
            Self::Pause => ("pause".to_owned(), json!({ "reason": "why" })),
            Self::Resume => {
                let how = json!({ "fromStep": "t", "skip": ["k"], "input": { "n": 2 } });
                ("resume".to_owned(), how)
            }
            Self::Abort => ("abort".to_owned(), json!({ "reason": "why" })),
            Self::Retry => ("steps/r/retry".to_owned(), json!({})),
            Self::Skip => ("steps/k/skip".to_owned(), json!({ "output": 3 })),
            Self::Edit => ("steps/t/output".to_owned(), json!({ "output": 41 })),
            Self::Signal => ("signals/go".to_owned(), json!({ "n": 5 })),
            Self::Resolve => {
                let list = format!("/interventions?status=open&threadId={thread}");
                let list = client.get(&list).await.expect(200).json();
                let id = list["items"][0]["id"].as_str().unwrap_or("none").to_owned();
                return (format!("/interventions/{id}/resolve"), json!({ "choice": "approve" }));
            }
        };
        (format!("/threads/{thread}/{path}"), body)
    }

    /// Does it once, on the version that was seen.
    pub(crate) async fn once(self, client: &Client, thread: &str, seen: &str) -> Answer {
        on_version(client, &self.call(client, thread).await, seen).await
    }

    /// Does it, and says it again as long as nobody could answer; twice, as a client does whose
    /// connection broke.
    pub(crate) async fn done(self, client: &Client, thread: &str) {
        let (path, body) = self.call(client, thread).await;
        let headers = [("content-type", "application/json"), ("idempotency-key", "k")];
        let mut answered = 0;
        let began = tokio::time::Instant::now();
        while answered < 2 {
            let answer = client.send("POST", &path, &headers, body.to_string()).await;
            match answer.status {
                200 | 202 => answered += 1,
                503 if began.elapsed() < PATIENCE => tokio::time::sleep(GLANCE).await,
                other => panic!("{self:?} of {thread}: {other} {}", answer.text()),
            }
        }
    }

    /// The event that it is.
    fn is(self, event: &Value) -> bool {
        let by_hand = event["data"]["by"] == "anonymous";
        let on = |kind: &str| event["type"] == kind && by_hand;
        match self {
            Self::Pause => on("workflow_paused"),
            Self::Resume => on("workflow_resumed"),
            Self::Abort => on("workflow_aborted"),
            Self::Retry => on("step_start"),
            Self::Skip => on("step_skipped"),
            Self::Edit => on("step_edited"),
            Self::Signal => on("signal_received"),
            Self::Resolve => on("intervention_resolved") && event["data"]["choice"] == "approve",
        }
    }

    /// How often a thread's journal tells of it.
    pub(crate) async fn told(self, client: &Client, thread: &str) -> usize {
        gapless(client, thread).await.iter().filter(|event| self.is(event)).count()
    }

    /// Whether the status shows what it led to.
    pub(crate) fn shows(self, status: &Value) -> bool {
        let output = |id: &str| step(status, id)["output"].clone();
        let at = |id: &str, wanted: &str| step(status, id)["status"] == wanted;
        match self {
            Self::Pause => status["status"] == "paused",
            Self::Resume => output("t") == 2 && at("k", "skipped") && output("kd") == json!(null),
            Self::Abort => status["status"] == "aborted",
            Self::Retry => at("r", "completed"),
            Self::Skip => at("k", "skipped") && output("kd") == 3,
            Self::Edit => output("t") == 41,
            Self::Signal => output("w") == json!({ "n": 5 }),
            Self::Resolve => output("a")["choice"] == "approve",
        }
    }

    /// Starts a thread to which it can be done and waits until it stands still but for `hold`: an
    /// attempt that hangs until [`finish`], or a wait that leaves the thread to nobody.
    pub(crate) async fn prepare(
        self,
        (client, recorder): (&Client, &Recorder),
        thread: &str,
        parked: bool,
    ) {
        let body = json!({
            "workflow": workflow(recorder, thread, parked), "threadId": thread, "input": { "n": 1 }
        });
        client.invoke(&body).await;
        let still = |status: &Value| {
            let at = |id: &str, wanted: &str| step(status, id)["status"] == wanted;
            at("t", "completed")
                && at("r", "retrying")
                && ["k", "w", "a"].iter().all(|id| at(id, "waiting"))
                && at("hold", if parked { "waiting" } else { "running" })
                && (!parked || status["owner"].is_null())
        };
        client.until(thread, "stands still", still).await;
        if !parked {
            recorder.reached(&format!("hold-{thread}"), 1).await;
        }
        if self.wants_pause() {
            client.post(&format!("/threads/{thread}/pause"), &json!({})).await.expect(200);
            let nobodys = |status: &Value| !parked || status["owner"].is_null();
            client.until(thread, "is paused", nobodys).await;
        }
    }
}

/// Makes a call on the version of the thread that was seen.
pub(crate) async fn on_version(client: &Client, call: &(String, Value), seen: &str) -> Answer {
    let headers = [("content-type", "application/json"), ("if-match", seen)];
    client.send("POST", &call.0, &headers, call.1.to_string()).await
}

/// Steps of every kind: done, failing and waiting ones, and two that depend on others.
fn workflow(recorder: &Recorder, thread: &str, parked: bool) -> Value {
    let hold = if parked {
        json!({ "id": "hold", "kind": "signal", "with": { "name": "release" } })
    } else {
        let url = recorder.url(&format!("wait/hold-{thread}"));
        json!({ "id": "hold", "kind": "http", "with": { "url": url } })
    };
    let url = recorder.url(&format!("fail/1/retried-{thread}"));
    json!({ "name": "everything", "steps": [
        { "id": "t", "kind": "transform", "with": { "from": "{input.n}", "jq": "." } },
        hold,
        { "id": "u", "kind": "transform", "dependsOn": ["t", "hold"],
          "with": { "from": "{t.output}", "jq": "." } },
        { "id": "r", "kind": "http", "with": { "url": url }, "breaker": { "failureThreshold": 1000 },
          "retry": { "initialInterval": "1h", "maxInterval": "1h" } },
        { "id": "k", "kind": "signal", "with": { "name": "never" } },
        { "id": "kd", "kind": "transform", "dependsOn": ["k"],
          "with": { "from": "{k.output}", "jq": "." } },
        { "id": "w", "kind": "signal", "with": { "name": "go" } },
        { "id": "a", "kind": "approval", "with": { "prompt": "?" } },
    ] })
}

/// Does all that is left to do until the thread has completed; its status then.
pub(crate) async fn finish((client, recorder): (&Client, &Recorder), thread: &str) -> Value {
    recorder.release(&format!("hold-{thread}"));
    let left = [
        ("r", "retrying", Act::Retry),
        ("k", "waiting", Act::Skip),
        ("w", "waiting", Act::Signal),
        ("a", "waiting", Act::Resolve),
    ];
    eventually(&format!("{thread} is finished"), async || {
        let status = client.status(thread).await;
        if status["status"] == "completed" {
            return Some(status);
        }
        if status["status"] == "paused" || status["status"] == "aborted" {
            client.post(&format!("/threads/{thread}/resume"), &json!({})).await;
            return None;
        }
        for (id, stands, act) in left {
            if step(&status, id)["status"] == stands {
                act.once(client, thread, "*").await;
            }
        }
        if step(&status, "hold")["status"] == "waiting" {
            client.post(&format!("/threads/{thread}/signals/release"), &json!(null)).await;
        }
        None
    })
    .await
}
