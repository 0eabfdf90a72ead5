//! The record of recoveries: one row for each claim of a thread whose replica was lost or handed it
//! over with a step under way, or that cannot be rebuilt; written before the thread is rebuilt and
//! completed afterwards.
//!
//! Statistics and evidence, not state: the journal's `workflow_recovered` says what happened to the
//! thread. A row that is never completed tells of a recovery that died with its replica. Written and
//! read by `runtime::recoveries`.

use async_trait::async_trait;

use crate::model::{
    Epoch, Incarnation, Namespace, RecoveryCause, RecoveryStrategy, Seq, ThreadId, Timestamp, named,
};

use super::Result;

/// One attempt to recover a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The thread.
    pub thread_id: ThreadId,
    /// The fence of the claim: unique within the thread.
    pub epoch: Epoch,
    /// Why it was necessary.
    pub cause: RecoveryCause,
    /// The incarnation that drove the thread before.
    pub previous_owner: Incarnation,
    /// Name of the replica that recovers.
    pub replica: String,
    /// The head of the journal that was found.
    pub from_seq: Seq,
    /// When the thread was claimed.
    pub started_at: Timestamp,
    /// How it ended, once it has.
    pub end: Option<RecoveryEnd>,
}

/// How an attempt to recover ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryEnd {
    /// How the thread was rebuilt; `None` if it could not be.
    pub strategy: Option<RecoveryStrategy>,
    /// The head of the journal once the recovery was durable.
    pub to_seq: Option<Seq>,
    /// From the claim to that, in milliseconds.
    pub duration_ms: u64,
    /// How it ended.
    pub result: RecoveryResult,
    /// The failure.
    pub detail: Option<String>,
}

named!(
    /// How an attempt to recover ended.
    RecoveryResult {
        /// The thread goes on.
        Recovered = "recovered",
        /// The thread was paused: it may be what kills its replicas.
        Quarantined = "quarantined",
        /// The thread could not be rebuilt; it is tried again later.
        Failed = "failed",
    }
);

/// Recoveries of one cause that ended one way.
#[derive(Debug, Clone, PartialEq)]
pub struct RecoveryCount {
    /// Their cause.
    pub cause: RecoveryCause,
    /// How they ended; `None` for those that never did.
    pub result: Option<RecoveryResult>,
    /// How many.
    pub count: u64,
    /// Their mean duration, in milliseconds.
    pub mean_ms: Option<f64>,
}

/// The record of recoveries.
#[async_trait]
pub trait Recoveries: Send + Sync {
    /// Records attempts to recover threads, before they are made. They go when the thread goes.
    async fn begin_recoveries(&self, recoveries: &[Recovery]) -> Result<()>;

    /// Records how an attempt to recover a thread ended.
    async fn end_recovery(&self, thread: &ThreadId, epoch: Epoch, end: &RecoveryEnd) -> Result<()>;

    /// Attempts to recover a thread, newest first, at most `limit`, of those with a lower epoch
    /// than `before`.
    async fn recoveries(
        &self,
        thread: &ThreadId,
        before: Option<Epoch>,
        limit: usize,
    ) -> Result<Vec<Recovery>>;

    /// Counts attempts to recover threads of a namespace that began at `since` or later, by cause and
    /// result.
    async fn recovery_counts(
        &self,
        namespace: &Namespace,
        since: Timestamp,
    ) -> Result<Vec<RecoveryCount>>;
}
