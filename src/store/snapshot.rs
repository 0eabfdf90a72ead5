//! Snapshots: a thread's state as of one event, so that not all of its journal has to be read.
//!
//! A cache: each may be deleted at any time, and a store interprets none of it. Written by
//! `runtime::snapshots`, read by `runtime::load`.

use async_trait::async_trait;

use crate::model::{Seq, ThreadId, Timestamp, named};

use super::Result;

/// Snapshots kept of one thread: the newest, and two to fall back on should it be damaged.
pub const SNAPSHOTS_KEPT: usize = 3;

named!(
    /// Why a snapshot was made.
    SnapshotKind {
        /// The journal since the last one had grown long enough.
        Periodic = "periodic",
        /// The thread was paused.
        Pause = "pause",
        /// The thread is about to be recovered.
        Recovery = "recovery",
    }
);

/// A thread's state as of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The thread.
    pub thread_id: ThreadId,
    /// The last event that is in it.
    pub seq: Seq,
    /// Why it was made.
    pub kind: SnapshotKind,
    /// Version of its format.
    pub version: u32,
    /// When it was made.
    pub at: Timestamp,
    /// SHA-256 of `state`, in hex, as it was written. The store does not check it: whoever reads
    /// the snapshot does.
    pub sha256: String,
    /// The state, as canonical JSON.
    pub state: String,
}

/// Snapshots of threads.
#[async_trait]
pub trait Snapshots: Send + Sync {
    /// Keeps a snapshot of a thread that exists, in place of one of the same `seq`, and the
    /// [`super::SNAPSHOTS_KEPT`] newest of the thread alone. They go when the thread goes.
    async fn save_snapshot(&self, snapshot: &Snapshot) -> Result<()>;

    /// The newest snapshot of a thread, of those that go no further than `until`.
    async fn snapshot(&self, thread: &ThreadId, until: Option<Seq>) -> Result<Option<Snapshot>>;
}
