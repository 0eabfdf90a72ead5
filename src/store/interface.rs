//! A store as the runtime holds it: the sum of the traits by noun, and the store's own affairs.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    Audits, Definitions, Hints, Inbox, Interventions, Journal, Leases, Notices, Presence,
    Recoveries, Result, Retention, Snapshots, Suspects, Tallies, Threads,
};

/// The properties of a store, for health and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreInfo {
    /// `sqlite`, `postgres` or `memory`.
    pub backend: &'static str,
    /// Whether what was acknowledged survives a power cut.
    pub durable: bool,
    /// The number of batches that may be written side by side.
    pub writers: usize,
}

/// The disk of a store that lives on this machine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Size of its write-ahead log, in bytes.
    pub log_bytes: u64,
    /// Free space for this process, in bytes.
    pub free_bytes: u64,
}

/// The calls of a store. Every call may fail with [`super::StoreError::Unavailable`].
#[async_trait]
pub trait Store:
    Journal
    + Threads
    + Leases
    + Inbox
    + Definitions
    + Snapshots
    + Recoveries
    + Suspects
    + Interventions
    + Tallies
    + Presence
    + Hints
    + Notices
    + Audits
    + Retention
    + std::fmt::Debug
{
    /// The properties of this store.
    fn info(&self) -> StoreInfo;

    /// The disk as it was a heartbeat ago at the most; `None` if it is not this machine's. Never waits
    /// for the disk.
    fn disk(&self) -> Option<Disk> {
        None
    }

    /// Resolves when the store cannot vouch for its disk any more: a write may be lost although a second
    /// try would succeed, or the file's name leads to another file or to none. The process must end; a
    /// new one reads the file as it is.
    async fn failed(&self) {
        std::future::pending::<()>().await;
    }

    /// Whether the store answers; a cheap round trip.
    async fn ping(&self) -> Result<()>;

    /// Whether the store answers, is not read-only, and has room for what is written; by a trial that
    /// leaves nothing, which costs more than [`Self::ping`].
    async fn takes_writes(&self) -> Result<()> {
        self.ping().await
    }

    /// A random value of 32 bytes that all replicas share and that survives restarts; made from
    /// `candidate` by the first who asks.
    async fn shared_secret(&self, name: &str, candidate: [u8; 32]) -> Result<[u8; 32]>;

    /// The same store over connections for what readers are shown, which nothing else uses, and their
    /// number; `None` if it has no connections.
    fn for_readers(&self) -> Option<(Arc<dyn Store>, usize)> {
        None
    }

    /// Ends the store's connections.
    async fn close(&self);
}
