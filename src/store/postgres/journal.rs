//! The journal: reads, and a batch of writes, starts and appends side by side, with the search for a
//! write that spoils it.

use async_trait::async_trait;

use crate::model::{Epoch, Incarnation, Seq, ThreadId};
use crate::store::limits::MAX_READ_BYTES;
use crate::store::records::{ReadRow, Reader};
use crate::store::rows::{row_limit, thread_id};
use crate::store::{Append, Journal, Records, Result, Start, StoreError, Write, WriteOutcome};

use super::PostgresStore;
use super::fault::{Fault, answer};

/// Parts in which the one write is looked for that meets a lock: each look may cost `lock_timeout`,
/// and halves would need nine of them for a full batch. Appends pass locked threads by; this is
/// about what few writes touch (a contested key, a message).
const LOCKED_PARTS: usize = 16;

/// The head stands beside the rows of the same snapshot, so that a lost tail is noticed.
const READ: &str = "
WITH sizes AS (
    SELECT seq, octet_length(payload) AS size FROM @journal
    WHERE thread_id = $1 AND seq > $2 ORDER BY seq LIMIT $3),
summed AS (SELECT seq, size, sum(size) OVER (ORDER BY seq) AS upto FROM sizes),
part AS MATERIALIZED (
    SELECT max(CASE WHEN upto <= $4 OR upto = size THEN seq END) AS until, max(seq) AS last FROM summed)
SELECT t.last_seq AS head, (SELECT until < last FROM part) AS cut,
    j.seq, j.first_seq, j.at, j.crc, j.payload
FROM @threads t LEFT JOIN (
    SELECT seq, first_seq, at, crc, payload FROM @journal
    WHERE thread_id = $1 AND seq > $2 AND seq <= (SELECT until FROM part)
    ORDER BY seq) j ON true
WHERE t.thread_id = $1 AND t.owner <> -3 ORDER BY j.seq";

const WROTE: &str = "
SELECT coalesce((SELECT first_seq = $2 + 1 AND epoch = $3 FROM @journal
    WHERE thread_id = $1 AND seq > $2 ORDER BY seq LIMIT 1), false)";

const HEADS: &str = "SELECT thread_id, last_seq FROM @threads
    WHERE thread_id = ANY($1) AND owner <> -3";

#[async_trait]
impl Journal for PostgresStore {
    async fn write(&self, me: Incarnation, batch: &[Write]) -> Result<Vec<WriteOutcome>> {
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

    async fn read(&self, thread: &ThreadId, after: Seq, limit: usize) -> Result<Vec<Records>> {
        let query = sqlx::query_as(self.sql(READ))
            .bind(thread.as_str())
            .bind(after.cast_signed())
            .bind(row_limit(limit))
            .bind(row_limit(MAX_READ_BYTES));
        let rows: Vec<ReadRow> = answer(query.fetch_all(&self.general)).await?;
        Reader::new(thread, after, limit).read(rows)
    }

    async fn wrote(&self, thread: &ThreadId, prev: Seq, epoch: Epoch) -> Result<bool> {
        let query = sqlx::query_scalar(self.sql(WROTE))
            .bind(thread.as_str())
            .bind(prev.cast_signed())
            .bind(epoch);
        answer(query.fetch_one(&self.general)).await
    }

    async fn heads(&self, threads: &[ThreadId]) -> Result<Vec<(ThreadId, Seq)>> {
        let ids: Vec<&str> = threads.iter().map(ThreadId::as_str).collect();
        let query = sqlx::query_as(self.sql(HEADS)).bind(ids);
        let rows: Vec<(String, i64)> = answer(query.fetch_all(&self.general)).await?;
        rows.iter().map(|(id, head)| Ok((thread_id(id)?, head.cast_unsigned()))).collect()
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
) -> Result<Vec<(usize, WriteOutcome)>> {
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
