//! Threads, checkpoints and workflows in lists.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Progress, WorkflowName};
use crate::model::{ForkPoint, Json, Seq, StepId, ThreadId, ThreadStatus, Timestamp};

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
