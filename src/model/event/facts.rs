//! Data of each kind of event about a thread, here and in the modules beside this one. The order and
//! the names of members are the wire form; journals that were written stay readable for ever, so a new
//! member is an optional one.

use serde::{Deserialize, Serialize};

use super::Compensation;
use super::steps::is_false;
use crate::model::named::named;
use crate::model::{Failure, Incarnation, Json, Seq, StepId, ThreadId, Timestamp};

/// Which definition a thread executes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowRef {
    /// The workflow's name.
    pub name: String,
    /// Its version if it was stored under its name, else `null`.
    pub version: Option<u32>,
    /// SHA-256 of the definition's text, in hex: the key under which the store keeps it.
    pub hash: String,
}

/// The thread was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowStart {
    /// The definition it executes.
    pub workflow: WorkflowRef,
    /// The input, exactly as it came.
    pub input: Json,
    /// The metadata of the client, an object.
    pub metadata: Json,
    /// The caller who started it: an API key's name, or `anonymous`.
    pub by: String,
    /// The named queue it was put in: only in journals of versions that took one and did nothing
    /// with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Its priority, if one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// W3C trace context of the invoke, handed on by every http attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// When it has failed if it has not ended by then: the workflow's `timeout`, from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// The thread whose history it begins with; all else is as it was said of that thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<ForkedFrom>,
}

/// A point of another thread's journal that a thread was forked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ForkPoint {
    /// The other thread.
    pub thread_id: ThreadId,
    /// The last event that both have.
    pub seq: Seq,
}

impl ForkPoint {
    /// The same point, in the namespace of the thread that was forked there.
    #[must_use]
    pub fn beside(self, thread: &ThreadId) -> Self {
        Self { thread_id: self.thread_id.beside(thread), ..self }
    }
}

/// Where a thread's history comes from, and who wanted it so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ForkedFrom {
    /// The other thread.
    pub thread_id: ThreadId,
    /// The last event that both have.
    pub seq: Seq,
    /// When.
    pub at: Timestamp,
    /// The caller who did.
    pub by: String,
    /// Why, if it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl ForkedFrom {
    /// The point alone.
    pub fn point(&self) -> ForkPoint {
        ForkPoint { thread_id: self.thread_id.clone(), seq: self.seq }
    }
}

/// The events before this one were taken over from another thread; this one goes its own way now.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WorkflowForked {
    /// The caller who forked it.
    pub by: String,
    /// Why, if it was said.
    pub reason: Option<String>,
    /// The steps whose attempts, or questions, were under way there and are made again here.
    pub steps: Vec<StepId>,
    /// The steps that run again because an output they depend on is another one here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub again: Vec<StepId>,
    /// The input of whatever still has to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Json>,
    /// Its own deadline: the workflow's `timeout` is counted anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
}

/// Somebody sent the thread a signal. It is kept until a step takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalReceived {
    /// The signal's name.
    pub name: String,
    /// The payload that was sent with it.
    pub payload: Json,
    /// The caller who did.
    pub by: String,
    /// Why, if it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A person or a client set an ended or paused thread going again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowResumed {
    /// The caller who did.
    pub by: String,
    /// Why, if it was said.
    pub reason: Option<String>,
    /// The step that is to run again, with all that comes after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_step: Option<StepId>,
    /// The input of whatever still has to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Json>,
    /// Its deadline from now on: the workflow's `timeout` is counted anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
}

named!(
    /// Why another incarnation took a thread over, as far as the evidence tells.
    RecoveryCause {
        /// The process that drove it has ended: its connection to the database is gone.
        Crashed = "crashed",
        /// The process that drove it stands still: its lease ran out while its connection stayed open.
        Frozen = "frozen",
        /// The replica that drove it let its lease run out, and nothing else is known of it.
        Disconnected = "disconnected",
        /// What is stored of the thread does not fit together.
        Corrupted = "corrupted",
        /// The replica that drove it was lost; how was not recorded (journals of version 0.1).
        ReplicaLost = "replica_lost",
        /// The replica that drove it handed it over while a step was under way.
        Handover = "handover",
    }
);

impl RecoveryCause {
    /// Whether a replica was lost: what `recoveries` of the status counts.
    pub const fn is_loss(self) -> bool {
        !matches!(self, Self::Handover)
    }
}

named!(
    /// How a thread was rebuilt.
    RecoveryStrategy {
        /// From a snapshot and the journal after it.
        CheckpointRestore = "checkpoint_restore",
        /// From the whole journal.
        FullRebuild = "full_rebuild",
    }
);

/// The thread goes on under another incarnation, from its last completed step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowRecovered {
    /// Why it had to.
    pub cause: RecoveryCause,
    /// How it was rebuilt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<RecoveryStrategy>,
    /// The incarnation that drove it before.
    pub previous_owner: Incarnation,
    /// The last event before the takeover.
    pub from_seq: Seq,
    /// The steps whose attempts were lost and are made again.
    pub steps: Vec<StepId>,
}

/// A person or a policy stopped the thread until it is resumed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowPaused {
    /// The caller who did: an API key's name, or `rethread` for a policy.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
    /// Where it is being aborted: when the attempts that still run are cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aborts_at: Option<Timestamp>,
    /// And whether what it has done is undone then; left out if not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub compensate: bool,
}

/// Every step ended well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowComplete {
    /// The thread's output.
    pub output: Json,
    /// How long the thread took from its start, in milliseconds.
    pub duration_ms: u64,
}

/// A step used up its attempts, no other attempt is under way, and what was to be undone is undone
/// or was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowFailed {
    /// Why.
    pub error: Failure,
    /// How long the thread took from its start, in milliseconds.
    pub duration_ms: u64,
    /// The steps that were undone; left out where none was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensation: Option<Compensation>,
}

/// A person stopped the thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowAborted {
    /// The caller who did.
    pub by: String,
    /// Why, if it was said.
    pub reason: Option<String>,
    /// The steps that were undone; left out where none was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensation: Option<Compensation>,
}
