//! The filters of lists, and active threads at a glance.

use serde::Serialize;
use utoipa::ToSchema;

use crate::contract::ThreadItem;
use crate::explain::CauseKind;
use crate::model::{Namespace, Seq, ThreadId, ThreadStatus};

/// A filter for the list of threads.
#[derive(Debug, Clone, Default)]
pub struct ThreadQuery {
    /// Only threads of this namespace.
    pub namespace: Namespace,
    /// Only threads with this status.
    pub status: Option<ThreadStatus>,
    /// Only threads of this workflow.
    pub workflow: Option<String>,
    /// Only threads with these metadata members.
    pub metadata: Vec<(String, String)>,
    /// Only forks of this thread.
    pub forked_from: Option<ThreadId>,
    /// Items per page.
    pub limit: usize,
    /// A cursor of an earlier page; the runtime checks it and answers `Invalid` at `/cursor` if it
    /// is none.
    pub cursor: Option<String>,
}

/// A filter for the list of checkpoints.
#[derive(Debug, Clone, Default)]
pub struct CheckpointQuery {
    /// Only operations that start with this text.
    pub operation: Option<String>,
    /// Items per page.
    pub limit: usize,
    /// Only checkpoints below this number (the cursor).
    pub before: Option<Seq>,
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
