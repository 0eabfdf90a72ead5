//! Leases of replicas, and how threads are claimed under them.

use std::time::Duration;

use async_trait::async_trait;

use crate::model::{Epoch, Incarnation, Seq, ThreadId, Timestamp};

use super::StoreError;

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

/// How the lease of a lost incarnation came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Its session with the database ended before its lease: the process is gone.
    SessionEnded,
    /// Its lease ran out while its session was open: the process stands still.
    Frozen,
    /// Its lease ran out, and nothing else is known.
    Silent,
}

impl Loss {
    /// The name it is stored under.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SessionEnded => "session_ended",
            Self::Frozen => "frozen",
            Self::Silent => "silent",
        }
    }

    /// The loss of this name, if there is one.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::SessionEnded, Self::Frozen, Self::Silent]
            .into_iter()
            .find(|loss| loss.as_str() == name)
    }
}

/// Leases of replicas, and claims of threads under them.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Registers a replica under a new incarnation with a lease of `ttl`.
    ///
    /// A store that only one process can open takes every earlier lease for expired.
    async fn register(&self, name: &str, ttl: Duration) -> Result<Incarnation, StoreError>;

    /// Prolongs a lease that has not expired. `false`: it has, or is gone; authority is lost.
    async fn renew(&self, me: Incarnation, ttl: Duration) -> Result<bool, StoreError>;

    /// Ends a lease in good order: all threads it drove get owner 0 and may be claimed at once.
    async fn retire(&self, me: Incarnation) -> Result<(), StoreError>;

    /// Hands up to `limit` threads to `me`: those of expired incarnations, then due ones that nobody
    /// drives (a queue that never ends must not keep lost threads waiting). Each gets `owner = me`
    /// and `epoch + 1`, and those of expired incarnations `claims + 1` in the same statement: only so
    /// are losses counted that kill whoever counts. Nothing is handed out to an incarnation whose own
    /// lease has expired, and nothing is taken from a live one.
    async fn claim(&self, me: Incarnation, limit: usize) -> Result<Vec<Claimed>, StoreError>;

    /// The threads that `me` drives, as it claimed or started them (`previous_owner` is 0, and
    /// `mail` may be 1 where that is not known): what an answer to a claim that never arrived held.
    async fn owned(&self, me: Incarnation) -> Result<Vec<Claimed>, StoreError>;

    /// When the next thread that nobody drives wants to be claimed, if any does.
    async fn next_wake(&self) -> Result<Option<Timestamp>, StoreError>;

    /// How many threads are due and wait for a replica, counted up to `limit`.
    async fn queued(&self, limit: usize) -> Result<usize, StoreError>;
}
