//! The status document.

use serde::Serialize;
use utoipa::ToSchema;

use crate::model::{
    Compensation, Failure, ForkPoint, Json, Seq, StepId, StepStatus, ThreadId, ThreadStatus,
    Timestamp,
};

/// A workflow by name and, if it was stored, version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct WorkflowName {
    /// Its name.
    pub name: String,
    /// Its version; `null` for one that stood in the request.
    pub version: Option<u32>,
}

/// How far a thread has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Progress {
    /// Steps that have ended.
    pub completed: u32,
    /// Steps in all.
    pub total: u32,
}

/// A step in the status document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepDocument {
    /// Its id.
    #[schema(value_type = String)]
    pub id: StepId,
    /// Its kind.
    pub kind: &'static str,
    /// Where it stands.
    pub status: StepStatus,
    /// Attempts made so far.
    pub attempts: u32,
    /// The agent session it ran in.
    pub session_id: Option<String>,
    /// When its first attempt began.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub completed_at: Option<Timestamp>,
    /// From its start to its end, in milliseconds.
    pub duration_ms: Option<u64>,
    /// Its output; left out with `?outputs=false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub output: Option<Json>,
    /// The output that its `check` has blocked and that a person is asked about; left out otherwise, and
    /// with `?outputs=false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub blocked_output: Option<Json>,
    /// Its last failure.
    pub error: Option<Failure>,
    /// Whether its fallback has taken over: what it does now, or its output, is the fallback's.
    /// Left out if not.
    #[serde(skip_serializing_if = "is_false")]
    #[schema(required = false)]
    pub fallback: bool,
    /// How far its compensation has come; left out where none was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compensation: Option<StepCompensation>,
    /// When its next attempt starts or its wait ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub wakes_at: Option<Timestamp>,
}

/// How far a step's compensation has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepCompensation {
    /// Where it stands: `pending` (to be tried again), `running`, `retrying`, `failed` or
    /// `compensated`.
    pub status: StepStatus,
    /// Attempts made so far.
    pub attempts: u32,
    /// Its last failure.
    pub error: Option<Failure>,
    /// When its next attempt starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub wakes_at: Option<Timestamp>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// `GET /status/{threadId}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusDocument {
    /// The thread.
    #[schema(value_type = String)]
    pub thread_id: ThreadId,
    /// What it executes.
    pub workflow: WorkflowName,
    /// Where it stands.
    pub status: ThreadStatus,
    /// Steps that run, retry or wait.
    #[schema(value_type = Vec<String>)]
    pub current_steps: Vec<StepId>,
    /// How far it has come.
    pub progress: Progress,
    /// Its steps, in the order of the workflow.
    pub steps: Vec<StepDocument>,
    /// Its input; left out with `?outputs=false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub input: Option<Json>,
    /// Its output (`null` until it has one); left out with `?outputs=false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub output: Option<Json>,
    /// Why it failed.
    pub error: Option<Failure>,
    /// What was undone and what is left; `null` where nothing was tried.
    pub compensation: Option<Compensation>,
    /// What the client attached.
    #[schema(value_type = Object)]
    pub metadata: Json,
    /// Takeovers after a replica was lost.
    pub recoveries: u32,
    /// Where its history comes from; left out of a thread that is no fork.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<ForkPoint>,
    /// The replica that drives it, if one does.
    pub owner: Option<String>,
    /// When it has failed if it has not ended by then (the workflow's `timeout`).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub deadline: Option<Timestamp>,
    /// When what still runs is cancelled: somebody has aborted the thread with a grace.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub aborts_at: Option<Timestamp>,
    /// The head of its journal.
    #[schema(value_type = u64)]
    pub last_seq: Seq,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When its last event happened.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub completed_at: Option<Timestamp>,
}

impl StatusDocument {
    /// The same document without inputs and outputs (`?outputs=false`).
    #[must_use]
    pub fn without_outputs(mut self) -> Self {
        self.input = None;
        self.output = None;
        for step in &mut self.steps {
            step.output = None;
            step.blocked_output = None;
        }
        self
    }
}
