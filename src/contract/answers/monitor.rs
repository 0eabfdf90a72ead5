//! Active threads at a glance.

use serde::Serialize;
use utoipa::ToSchema;

use super::{CauseKind, ThreadItem};

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
    /// Most threads of one namespace that this replica drives at once; `driving` is up to an eighth
    /// more while other namespaces have places beyond.
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
