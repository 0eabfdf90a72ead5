//! What each kind of event says. The members' order and names are the wire form; journals that were
//! written stay readable for ever, so a new member is an optional one.

use serde::{Deserialize, Deserializer, Serialize};

use super::Compensation;
use crate::model::{Failure, Incarnation, Json, Seq, StepId, ThreadId, Timestamp};

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// A value that is there, be it `null`: beside `default` for one that is not.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

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
    /// What the client attached, an object.
    pub metadata: Json,
    /// Who started it: an API key's name, or `anonymous`.
    pub by: String,
    /// The named queue it was put in, if any.
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForkPoint {
    /// The other thread.
    #[schema(value_type = String)]
    pub thread_id: ThreadId,
    /// The last event that both have.
    #[schema(value_type = u64)]
    pub seq: Seq,
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
    /// Who did.
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

/// What comes before was taken over from another thread; from here on this one goes its own way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WorkflowForked {
    /// Who forked it.
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

/// An attempt of a step was decided; it is performed once this is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepStart {
    /// The step's kind, or that of its fallback.
    pub kind: String,
    /// Whether it is an attempt of the step's fallback; left out if it is not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fallback: bool,
    /// Who had it started now instead of when it was due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The step waits for a moment, without an attempt under way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepWaiting {
    /// What it waits for: `timer`, `signal`, `approval`, or `blocked`: a person's decision about its
    /// output.
    pub reason: String,
    /// Until when; `null` if for ever.
    pub until: Option<Timestamp>,
    /// The signal's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The output that its `check` has blocked: the step's, if a person accepts it.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub output: Option<Json>,
    /// How long the attempt took that gave this output, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// The agent session that this attempt ran in, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
}

/// Somebody sent the thread a signal. It is kept until a step takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalReceived {
    /// The signal's name.
    pub name: String,
    /// What was sent with it.
    pub payload: Json,
    /// Who did.
    pub by: String,
    /// Why, if it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An attempt failed and another will follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepRetry {
    /// Why the attempt failed.
    pub error: Failure,
    /// When the next one starts; drawn once, never computed again.
    pub retry_at: Timestamp,
    /// How long that is from now, in milliseconds.
    pub delay_ms: u64,
    /// Whether the step has used its attempts and its fallback takes over with the next one; left
    /// out if it does not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fallback: bool,
}

/// An attempt has run for longer than the step's `warnAfter`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepTimeoutWarning {
    /// How long it has run, in milliseconds.
    pub elapsed_ms: u64,
    /// After how long it will be ended, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// Whether it is an attempt of the step's compensation; left out if it is not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub compensation: bool,
}

/// The step ended with an output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepComplete {
    /// The output, exactly as the step gave it.
    pub output: Json,
    /// How long the attempt took, in milliseconds.
    pub duration_ms: u64,
    /// The agent session it ran in, if any.
    pub session_id: Option<String>,
    /// Whether the output is that of the step's fallback; left out if it is not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fallback: bool,
    /// Why the last attempt failed, where the output of a fallback stands in for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// The step used up its attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepFailed {
    /// Why the last attempt failed.
    pub error: Failure,
    /// Whether the thread goes on all the same (`continueOnError`).
    pub continued: bool,
    /// How long the last attempt took, in milliseconds.
    pub duration_ms: u64,
}

/// The step will not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepSkipped {
    /// `condition` if its `when` was false, `dependencies` if all it depends on was skipped; what a
    /// person gave as the reason, if one did it.
    pub reason: String,
    /// The person who did. What depends on the step runs then, and sees the output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The output that the person gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Json>,
}

/// A person put another output in the place of a completed step's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepEdited {
    /// The output from now on.
    pub output: Json,
    /// Who did.
    pub by: String,
    /// Why, if it was said.
    pub reason: Option<String>,
}

/// A person or a client set an ended or paused thread going again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowResumed {
    /// Who did.
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

/// Why another incarnation took a thread over, as far as the evidence tells.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryCause {
    /// The process that drove it has ended: its connection to the database is gone.
    Crashed,
    /// The process that drove it stands still: its lease ran out while its connection stayed open.
    Frozen,
    /// The replica that drove it let its lease run out, and nothing else is known of it.
    Disconnected,
    /// What is stored of the thread does not fit together.
    Corrupted,
    /// The replica that drove it was lost; how was not recorded (journals of version 0.1).
    ReplicaLost,
    /// The replica that drove it handed it over while a step was under way.
    Handover,
}

impl RecoveryCause {
    /// Every cause.
    pub const ALL: [Self; 6] = [
        Self::Crashed,
        Self::Frozen,
        Self::Disconnected,
        Self::Corrupted,
        Self::ReplicaLost,
        Self::Handover,
    ];

    /// The cause as events and metrics name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Crashed => "crashed",
            Self::Frozen => "frozen",
            Self::Disconnected => "disconnected",
            Self::Corrupted => "corrupted",
            Self::ReplicaLost => "replica_lost",
            Self::Handover => "handover",
        }
    }

    /// The cause of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == text)
    }

    /// Whether a replica was lost: what `recoveries` of the status counts.
    pub const fn is_loss(self) -> bool {
        !matches!(self, Self::Handover)
    }
}

/// How a thread was rebuilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryStrategy {
    /// From a snapshot and the journal after it.
    CheckpointRestore,
    /// From the whole journal.
    FullRebuild,
}

impl RecoveryStrategy {
    /// The strategy as events name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CheckpointRestore => "checkpoint_restore",
            Self::FullRebuild => "full_rebuild",
        }
    }

    /// The strategy of that name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::CheckpointRestore, Self::FullRebuild].into_iter().find(|way| way.as_str() == text)
    }
}

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

/// What an intervention is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InterventionKind {
    /// The thread was lost with its replica again and again: it may be what kills them.
    Poison,
    /// A step has used up its attempts, and the workflow says `"onFailure": "pause"`.
    Failure,
    /// A step of kind `approval` waits.
    Approval,
    /// A step's `check` has blocked its output.
    Blocked,
}

impl InterventionKind {
    /// The kind as events and lists name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Poison => "poison",
            Self::Failure => "failure",
            Self::Approval => "approval",
            Self::Blocked => "blocked",
        }
    }
}

/// The thread waits for a person's decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InterventionOpened {
    /// Its id, unique among all threads.
    pub id: String,
    /// What it is about.
    pub kind: InterventionKind,
    /// The steps that are concerned.
    pub steps: Vec<StepId>,
    /// What the person should know.
    pub prompt: String,
    /// What the person may choose.
    pub choices: Vec<String>,
    /// SHA-256, in hex, of the canonical JSON (RFC 8785) of what it is about: an approval's filled-in
    /// `with`, the output that was blocked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// When it is too late to decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What is chosen then; without it the step fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_timeout: Option<String>,
    /// When it is escalated if nobody has decided by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalates_at: Option<Timestamp>,
}

/// Nobody has decided for as long as the workflow has patience (`escalateAfter`). It says again what
/// is asked: whoever is told by this event has not seen the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InterventionEscalated {
    /// Which intervention.
    pub id: String,
    /// What it is about.
    pub kind: InterventionKind,
    /// The steps that are concerned.
    pub steps: Vec<StepId>,
    /// What the person should know.
    pub prompt: String,
    /// What the person may choose.
    pub choices: Vec<String>,
    /// Since when it waits.
    pub opened_at: Timestamp,
    /// When it is too late to decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// A person has decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterventionResolved {
    /// Which intervention.
    pub id: String,
    /// What was chosen; where something else settled it, a word for that (`resume`, `withdrawn`, …).
    pub choice: String,
    /// Who did.
    pub by: String,
    /// What was said about it.
    pub comment: Option<String>,
    /// The digest of what it was about, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// A person or a policy stopped the thread until it is resumed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowPaused {
    /// Who did: an API key's name, or `rethread` for a policy.
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
    /// What was undone; left out where nothing was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensation: Option<Compensation>,
}

/// A person stopped the thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowAborted {
    /// Who did.
    pub by: String,
    /// Why, if it was said.
    pub reason: Option<String>,
    /// What was undone; left out where nothing was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensation: Option<Compensation>,
}
