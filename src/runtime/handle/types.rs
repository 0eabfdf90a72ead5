//! Plain data that faces exchange with the runtime.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::model::{
    Failure, ForkPoint, Json, Namespace, Role, Seq, StepId, ThreadId, ThreadStatus, Timestamp,
};

/// Where a workflow comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkflowSource {
    /// It stands in the request.
    Inline(Json),
    /// A stored one, by name and perhaps version.
    Stored {
        /// Its name.
        name: String,
        /// Its version; the newest if absent.
        version: Option<u32>,
    },
}

/// A request to start (or continue) a thread.
#[derive(Debug, Clone)]
pub struct Invoke {
    /// The namespace of the thread, its workflow and its key: that of whoever asks.
    pub namespace: Namespace,
    /// What to run; may be absent when `thread_id` names an existing thread.
    pub workflow: Option<WorkflowSource>,
    /// Its input; absent reads as `null`, or as "the same" for an existing thread.
    pub input: Option<Json>,
    /// The thread's id, if the client chose one; it is one of `namespace`, whatever it says.
    pub thread_id: Option<ThreadId>,
    /// An object the client attached.
    pub metadata: Option<Json>,
    /// A named queue, recorded with the thread.
    pub queue: Option<String>,
    /// −100 to 100: a thread that waits for a replica is served as if it had waited that many
    /// seconds longer.
    pub priority: Option<i32>,
    /// Makes repeats within 24 h one thread.
    pub idempotency_key: Option<String>,
    /// Who asks: an API key's name, or `anonymous`.
    pub by: String,
    /// What he may do; `None` where nobody needs a key.
    pub role: Option<Role>,
    /// W3C trace context of the request (`traceparent`), handed on by every http attempt.
    pub traceparent: Option<String>,
}

/// The answer to [`Invoke`], and to the control calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoked {
    /// The thread.
    pub thread_id: ThreadId,
    /// Where it stands.
    pub status: ThreadStatus,
    /// Whether this call made it.
    pub created: bool,
    /// Whether this call set it going again.
    pub resumed: bool,
    /// Whether an idempotency key led to an earlier thread.
    pub replayed: bool,
    /// Median duration of the workflow's recent completed threads.
    pub estimated_duration: Option<Duration>,
    /// Head of its journal.
    pub last_seq: Seq,
}

/// Who changes a thread, why, and on which version of it.
#[derive(Debug, Clone, Default)]
pub struct Control {
    /// An API key's name; where nobody needs one, whoever was said to ask, or `anonymous`.
    pub by: String,
    /// For whom, as it was said.
    pub on_behalf_of: Option<String>,
    /// What the key may do; `None` where nobody needs one.
    pub role: Option<Role>,
    /// Why, if it was said.
    pub reason: Option<String>,
    /// The version the caller saw (`If-Match`).
    pub if_match: Option<Seq>,
    /// Makes repeats one command.
    pub idempotency_key: Option<String>,
}

/// How a thread is to be continued.
#[derive(Debug, Clone, Default)]
pub struct ResumeHow {
    /// Run this step and all that comes after it again.
    pub from_step: Option<StepId>,
    /// Do without these steps.
    pub skip: Vec<StepId>,
    /// The input of whatever still has to run.
    pub input: Option<Json>,
}

/// How a thread is to be aborted.
#[derive(Debug, Clone, Copy, Default)]
pub struct AbortHow {
    /// How long attempts under way may still take to end by themselves.
    pub grace: Duration,
    /// Whether its completed steps are undone.
    pub compensate: bool,
}

/// How a thread is to be forked.
#[derive(Debug, Clone, Default)]
pub struct ForkHow {
    /// The last event that both threads have.
    pub at_seq: Seq,
    /// The fork's id, if the client chose one; it is one of the other thread's namespace, whatever it
    /// says.
    pub thread_id: Option<ThreadId>,
    /// The input of whatever still has to run.
    pub input: Option<Json>,
    /// Outputs in the place of those of completed steps.
    pub edits: Vec<(StepId, Json)>,
}

/// What can be done to one step.
#[derive(Debug, Clone)]
pub enum StepChange {
    /// Start its next attempt now.
    Retry,
    /// Do without it.
    Skip {
        /// What those that depend on it see; `null` if absent.
        output: Option<Json>,
    },
    /// Put another output in the place of its own.
    Edit {
        /// The output from now on.
        output: Json,
    },
}

/// One event as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawEvent {
    /// Its number.
    pub seq: Seq,
    /// Its type: the SSE event name.
    pub kind: &'static str,
    /// Its exact bytes.
    pub json: Json,
}

/// An event that a reader holds until it is sent.
#[derive(Debug)]
pub enum HeldEvent {
    /// A small one: the reader's own.
    Own(RawEvent),
    /// A large one, which others may hold as well.
    Shared(std::sync::Arc<crate::runtime::SharedEvent>),
}

impl HeldEvent {
    /// The event.
    pub fn event(&self) -> &RawEvent {
        match self {
            Self::Own(event) => event,
            Self::Shared(shared) => shared.event(),
        }
    }
}

/// A stretch of a thread's journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// The events, in order.
    pub events: Vec<RawEvent>,
    /// The head of the journal when they were read.
    pub head: Seq,
    /// Whether the event at the head is terminal: nothing follows unless the thread is resumed.
    pub ended: bool,
}

/// An event of any thread, for the live stream of all.
#[derive(Debug, Clone)]
pub struct LiveEvent {
    /// The event.
    pub event: RawEvent,
    /// Its thread.
    pub thread_id: ThreadId,
    /// Name of the thread's workflow.
    pub workflow: std::sync::Arc<str>,
    /// The thread's status after it.
    pub status: ThreadStatus,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page starts; absent on the last.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// The page of the first `limit` of `found`, of which one more was looked for: if it is there, the
    /// next page starts at the `cursor` of this one's last.
    pub(in crate::runtime) fn cut(
        mut found: Vec<T>,
        limit: usize,
        cursor: impl FnOnce(&T) -> String,
    ) -> Self {
        let more = found.len() > limit;
        found.truncate(limit);
        let next_cursor = found.last().filter(|_| more).map(cursor);
        Self { items: found, next_cursor }
    }

    /// The same page of what these items are shown as.
    pub(in crate::runtime) fn map<U>(self, shown: impl FnMut(T) -> U) -> Page<U> {
        let Self { items, next_cursor } = self;
        Page { items: items.into_iter().map(shown).collect(), next_cursor }
    }
}

/// Which threads a list wants.
#[derive(Debug, Clone, Default)]
pub struct ThreadQuery {
    /// Threads of this namespace alone.
    pub namespace: Namespace,
    /// Only this status.
    pub status: Option<ThreadStatus>,
    /// Only this workflow.
    pub workflow: Option<String>,
    /// Only threads with these metadata members.
    pub metadata: Vec<(String, String)>,
    /// Only forks of this thread.
    pub forked_from: Option<ThreadId>,
    /// Items per page.
    pub limit: usize,
    /// A cursor of an earlier page, checked by the runtime (`Invalid` at `/cursor` if it is none).
    pub cursor: Option<String>,
}

/// A thread in a list.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of the status document")]
pub struct ThreadItem {
    #[schema(value_type = String)]
    pub thread_id: ThreadId,
    pub workflow: WorkflowName,
    pub status: ThreadStatus,
    #[schema(value_type = Vec<String>)]
    pub current_steps: Vec<StepId>,
    pub progress: Progress,
    #[schema(value_type = Object)]
    pub metadata: Json,
    pub recoveries: u32,
    /// Code of the failure it ended with.
    pub error_code: Option<String>,
    #[schema(value_type = u64)]
    pub last_seq: Seq,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub completed_at: Option<Timestamp>,
    /// Where its history comes from; left out of a thread that is no fork.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<ForkPoint>,
}

pub use crate::machine::explain::{Call, Cause, CauseKind, Explanation};
pub use crate::machine::{Progress, StatusDocument, StepDocument, WorkflowName};

/// Which checkpoints a list wants.
#[derive(Debug, Clone, Default)]
pub struct CheckpointQuery {
    /// Only operations that start with this.
    pub operation: Option<String>,
    /// Items per page.
    pub limit: usize,
    /// Only checkpoints below this number (the cursor).
    pub before: Option<Seq>,
}

/// A point of the journal that a thread can go on from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// `{operation}-{milliseconds}-{seq}`.
    pub id: String,
    /// The event it stands at.
    #[schema(value_type = u64)]
    pub seq: Seq,
    /// What was done: the event's type.
    pub operation: String,
    /// The step it was done in.
    #[schema(value_type = Option<String>)]
    pub step_id: Option<StepId>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// SHA-256 over the event's bytes, in hex.
    pub checksum: String,
}

/// Active threads at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Monitor {
    /// Threads that have not ended, newest first.
    pub active: Vec<MonitoredThread>,
    /// How many of them look stuck.
    pub stuck: usize,
    /// Threads this replica drives now.
    pub driving: usize,
    /// Most threads this replica drives at once.
    pub capacity: usize,
}

/// An active thread.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MonitoredThread {
    /// The thread.
    #[serde(flatten)]
    pub thread: ThreadItem,
    /// Time since its last event, in milliseconds.
    pub idle_ms: u64,
    /// Why it looks stuck, if it does.
    pub stuck: Option<String>,
    /// Then what kind of cause it is, as `GET /threads/{threadId}/explain` tells it.
    pub cause: Option<CauseKind>,
}

/// A stored workflow.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoredWorkflow {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// SHA-256 of its text.
    pub hash: String,
    /// The definition itself; absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub workflow: Option<Json>,
    /// When this version was stored.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// How well something is, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words that clients see")]
pub enum HealthStatus {
    Healthy,
    Warning,
    Degraded,
    Critical,
    Failed,
}

/// One check of the health report.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// How well it is.
    pub status: HealthStatus,
    /// What was measured.
    pub value: serde_json::Value,
    /// What that means.
    pub detail: String,
    /// Bad results in a row.
    pub consecutive_failures: u32,
    /// What to do about it.
    pub recommendation: Option<String>,
}

/// What a circuit breaker's key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CircuitScope {
    /// What steps call: a host and port, or a kind and program.
    Target,
    /// The `breaker.key` of a workflow.
    Key,
}

/// A circuit breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Circuit {
    /// What it stands before: host and port, kind and program, or the key that steps gave it.
    pub key: String,
    /// Which of them.
    pub scope: CircuitScope,
    /// After how many failures in a row it opens. Steps that ask for another threshold or another
    /// timeout pass a circuit of their own.
    pub failure_threshold: u32,
    /// How long it stays open before it lets a probe through.
    pub reset_timeout_ms: u64,
    /// `closed`, `open` or `half_open`.
    pub state: &'static str,
    /// Failures in a row.
    pub failures: u32,
    /// When it opened; `null` if it is closed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub opened_at: Option<Timestamp>,
    /// When it lets a probe through; `null` if it is closed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub retry_at: Option<Timestamp>,
    /// Until when the target asked to be left alone; `null` if it did not.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub cools_until: Option<Timestamp>,
}

/// `/health`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthReport {
    /// The worst of all checks.
    pub status: HealthStatus,
    /// The checks, by name.
    pub checks: std::collections::BTreeMap<String, HealthCheck>,
    /// Circuit breakers of this replica, the open ones first; at most 100.
    pub circuits: Vec<Circuit>,
    /// The server's version.
    pub version: &'static str,
    /// Time since the start, in milliseconds.
    pub uptime_ms: u64,
}

/// Percentiles of a duration, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
#[expect(missing_docs, reason = "the words that clients see")]
pub struct Latency {
    #[serde(rename = "p50Ms")]
    pub p50_ms: Option<f64>,
    #[serde(rename = "p95Ms")]
    pub p95_ms: Option<f64>,
}

/// `/health/checkpointer`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoreHealth {
    /// `sqlite`, `postgres` or `memory`.
    pub backend: &'static str,
    /// Whether what was acknowledged survives a power cut.
    pub durable: bool,
    /// The backend that stands in for the configured one, if one does.
    pub fallback: Option<&'static str>,
    /// How well it is.
    pub status: HealthStatus,
    /// Time to write a batch.
    pub save: Latency,
    /// Time to load a thread.
    pub load: Latency,
    /// Failed calls among the recent ones, 0 to 1.
    pub error_rate: f64,
}

/// Why something failed, for faces that show it.
pub type ThreadFailure = Failure;
