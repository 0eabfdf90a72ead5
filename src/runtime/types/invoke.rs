//! Requests of faces that start a thread or control one.

use std::time::Duration;

use crate::model::{Json, Namespace, Role, Seq, StepId, ThreadId, ThreadStatus};

/// The source of a workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkflowSource {
    /// The definition is part of the request.
    Inline(Json),
    /// A stored definition, by name and perhaps version.
    Stored {
        /// The workflow's name.
        name: String,
        /// The version; the newest if absent.
        version: Option<u32>,
    },
}

/// A request to start (or continue) a thread.
#[derive(Debug, Clone)]
pub struct Invoke {
    /// The namespace of the thread, its workflow and its idempotency key: the caller's own.
    pub namespace: Namespace,
    /// The workflow to run; may be absent when `thread_id` names an existing thread.
    pub workflow: Option<WorkflowSource>,
    /// The input; absent reads as `null`, or as "the same" for an existing thread.
    pub input: Option<Json>,
    /// The thread's id, if the client chose one; it always belongs to `namespace`, whatever it
    /// says.
    pub thread_id: Option<ThreadId>,
    /// An object the client attached.
    pub metadata: Option<Json>,
    /// A named queue, recorded with the thread.
    pub queue: Option<String>,
    /// −100 to 100: a thread that waits for a replica is served as if it had waited that many
    /// seconds longer.
    pub priority: Option<i32>,
    /// An idempotency key: requests that repeat it within 24 h lead to one thread.
    pub idempotency_key: Option<String>,
    /// The caller: an API key's name, or `anonymous`.
    pub by: String,
    /// The caller's role; `None` where nobody needs a key.
    pub role: Option<Role>,
    /// The W3C trace context of the request (`traceparent`), passed on by every http attempt.
    pub traceparent: Option<String>,
}

/// The answer to [`Invoke`], and to the control calls.
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

/// The actor who changes a thread, the reason, and the version that the change is based on.
#[derive(Debug, Clone, Default)]
pub struct Control {
    /// An API key's name; where nobody needs one, the name that the request gave, or `anonymous`.
    pub by: String,
    /// The person on whose behalf the caller acts, as the request says.
    pub on_behalf_of: Option<String>,
    /// The role of the key; `None` where nobody needs one.
    pub role: Option<Role>,
    /// The reason, if one was given.
    pub reason: Option<String>,
    /// The version the caller saw (`If-Match`).
    pub if_match: Option<Seq>,
    /// An idempotency key: requests that repeat it are one command.
    pub idempotency_key: Option<String>,
}

/// The options of a resume.
#[derive(Debug, Clone, Default)]
pub struct ResumeHow {
    /// The step to run again, with every step after it.
    pub from_step: Option<StepId>,
    /// The steps to skip.
    pub skip: Vec<StepId>,
    /// The input for the steps that still have to run.
    pub input: Option<Json>,
}

/// The options of an abort.
#[derive(Debug, Clone, Copy, Default)]
pub struct AbortHow {
    /// How long attempts under way may still take to end by themselves.
    pub grace: Duration,
    /// Whether the completed steps are compensated.
    pub compensate: bool,
}

/// The options of a fork.
#[derive(Debug, Clone, Default)]
pub struct ForkHow {
    /// The last event that both threads share.
    pub at_seq: Seq,
    /// The fork's id, if the client chose one; it always belongs to the other thread's namespace,
    /// whatever it says.
    pub thread_id: Option<ThreadId>,
    /// The input for the steps that still have to run.
    pub input: Option<Json>,
    /// Outputs that replace those of completed steps.
    pub edits: Vec<(StepId, Json)>,
}

/// A change to one step.
#[derive(Debug, Clone)]
pub enum StepChange {
    /// Start its next attempt now.
    Retry,
    /// Skip it.
    Skip {
        /// The output that its dependants see; `null` if absent.
        output: Option<Json>,
    },
    /// Replace its output.
    Edit {
        /// The new output.
        output: Json,
    },
}
