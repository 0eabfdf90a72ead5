//! What is known against threads that were lost with their replicas, and the deaths of replicas.
//!
//! Evidence, not state: it decides how carefully a thread is started again, and no thread needs it.
//! The store does not read a body. Written and read by `runtime::claim`.

use async_trait::async_trait;

use crate::model::{Incarnation, Json, ThreadId, Timestamp};

use super::Result;

/// A thread that was lost with a replica and has not got on since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuspectRow {
    /// The thread.
    pub thread_id: ThreadId,
    /// The incarnation that it was last lost with; 0: none.
    pub lost_with: Incarnation,
    /// The incarnation that loads or drives it; 0: none does.
    pub exposed_to: Incarnation,
    /// All that is known.
    pub body: Json,
}

/// A registration of a replica that was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    /// The incarnation.
    pub incarnation: Incarnation,
    /// Its last sign of life.
    pub seen_at: Timestamp,
}

/// Evidence about threads that were lost with their replicas.
#[async_trait]
pub trait Suspects: Send + Sync {
    /// The rows of these threads, as far as they have one.
    async fn suspects(&self, threads: &[ThreadId]) -> Result<Vec<SuspectRow>>;

    /// The rows of threads that were lost with this incarnation, or are exposed to it.
    async fn suspects_of(&self, incarnation: Incarnation) -> Result<Vec<SuspectRow>>;

    /// Writes rows, each in the place of an earlier one. They go when the thread goes.
    async fn keep_suspects(&self, rows: &[SuspectRow]) -> Result<()>;

    /// Deletes the rows of these threads.
    async fn forget_suspects(&self, threads: &[ThreadId]) -> Result<()>;

    /// The replicas that were lost, not retired, and were seen at `since` or later; in no order.
    async fn deaths(&self, since: Timestamp) -> Result<Vec<Death>>;
}
