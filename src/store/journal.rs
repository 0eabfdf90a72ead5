//! The journal of threads: what every store promises of writes and reads.

use async_trait::async_trait;

use crate::model::{Epoch, Incarnation, Seq, ThreadId};

use super::{Records, StoreError, Write, WriteOutcome};

/// The journals: appends to them and what was appended.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Writes a batch; each write lands whole or not at all, and independently of its neighbours.
    ///
    /// At most one write per thread may be in a batch or under way. Outcomes come in the order of
    /// the writes; one that is [`WriteOutcome::Busy`] is sent again on its own. After an error
    /// nothing is known: send the same batch again, and ask [`Journal::wrote`] about each write that
    /// then comes back refused.
    async fn write(
        &self,
        me: Incarnation,
        batch: &[Write],
    ) -> Result<Vec<WriteOutcome>, StoreError>;

    /// Whether the journal has, right after `prev`, records of `thread` that were written under
    /// `epoch`: tells an own write of unknown outcome from somebody else's.
    async fn wrote(&self, thread: &ThreadId, prev: Seq, epoch: Epoch) -> Result<bool, StoreError>;

    /// Reads records after `after`, in order, at most `limit` events, as their exact bytes. Fewer
    /// come back where they are large: 1 MiB, or one record, at the most.
    ///
    /// Fails with [`StoreError::Corrupt`] if a checksum does not match or a number is missing.
    async fn read(
        &self,
        thread: &ThreadId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Records>, StoreError>;

    /// The journal heads of these threads; threads that are gone are left out.
    async fn heads(&self, threads: &[ThreadId]) -> Result<Vec<(ThreadId, Seq)>, StoreError>;
}
