//! The failures of a store, one for each thing that a caller does next.

use crate::model::ThreadId;

/// The result of a store's call.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// A store's failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Not now: connection lost, out of connections, lock timeout. Try again later; whether a write
    /// landed is not known.
    #[error("storage is unavailable: {0}")]
    Unavailable(String),
    /// The store reads and takes no writes: a standby, or a database that was set so. The write has not
    /// landed. Try again later.
    #[error("storage is read-only: {0}")]
    ReadOnly(String),
    /// The store's disk has no room for the write, which has not landed. Try again later.
    #[error("storage is full: {0}")]
    Full(String),
    /// The stored bytes are not what was written. Trying again does not help.
    #[error("thread {thread}: stored record {seq} is damaged: {detail}")]
    Corrupt {
        /// The thread.
        thread: ThreadId,
        /// The record.
        seq: u64,
        /// The mismatch.
        detail: String,
    },
    /// A fault of this server or of the schema. Trying again does not help.
    #[error("storage failed: {0}")]
    Fatal(String),
}

impl StoreError {
    /// Whether the same call may succeed later.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::ReadOnly(_) | Self::Full(_))
    }
}
