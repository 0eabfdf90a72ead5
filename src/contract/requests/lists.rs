//! Which items of a list are wanted.

use utoipa::IntoParams;

use crate::contract::InterventionStatus;
use crate::model::{Seq, ThreadId, ThreadStatus, Timestamp};

/// Which threads to list.
#[derive(Debug, Clone, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ThreadQuery {
    /// Only threads of this status.
    pub status: Option<ThreadStatus>,
    /// Only threads of this workflow.
    pub workflow: Option<String>,
    /// Only forks of this thread.
    #[param(value_type = Option<String>, rename = "forkedFrom")]
    pub forked_from: Option<ThreadId>,
    /// Only threads whose metadata has this member; `KEY` stands for its name, and the parameter
    /// may be given for up to 8.
    #[param(value_type = Option<String>, rename = "metadata.KEY")]
    pub metadata: Vec<(String, String)>,
    /// Items per page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 50)]
    pub limit: usize,
    /// The `nextCursor` of the page before.
    pub cursor: Option<String>,
}

/// Which interventions to list.
#[derive(Debug, Clone, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct InterventionQuery {
    /// Only those that wait (`open`), or that were decided (`resolved`).
    pub status: Option<InterventionStatus>,
    /// Only those of this thread.
    #[param(value_type = Option<String>, rename = "threadId")]
    pub thread_id: Option<ThreadId>,
    /// Items per page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 50)]
    pub limit: usize,
    /// The `nextCursor` of the page before.
    pub cursor: Option<String>,
}

/// Which checkpoints to list.
#[derive(Debug, Clone, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CheckpointQuery {
    /// Only checkpoints whose operation starts with this.
    pub operation: Option<String>,
    /// Items per page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 10)]
    pub limit: usize,
    /// The `nextCursor` of the page before.
    #[param(value_type = Option<String>)]
    pub cursor: Option<Seq>,
}

/// Which entries to list.
#[derive(Debug, Clone, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only those that happened then or later: a time in RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Only what this key did; `anonymous` is whoever had none.
    pub by: Option<String>,
    /// Only this action, such as `refused`.
    pub action: Option<String>,
    /// Items per page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 50)]
    pub limit: usize,
    /// The `nextCursor` of the page before.
    pub cursor: Option<String>,
}
