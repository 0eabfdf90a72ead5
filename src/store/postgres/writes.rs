//! A batch: starts and appends side by side, and the search for a write that spoils it.

use crate::model::Incarnation;
use crate::store::{Append, Start, StoreError, Write, WriteOutcome};

use super::PostgresStore;
use super::fault::Fault;

/// Parts in which the one write is looked for that meets a lock: each look may cost `lock_timeout`,
/// and halves would need nine of them for a full batch. Appends pass locked threads by; this is
/// about what few writes touch (a contested key, a message).
const LOCKED_PARTS: usize = 16;

impl PostgresStore {
    /// See [`crate::store::Store::write`].
    pub(super) async fn do_write(
        &self,
        me: Incarnation,
        batch: &[Write],
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        let mut starts: Vec<(usize, &Start)> = Vec::new();
        let mut appends: Vec<(usize, &Append)> = Vec::new();
        for (at, write) in batch.iter().enumerate() {
            match write {
                Write::Start(start) => starts.push((at, start)),
                Write::Append(append) => appends.push((at, append)),
            }
        }
        // Joined, not raced: when one fails the other is still waited for.
        let (started, appended) =
            tokio::join!(split(self, me, &starts), split(self, me, &appends),);
        let mut outcomes = vec![WriteOutcome::Refused; batch.len()];
        for (at, outcome) in started?.into_iter().chain(appended?) {
            if let Some(slot) = outcomes.get_mut(at) {
                *slot = outcome;
            }
        }
        Ok(outcomes)
    }
}

/// A kind of write that goes into a statement of its own.
trait Kind: Copy + Send + Sync {
    /// Sends writes with one statement; outcomes in their order.
    fn send(
        store: &PostgresStore,
        me: Incarnation,
        writes: &[Self],
    ) -> impl Future<Output = Result<Vec<WriteOutcome>, Fault>> + Send;
}

impl Kind for &Start {
    async fn send(
        store: &PostgresStore,
        me: Incarnation,
        writes: &[Self],
    ) -> Result<Vec<WriteOutcome>, Fault> {
        store.start_all(me, writes).await
    }
}

impl Kind for &Append {
    async fn send(
        store: &PostgresStore,
        me: Incarnation,
        writes: &[Self],
    ) -> Result<Vec<WriteOutcome>, Fault> {
        store.append_all(me, writes).await
    }
}

/// Sends writes in one go; if their data is refused or they meet a lock, in parts, until the one is
/// found.
async fn split<W: Kind>(
    store: &PostgresStore,
    me: Incarnation,
    writes: &[(usize, W)],
) -> Result<Vec<(usize, WriteOutcome)>, StoreError> {
    let mut outcomes = Vec::with_capacity(writes.len());
    let mut parts = vec![writes];
    while let Some(part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        let (places, payload): (Vec<usize>, Vec<W>) = part.iter().copied().unzip();
        match W::send(store, me, &payload).await {
            Ok(found) => outcomes.extend(places.into_iter().zip(found)),
            Err(Fault::Data(detail)) => {
                if let [(at, _)] = part {
                    tracing::warn!(detail, "the database refused a write");
                    outcomes.push((*at, WriteOutcome::Refused));
                } else {
                    let (left, right) = part.split_at(part.len() / 2);
                    parts.extend([right, left]);
                }
            }
            Err(Fault::Locked) => match part {
                [(at, _)] => outcomes.push((*at, WriteOutcome::Busy)),
                _ => parts.extend(part.chunks(part.len().div_ceil(LOCKED_PARTS))),
            },
            Err(Fault::Store(error)) => return Err(error),
            Err(Fault::Again) => {
                return Err(StoreError::Unavailable("a start must be sent again".to_owned()));
            }
        }
    }
    Ok(outcomes)
}
