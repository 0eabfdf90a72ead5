//! The journal: reads, and a batch of writes in one transaction, with the search for a write that
//! spoils it.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt;
use sqlx::SqliteConnection;

use crate::model::{Epoch, Incarnation, Seq, ThreadId, Timestamp, signed_millis};
use crate::store::limits::MAX_READ_BYTES;
use crate::store::records::{ReadRow, Reader};
use crate::store::rows::{row_limit, thread_id};
use crate::store::{Journal, Records, Result, Write, WriteOutcome};

use super::SqliteStore;
use super::appends::{AppendRow, append_all};
use super::fault::{Fault, answer};
use super::leases::is_alive;
use super::rows::{MAX_ROWS, room, with_list};
use super::starts::{StartRow, start_all};

/// A write, encoded and owned.
#[derive(Debug)]
enum Row {
    Start(Box<StartRow>),
    Append(Box<AppendRow>),
}

/// The head stands beside the rows of the same snapshot, so that a lost tail is noticed.
const READ: &str = "
WITH sizes AS (
    SELECT seq, octet_length(payload) AS size FROM journal
    WHERE thread_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3),
summed AS (SELECT seq, size, sum(size) OVER (ORDER BY seq) AS upto FROM sizes),
part AS MATERIALIZED (
    SELECT max(CASE WHEN upto <= ?4 OR upto = size THEN seq END) AS until, max(seq) AS last FROM summed)
SELECT t.last_seq AS head, (SELECT until < last FROM part) AS cut,
    j.seq, j.first_seq, j.at, j.crc, j.payload
FROM threads t LEFT JOIN (
    SELECT seq, first_seq, at, crc, payload FROM journal
    WHERE thread_id = ?1 AND seq > ?2 AND seq <= (SELECT until FROM part)
    ORDER BY seq) j
WHERE t.thread_id = ?1 AND t.owner <> -3 ORDER BY j.seq";

const WROTE: &str = "
SELECT coalesce((SELECT first_seq = ?2 + 1 AND epoch = ?3 FROM journal
    WHERE thread_id = ?1 AND seq > ?2 ORDER BY seq LIMIT 1), 0)";

const HEADS: &str = "SELECT thread_id, last_seq FROM threads
    WHERE owner <> -3 AND thread_id IN ({})";

#[async_trait]
impl Journal for SqliteStore {
    async fn write(&self, me: Incarnation, batch: &[Write]) -> Result<Vec<WriteOutcome>> {
        let encode = |write: &Write| match write {
            Write::Start(start) => StartRow::encode(start).map(|row| Row::Start(Box::new(row))),
            Write::Append(append) => {
                AppendRow::encode(append).map(|row| Row::Append(Box::new(row)))
            }
        };
        let rows: Arc<[Row]> = batch.iter().map(encode).collect::<Result<_, _>>()?;
        let mut outcomes = vec![WriteOutcome::Refused; batch.len()];
        let mut parts: Vec<_> = std::iter::once(0..rows.len()).collect();
        while let Some(part) = parts.pop() {
            match self.write_part(me, Arc::clone(&rows), part.clone()).await {
                Ok(found) => {
                    for (slot, outcome) in outcomes.iter_mut().skip(part.start).zip(found) {
                        *slot = outcome;
                    }
                }
                Err(Fault::Data(detail)) if part.len() <= 1 => {
                    tracing::warn!(detail, "the database refused a write");
                }
                Err(Fault::Data(_)) => {
                    let middle = part.start + part.len() / 2;
                    parts.extend([middle..part.end, part.start..middle]);
                }
                Err(fault @ (Fault::Store(_) | Fault::Disk(_))) => return Err(fault.into()),
            }
        }
        Ok(outcomes)
    }

    async fn read(&self, thread: &ThreadId, after: Seq, limit: usize) -> Result<Vec<Records>> {
        let query = sqlx::query_as(READ)
            .bind(thread.as_str())
            .bind(after.cast_signed())
            .bind(row_limit(limit))
            .bind(row_limit(MAX_READ_BYTES));
        let rows: Vec<ReadRow> = answer(query.fetch_all(&self.readers)).await?;
        Reader::new(thread, after, limit).read(rows)
    }

    async fn wrote(&self, thread: &ThreadId, prev: Seq, epoch: Epoch) -> Result<bool> {
        let query =
            sqlx::query_scalar(WROTE).bind(thread.as_str()).bind(prev.cast_signed()).bind(epoch);
        answer(query.fetch_one(&self.readers)).await
    }

    async fn heads(&self, threads: &[ThreadId]) -> Result<Vec<(ThreadId, Seq)>> {
        let mut heads = Vec::with_capacity(threads.len());
        for part in threads.chunks(MAX_ROWS) {
            let room = room(part.len());
            let mut query = sqlx::query_as(with_list(HEADS, room));
            for id in part {
                query = query.bind(id.as_str());
            }
            for _ in part.len()..room {
                query = query.bind(None::<&str>);
            }
            let rows: Vec<(String, i64)> = answer(query.fetch_all(&self.readers)).await?;
            for (id, head) in rows {
                heads.push((thread_id(&id)?, head.cast_unsigned()));
            }
        }
        Ok(heads)
    }
}

impl SqliteStore {
    async fn write_part(
        &self,
        me: Incarnation,
        rows: Arc<[Row]>,
        part: std::ops::Range<usize>,
    ) -> Result<Vec<WriteOutcome>, Fault> {
        let (now, monotonic) = (self.clock.now(), signed_millis(self.clock.monotonic()));
        let work = self.writer.run(move |connection| {
            async move {
                let part = rows.get(part).unwrap_or_default();
                write_rows(connection, me, (now, monotonic), part).await
            }
            .boxed()
        });
        work.await
    }
}

async fn write_rows(
    connection: &mut SqliteConnection,
    me: Incarnation,
    (now, monotonic): (Timestamp, i64),
    rows: &[Row],
) -> Result<Vec<WriteOutcome>, Fault> {
    let (mut starts, mut appends) = (Vec::new(), Vec::new());
    for row in rows {
        match row {
            Row::Start(start) => starts.push(&**start),
            Row::Append(append) => appends.push(&**append),
        }
    }
    // Only a start asks: an append is fenced by its owner and epoch.
    let alive = !starts.is_empty() && is_alive(connection, me, monotonic).await?;
    let mut started = start_all(connection, (me, alive), now, &starts).await?.into_iter();
    let mut appended = append_all(connection, me, now, &appends).await?.into_iter();
    let outcome = |row: &Row| match row {
        Row::Start(_) => started.next().unwrap_or(WriteOutcome::Refused),
        Row::Append(_) => appended.next().unwrap_or(WriteOutcome::Refused),
    };
    Ok(rows.iter().map(outcome).collect())
}
