//! Interventions, recoveries and figures of threads.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::{
    Incarnation, InterventionKind, RecoveryCause, RecoveryStrategy, Seq, StepId, ThreadId,
    Timestamp,
};

/// Whether an intervention waits for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InterventionStatus {
    /// It waits.
    Open,
    /// Somebody has decided.
    Resolved,
}

/// What waits, or waited, for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Intervention {
    /// Its id.
    pub id: String,
    /// The thread that waits.
    #[schema(value_type = String)]
    pub thread_id: ThreadId,
    /// Name of the thread's workflow.
    pub workflow: String,
    /// What it is about.
    pub kind: InterventionKind,
    /// Whether it waits still.
    pub status: InterventionStatus,
    /// The steps that are concerned.
    #[schema(value_type = Vec<String>)]
    pub steps: Vec<StepId>,
    /// What the person should know.
    pub prompt: String,
    /// What the person may choose.
    pub choices: Vec<String>,
    /// SHA-256, in hex, of the canonical JSON (RFC 8785) of what it is about: an approval's `with` once
    /// its templates are filled in, or the output that a `check` has blocked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// When it is too late to decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// When it is escalated if nobody has decided by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub escalates_at: Option<Timestamp>,
    /// When it was escalated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub escalated_at: Option<Timestamp>,
    /// Since when it waits.
    #[schema(value_type = String, format = DateTime)]
    pub opened_at: Timestamp,
    /// When somebody decided.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub resolved_at: Option<Timestamp>,
    /// What was decided.
    pub choice: Option<String>,
    /// What was said about it.
    pub comment: Option<String>,
    /// Who decided.
    pub by: Option<String>,
    /// For whom, as he said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// The names and roles that may answer; left out if every operator may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<String>,
    /// Who may not: `starter` is whoever started the thread, or gave it other data since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_by: Option<String>,
}

/// One attempt to recover a thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryItem {
    /// Why it was necessary.
    pub cause: RecoveryCause,
    /// How the thread was rebuilt.
    pub strategy: Option<RecoveryStrategy>,
    /// `recovered`, `quarantined` or `failed`; `null` while it is under way, and for one that died
    /// with its replica.
    pub result: Option<&'static str>,
    /// What went wrong.
    pub detail: Option<String>,
    /// The head of the journal before it.
    #[schema(value_type = u64)]
    pub from_seq: Seq,
    /// The head of the journal once it was durable.
    #[schema(value_type = Option<u64>)]
    pub to_seq: Option<Seq>,
    /// The incarnation that drove the thread before; 0 is nobody.
    pub previous_owner: Incarnation,
    /// The replica that recovered it.
    pub replica: String,
    /// When the thread was claimed.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// From the claim to the end, in milliseconds.
    pub duration_ms: Option<u64>,
}

/// `GET /stats`: what happened in the last 24 hours, over all replicas.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// What the figures cover, in milliseconds; counts go by whole hours.
    pub window_ms: u64,
    /// Interventions of the threads that are kept.
    pub interventions: InterventionStats,
    /// Checkpoints.
    pub checkpoints: CheckpointStats,
    /// Recoveries, by cause and result.
    pub recoveries: Vec<RecoveryStats>,
    /// Calls of the database that were made again.
    pub storage: StorageStats,
}

/// How many interventions there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct InterventionStats {
    /// Those that wait for a person.
    pub open: u64,
    /// Those that were decided.
    pub resolved: u64,
}

/// How many checkpoints were made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointStats {
    /// All of them.
    pub total: u64,
    /// By what was done: the event's type, or `snapshot_` and the reason for one.
    pub by_kind: BTreeMap<String, u64>,
    /// Snapshots that were found damaged and passed over.
    pub bad_snapshots: u64,
}

/// Recoveries of one cause that ended one way.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryStats {
    /// Why they were necessary.
    pub cause: RecoveryCause,
    /// How they ended; `null` for those that are under way or died with their replica.
    pub result: Option<&'static str>,
    /// How many.
    pub count: u64,
    /// Their mean duration, in seconds.
    pub mean_seconds: Option<f64>,
}

/// How calls of the database that were made again went.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageStats {
    /// Calls made again.
    pub total_retries: u64,
    /// Calls that succeeded after at least one retry.
    pub succeeded: u64,
    /// Calls that were given up after retries.
    pub abandoned: u64,
    /// `succeeded` among those that ended, in percent; `null` if none did.
    pub retry_success_rate: Option<f64>,
}
