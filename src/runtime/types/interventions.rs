//! The filter of the list of interventions.

use crate::contract::InterventionStatus;
use crate::model::{Namespace, ThreadId};

/// A filter for the list of interventions.
#[derive(Debug, Clone, Default)]
pub struct InterventionQuery {
    /// Only interventions of threads of this namespace.
    pub namespace: Namespace,
    /// Only interventions with this status.
    pub status: Option<InterventionStatus>,
    /// Only interventions of this thread.
    pub thread: Option<ThreadId>,
    /// Items per page.
    pub limit: usize,
    /// The `nextCursor` of the previous page.
    pub cursor: Option<String>,
}
