//! What faces ask of threads: to start one, and to control it.

use std::time::Duration;

use crate::model::{Json, Namespace, Role, Seq, StepId, ThreadId, ThreadStatus};

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
