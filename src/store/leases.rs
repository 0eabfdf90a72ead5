//! Leases of replicas, and how threads are claimed under them.

use std::time::Duration;

use async_trait::async_trait;

use crate::model::{Epoch, Incarnation, Namespace, Seq, ThreadId, Timestamp, named};

use super::Result;

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
    /// Untaken messages.
    pub mail: u32,
    /// How the previous owner was lost; `None` if nobody drove it, or nothing is known.
    pub lost: Option<Loss>,
    /// Whether the previous owner wrote to the thread, not only claimed it.
    pub driven: bool,
}

named!(
    /// How the lease of a lost incarnation ended.
    Loss {
        /// Its session with the database ended before its lease: the process is gone.
        SessionEnded = "session_ended",
        /// Its lease ran out while its session was open: the process is stalled.
        Frozen = "frozen",
        /// Its lease ran out, and nothing else is known.
        Silent = "silent",
    }
);

/// Leases of replicas, and claims of threads under them.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Registers a replica under a new incarnation with a lease of `ttl`.
    ///
    /// A store that only one process can open treats earlier leases as expired.
    async fn register(&self, name: &str, ttl: Duration) -> Result<Incarnation>;

    /// Extends a lease. `false`: it has expired or is gone; authority is lost.
    async fn renew(&self, me: Incarnation, ttl: Duration) -> Result<bool>;

    /// Ends a lease cleanly: all threads it drove get owner 0 and may be claimed at once.
    async fn retire(&self, me: Incarnation) -> Result<()>;

    /// Hands up to `limit` threads to `me`: first those of expired incarnations, so that an endless
    /// queue cannot delay them, then due ones that nobody drives. Each gets `owner = me` and
    /// `epoch + 1`. Lost ones also get `claims + 1` in the same statement, so that a loss counts
    /// even if it kills the replica that claims. An incarnation whose lease has expired gets
    /// nothing; a live one loses nothing.
    ///
    /// Threads of the namespaces in `except`, lost ones too, are left where they are. The store
    /// passes over all of them that are due, so such a claim costs more the more there are.
    async fn claim(
        &self,
        me: Incarnation,
        limit: usize,
        except: &[Namespace],
    ) -> Result<Vec<Claimed>>;

    /// The threads that `me` drives, with those of a claim whose answer was lost. `previous_owner`
    /// is 0; `mail` may be 1 where the number is unknown.
    async fn owned(&self, me: Incarnation) -> Result<Vec<Claimed>>;

    /// When the next thread that nobody drives is due, if any is.
    async fn next_wake(&self) -> Result<Option<Timestamp>>;

    /// How many threads are due and wait for a replica, counted up to `limit`.
    async fn queued(&self, limit: usize) -> Result<usize>;
}
