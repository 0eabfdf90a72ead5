//! Threads without their journals: their rows, lists of them, and their deletion.

use async_trait::async_trait;

use crate::model::{Epoch, Incarnation, Json, Namespace, Seq, ThreadId, ThreadStatus, Timestamp};

use super::{Ownership, Result, Summary};

/// A thread's row: everything known of it without reading its journal.
#[derive(Debug, Clone, PartialEq)]
pub struct ThreadRow {
    /// The thread.
    pub thread_id: ThreadId,
    /// Name of its workflow.
    pub workflow: String,
    /// Version of its workflow, if it is a stored one.
    pub workflow_version: Option<u32>,
    /// Hash of its definition ([`super::Definitions::definition`]).
    pub definition: String,
    /// Hash of the client's request, to tell a repeat from a conflict.
    pub request_hash: String,
    /// The client's metadata.
    pub metadata: Json,
    /// The incarnation that drives it; 0 is nobody.
    pub owner: Incarnation,
    /// Its fence.
    pub epoch: Epoch,
    /// The head of its journal.
    pub last_seq: Seq,
    /// How often it was taken from a lost replica since its last progress.
    pub claims: u32,
    /// When it wants to be claimed; `None` if nothing but a message should wake it.
    pub wake_at: Option<Timestamp>,
    /// Derived state, kept for lists.
    pub summary: Summary,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When its last event was written.
    pub updated_at: Timestamp,
}

/// Which threads a list wants.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ThreadFilter {
    /// Threads of this namespace alone.
    pub namespace: Namespace,
    /// Only this status.
    pub status: Option<ThreadStatus>,
    /// Only this workflow name.
    pub workflow: Option<String>,
    /// Only threads whose metadata has these scalar members (compared as text).
    pub metadata: Vec<(String, String)>,
    /// Only threads older than this one: (created at, thread id) of the last item seen.
    pub before: Option<(Timestamp, ThreadId)>,
}

/// Rows of threads.
#[async_trait]
pub trait Threads: Send + Sync {
    /// A thread's row.
    async fn thread(&self, thread: &ThreadId) -> Result<Option<ThreadRow>>;

    /// Threads, newest first, at most `limit`.
    async fn threads(&self, filter: &ThreadFilter, limit: usize) -> Result<Vec<ThreadRow>>;

    /// The name of the replica that drives a thread, if one does: an owner whose lease has expired
    /// does not.
    async fn owner(&self, thread: &ThreadId) -> Result<Option<String>>;

    /// A thread's owner and place in the queue; `None` if there is no such thread.
    async fn ownership(&self, thread: &ThreadId) -> Result<Option<Ownership>>;

    /// The thread started under an idempotency key ([`super::IdempotencyKey::key`]) in the last 24 h, with its
    /// request's hash.
    async fn by_idempotency_key(&self, key: &str) -> Result<Option<(ThreadId, String)>>;

    /// Durations of the newest completed threads of a workflow of a namespace, in milliseconds, at most
    /// `limit`. Forks, which have [`super::FORK_LABEL`] and begin in the middle, are left out.
    async fn durations(
        &self,
        namespace: &Namespace,
        workflow: &str,
        limit: usize,
    ) -> Result<Vec<u64>>;
}

/// Deletion of threads that have ended.
#[async_trait]
pub trait Retention: Send + Sync {
    /// Deletes a thread that nobody drives, whose status is terminal and whose journal ends at `head`
    /// (wherever, if absent). `false`: it is not so. Nothing of it is shown from then on; rows of a large
    /// one are left to [`Retention::sweep`], and its id to nobody until they are gone.
    async fn delete(&self, thread: &ThreadId, head: Option<Seq>) -> Result<bool>;

    /// Deletes up to `limit` terminal threads last written before `before` of which everything was
    /// sent to those who subscribed to it, and idempotency keys older than 24 h; returns how many
    /// threads: none only if there are none left that can be deleted. One that cannot be deleted is
    /// named in the log and does not keep the others.
    async fn expire(&self, before: Timestamp, limit: usize) -> Result<usize>;

    /// Removes the rows that large threads left when they were deleted, part by part.
    async fn sweep(&self) -> Result<()>;

    /// Gives a part of the room that deletions have left back to the disk, without holding up other
    /// calls for long; returns whether more of it can be given back at once.
    async fn shrink(&self) -> Result<bool> {
        Ok(false)
    }
}
