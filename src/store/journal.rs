//! The journal of threads: the contract for writes and reads.

use async_trait::async_trait;

use crate::model::{Epoch, Incarnation, Seq, ThreadId};

use super::{Records, Result, Write, WriteOutcome};

/// Appends to journals, and reads of them.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Writes a batch; each write lands whole or not at all, and independently of its neighbours.
    ///
    /// At most one write per thread may be in a batch or under way. Outcomes come in the order of
    /// the writes; one that is [`WriteOutcome::Busy`] is sent again on its own. After an error the
    /// outcomes are unknown: send the same batch again, and ask [`Journal::wrote`] about each write
    /// that then fails.
    async fn write(&self, me: Incarnation, batch: &[Write]) -> Result<Vec<WriteOutcome>>;

    /// Whether the records right after `prev` were written under `epoch`: tells a write of our own
    /// with unknown outcome from somebody else's.
    async fn wrote(&self, thread: &ThreadId, prev: Seq, epoch: Epoch) -> Result<bool>;

    /// Reads records after `after`, in order, as their exact bytes: at most `limit` events, and
    /// 1 MiB or one larger record.
    ///
    /// Fails with [`super::StoreError::Corrupt`] if a checksum does not match or a number is missing.
    async fn read(&self, thread: &ThreadId, after: Seq, limit: usize) -> Result<Vec<Records>>;

    /// The journal heads of these threads; threads that are gone are left out.
    async fn heads(&self, threads: &[ThreadId]) -> Result<Vec<(ThreadId, Seq)>>;
}
