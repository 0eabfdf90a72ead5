//! The filters of lists.

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
