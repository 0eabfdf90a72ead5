//! How two threads differ.

use serde::Serialize;
use utoipa::ToSchema;

use super::WorkflowName;
use crate::model::{
    Failure, ForkPoint, Json, Seq, StepId, StepStatus, ThreadId, ThreadStatus, Timestamp,
};

/// How two threads differ.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ThreadDiff {
    /// The first thread.
    pub a: DiffedThread,
    /// The second one.
    pub b: DiffedThread,
    /// Whether both execute the very same definition.
    pub same_workflow: bool,
    /// The last event up to which both journals say the same; 0 if not even the first does.
    #[schema(value_type = u64)]
    pub common_up_to: Seq,
    /// Where they part; `null` if both say the same up to their ends.
    pub first_divergence: Option<Divergence>,
    /// Every step of either workflow, in the order of the first.
    pub steps: Vec<StepDiff>,
    /// The threads' outputs.
    pub output: OutputDiff,
}

/// One of two threads that are compared.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DiffedThread {
    /// The thread.
    #[schema(value_type = String)]
    pub thread_id: ThreadId,
    /// What it executes.
    pub workflow: WorkflowName,
    /// Where it stands.
    pub status: ThreadStatus,
    /// The last event that was compared: the head of its journal.
    #[schema(value_type = u64)]
    pub last_seq: Seq,
    /// Where its history comes from, if it is a fork.
    pub forked_from: Option<ForkPoint>,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub completed_at: Option<Timestamp>,
    /// From its start to its end, in milliseconds.
    pub duration_ms: Option<u64>,
    /// Why it failed.
    pub error: Option<Failure>,
}

/// The first events that do not say the same.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Divergence {
    /// Their number.
    #[schema(value_type = u64)]
    pub seq: Seq,
    /// What the first thread says; `null` if its journal ends before.
    pub a: Option<DiffedEvent>,
    /// What the second one says.
    pub b: Option<DiffedEvent>,
}

/// An event, its data left out if they are large.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DiffedEvent {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its number within the thread.
    #[schema(value_type = u64)]
    pub seq: Seq,
    /// The step it happened in.
    #[schema(value_type = Option<String>)]
    pub step_id: Option<StepId>,
    /// The attempt it happened in.
    pub attempt: Option<u32>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The rest; `null` if it is larger than 16 KiB.
    #[schema(value_type = Option<Object>)]
    pub data: Option<Json>,
    /// How many bytes that has.
    pub data_bytes: usize,
    /// Their SHA-256, in hex.
    pub data_sha256: String,
}

/// How a step differs.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepDiff {
    /// The step.
    #[schema(value_type = String)]
    pub step_id: StepId,
    /// What is not the same: `kind`, `status`, `attempts`, `output`, `error`; or `missing` alone, if
    /// one of the workflows has no such step.
    pub changed: Vec<&'static str>,
    /// The step in the first thread.
    pub a: Option<DiffedStep>,
    /// The step in the second one.
    pub b: Option<DiffedStep>,
    /// How much longer it took in the second thread, in milliseconds; `null` unless it ended in both.
    pub delta_ms: Option<i64>,
}

/// A step of one of two threads.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DiffedStep {
    /// Its kind.
    pub kind: &'static str,
    /// Where it stands.
    pub status: StepStatus,
    /// Attempts made so far.
    pub attempts: u32,
    /// When its first attempt began.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub completed_at: Option<Timestamp>,
    /// From its start to its end, in milliseconds.
    pub duration_ms: Option<u64>,
    /// Its last failure.
    pub error: Option<Failure>,
    /// Its output.
    #[serde(flatten)]
    pub output: DiffedOutput,
}

/// An output. It is left out if it is larger than 16 KiB, or if those before it have 1 MiB.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DiffedOutput {
    /// The output; `null` if there is none, or if it is left out.
    #[schema(value_type = Option<serde_json::Value>)]
    pub output: Option<Json>,
    /// How many bytes it has; `null` if there is none.
    pub output_bytes: Option<usize>,
    /// Their SHA-256, in hex.
    pub output_sha256: Option<String>,
}

/// How the outputs of two threads differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct OutputDiff {
    /// Whether they are not the same.
    pub changed: bool,
    /// That of the first thread.
    pub a: DiffedOutput,
    /// That of the second one.
    pub b: DiffedOutput,
}
