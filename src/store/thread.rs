//! Threads without their journals: rows, claims, and which of them a list wants.

use crate::model::{Epoch, Incarnation, Json, Namespace, Seq, ThreadId, ThreadStatus, Timestamp};

use super::{Loss, Summary};

/// A thread's row: everything known of it without reading its journal.
#[derive(Debug, Clone, PartialEq)]
pub struct ThreadRow {
    /// The thread.
    pub thread_id: ThreadId,
    /// Name of its workflow.
    pub workflow: String,
    /// Version of its workflow, if it is a stored one.
    pub workflow_version: Option<u32>,
    /// Hash of its definition ([`super::Store::definition`]).
    pub definition: String,
    /// Hash of what the client asked for, to tell a repeat from a conflict.
    pub request_hash: String,
    /// What the client attached.
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

/// A thread that a claim handed to this incarnation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The thread.
    pub thread_id: ThreadId,
    /// Its new fence: every write must carry it.
    pub epoch: Epoch,
    /// The head of its journal.
    pub last_seq: Seq,
    /// How often it was taken from a lost replica since its last progress, this claim included.
    pub claims: u32,
    /// The expired incarnation it was taken from; 0 if nobody drove it.
    pub previous_owner: Incarnation,
    /// Messages in its inbox.
    pub mail: u32,
    /// How the previous owner was lost; `None` if nobody drove it, or nothing is known.
    pub lost: Option<Loss>,
    /// Whether the previous owner wrote anything of it: one that did not had only claimed it.
    pub driven: bool,
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
