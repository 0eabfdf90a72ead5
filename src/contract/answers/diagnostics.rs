//! The shape of a support bundle.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Checkpoint, HealthReport, StatusDocument, StoreHealth, WorkflowName};
use crate::model::{Epoch, Failure, Incarnation, Json, Seq, ThreadId, Timestamp};

/// Everything that support wants to see of one thread: bounded, and without secrets.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Diagnostics {
    /// The thread.
    #[schema(value_type = String)]
    pub thread_id: ThreadId,
    /// When this was put together, by the clock of the store.
    #[schema(value_type = String, format = DateTime)]
    pub generated_at: Timestamp,
    /// What could not be put in, and why; empty for a thread and a store in order.
    pub problems: Vec<String>,
    /// The thread as it stands, without inputs and outputs; `null` if it cannot be rebuilt.
    pub status: Option<StatusDocument>,
    /// What the store keeps beside the journal.
    pub thread: ThreadFacts,
    /// Its workflow.
    pub workflow: DiagnosedWorkflow,
    /// The newest events, in order, at most 200. Of one larger than 16 KiB all but `data` is shown,
    /// and in its place `dataBytes`.
    #[schema(value_type = Vec<Object>)]
    pub events: Vec<Json>,
    /// Events before those.
    pub earlier_events: u64,
    /// The newest checkpoints, newest first, at most 10.
    pub checkpoints: Vec<Checkpoint>,
    /// The newest failures, newest first, at most 20.
    pub failures: Vec<PastFailure>,
    /// The replica that answers.
    pub replica: DiagnosedReplica,
}

/// What the store keeps of a thread beside its journal.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ThreadFacts {
    /// The registration that owns it; 0 is nobody.
    #[schema(value_type = i64)]
    pub owner_incarnation: Incarnation,
    /// The name of the replica that drives it, if its lease holds.
    pub owner: Option<String>,
    /// Whether the replica that answers drives it.
    pub driven_here: bool,
    /// How often it was handed to a replica.
    #[schema(value_type = i64)]
    pub epoch: Epoch,
    /// How often it was taken from a lost replica since it last got on.
    pub claims: u32,
    /// The head of its journal.
    #[schema(value_type = u64)]
    pub last_seq: Seq,
    /// When it wants to be claimed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub wake_at: Option<Timestamp>,
    /// Time since its last event, in milliseconds.
    pub idle_ms: u64,
    /// Why it looks stuck, if it does.
    pub stuck: Option<String>,
}

/// The workflow of a thread.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DiagnosedWorkflow {
    /// Its name and version.
    #[serde(flatten)]
    pub name: WorkflowName,
    /// SHA-256 of its text.
    pub hash: String,
    /// The definition that the thread runs; `null` if it is lost.
    #[schema(value_type = Option<Object>)]
    pub definition: Option<Json>,
}

/// A failure that was recorded.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PastFailure {
    /// The event that recorded it.
    #[schema(value_type = u64)]
    pub seq: Seq,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// That event's type.
    pub operation: String,
    /// The failure.
    pub error: Failure,
}

/// The replica that answers.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DiagnosedReplica {
    /// Its name.
    pub name: String,
    /// Its health, with its version.
    pub health: HealthReport,
    /// Its store.
    pub store: StoreHealth,
    /// The limits in force.
    pub limits: EffectiveLimits,
}

/// The limits in force on a replica. Keys, secrets and the database's address are no limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveLimits {
    /// How long a silent replica keeps its threads, in milliseconds.
    pub lease_ms: u64,
    /// Threads driven at once.
    pub max_running: usize,
    /// Threads that may wait.
    pub max_queued: usize,
    /// After how long without an event a thread looks stuck, in milliseconds.
    pub stale_after_ms: u64,
    /// After how long threads that have ended are deleted, in milliseconds.
    pub retention_ms: u64,
    /// What running steps get to end at shutdown, in milliseconds.
    pub shutdown_grace_ms: u64,
    /// Largest event, in bytes.
    pub max_event_bytes: usize,
}
