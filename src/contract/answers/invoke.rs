//! The answers to calls that start, fork or change a thread, or check a workflow.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::model::{ForkPoint, Seq, ThreadId, ThreadStatus, Timestamp, millis};

/// A thread that was started, forked or changed, as the call has left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoked {
    /// The thread.
    pub thread_id: ThreadId,
    /// The thread's status.
    pub status: ThreadStatus,
    /// Whether this call created the thread.
    pub created: bool,
    /// Whether this call resumed the thread.
    pub resumed: bool,
    /// Whether an idempotency key led to an earlier thread.
    pub replayed: bool,
    /// The median duration of the workflow's recent completed threads.
    pub estimated_duration: Option<Duration>,
    /// The head of the thread's journal.
    pub last_seq: Seq,
}

/// The answer to a request that starts, continues or stops a thread.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = InvokeResponse)]
pub struct InvokeAnswer {
    /// The thread.
    #[schema(value_type = String)]
    pub thread_id: ThreadId,
    /// Where it stands.
    pub status: ThreadStatus,
    /// Whether this call made it.
    pub created: bool,
    /// Whether this call set it going again.
    pub resumed: bool,
    /// Median duration of this workflow's recent completed threads, in milliseconds.
    pub estimated_duration_ms: Option<u64>,
    /// The number of its last event.
    #[schema(value_type = u64)]
    pub last_seq: Seq,
    /// Where to read on.
    pub links: Links,
}

impl From<&Invoked> for InvokeAnswer {
    fn from(invoked: &Invoked) -> Self {
        Self {
            thread_id: invoked.thread_id.clone(),
            status: invoked.status,
            created: invoked.created,
            resumed: invoked.resumed,
            estimated_duration_ms: invoked.estimated_duration.map(millis),
            last_seq: invoked.last_seq,
            links: Links {
                status: format!("/status/{}", invoked.thread_id),
                stream: format!("/stream/{}", invoked.thread_id),
            },
        }
    }
}

/// Where to read about a thread.
#[derive(Debug, Serialize, ToSchema)]
pub struct Links {
    /// Its status document.
    pub status: String,
    /// Its event stream.
    pub stream: String,
}

/// The answer to a fork: that of an invoke, and where the thread comes from.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ForkResponse)]
pub struct ForkAnswer {
    #[serde(flatten)]
    #[expect(missing_docs, reason = "its members are described where they stand")]
    pub thread: InvokeAnswer,
    /// The thread and the event that it was forked at.
    pub forked_from: ForkPoint,
}

/// A token that opens one thread's stream, for reading.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StreamToken {
    /// The token; never log it.
    pub token: String,
    /// Until when it can be used to connect.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// The stream with the token in it, for `new EventSource(url)`.
    pub url: String,
}

impl StreamToken {
    /// Makes the answer with the token of a thread's stream.
    pub fn new(thread: &ThreadId, token: String, expires_at: Timestamp) -> Self {
        let url = format!("/stream/{thread}?token={token}");
        Self { token, expires_at, url }
    }
}

/// The workflow can be run.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValidateAnswer {
    /// Always `true`: faults are answered with 400.
    pub valid: bool,
}
