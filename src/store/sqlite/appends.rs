//! Group commit: the appends of many threads in one transaction, each behind its own fence.

use std::collections::HashMap;

use sqlx::SqliteConnection;

use crate::model::{Incarnation, Seq, ThreadId, Timestamp};
use crate::store::records::JournalRow;
use crate::store::rows::{let_go, summary};
use crate::store::{Append, Result, Side, WriteOutcome};

use super::fault::Fault;
use super::rows::{MAX_ROWS, room, with_rows};
use super::sides;

/// A thread that is released while messages wait for it is due at once, whatever it asked for; one
/// that is set aside is not.
const UPDATE: &str = "
WITH w(thread_id, epoch, prev, last, at, summary, status, completed_at,
       progress, let_go, wake_at, took) AS (VALUES {})
UPDATE threads AS r SET
    last_seq = w.last,
    owner = CASE WHEN w.let_go THEN 0 ELSE r.owner END,
    wake_at = CASE WHEN NOT w.let_go THEN NULL
                   WHEN w.let_go = 1 AND r.pending > w.took THEN ? ELSE w.wake_at END,
    pending = r.pending - w.took,
    claims = CASE WHEN w.progress THEN 0 ELSE r.claims END,
    updated_at = coalesce(w.at, r.updated_at),
    completed_at = w.completed_at, status = w.status, summary = w.summary
FROM w
WHERE r.thread_id = w.thread_id AND r.owner = ? AND r.epoch = w.epoch AND r.last_seq = w.prev
RETURNING thread_id, pending";
const UPDATE_COLUMNS: usize = 12;

const INSERT: &str = "
INSERT INTO journal (thread_id, seq, first_seq, epoch, at, crc, payload)
SELECT * FROM (VALUES {}) WHERE column1 IS NOT NULL";
const INSERT_COLUMNS: usize = 7;

/// An append, encoded and owned, so that the write outlives its caller.
#[derive(Debug)]
pub(super) struct AppendRow {
    thread_id: ThreadId,
    epoch: i64,
    prev: i64,
    journal: Option<JournalRow>,
    summary: Vec<u8>,
    status: &'static str,
    completed_at: Option<i64>,
    progress: bool,
    let_go: i32,
    wake_at: Option<i64>,
    sides: Vec<Side>,
    told: (Seq, Seq),
}

impl AppendRow {
    /// Encodes an append.
    pub(super) fn encode(append: &Append) -> Result<Self> {
        let (let_go, wake_at) = let_go(append.disposition);
        Ok(Self {
            thread_id: append.thread_id.clone(),
            epoch: append.epoch,
            prev: append.prev.cast_signed(),
            journal: append.records.as_ref().map(JournalRow::encode),
            summary: summary(&append.summary)?,
            status: append.summary.status.as_str(),
            completed_at: append.summary.completed_at.map(Timestamp::millis),
            progress: append.progress,
            let_go,
            wake_at: wake_at.map(Timestamp::millis),
            sides: append.sides.clone(),
            told: append.told(),
        })
    }
}

/// Writes appends; outcomes in their order.
pub(super) async fn append_all(
    connection: &mut SqliteConnection,
    me: Incarnation,
    now: Timestamp,
    appends: &[&AppendRow],
) -> Result<Vec<WriteOutcome>, Fault> {
    let mut outcomes = Vec::with_capacity(appends.len());
    for part in appends.chunks(MAX_ROWS) {
        let mut took = Vec::with_capacity(part.len());
        for append in part {
            let fence = (append.thread_id.as_str(), me, append.epoch, append.told.0);
            took.push(sides::take_all(connection, fence, &append.sides).await?);
        }
        let updated = update(connection, (me, now), part, &took).await?;
        insert(connection, now, part, &updated).await?;
        outcomes.extend(part.iter().map(|append| match updated.get(append.thread_id.as_str()) {
            Some(pending) => WriteOutcome::Written { mail: u32::try_from(*pending).unwrap_or(0) },
            None => WriteOutcome::Fenced,
        }));
    }
    Ok(outcomes)
}

/// Updates the threads whose fence holds; returns them with their untaken messages.
async fn update(
    connection: &mut SqliteConnection,
    (me, now): (Incarnation, Timestamp),
    appends: &[&AppendRow],
    took: &[i64],
) -> Result<HashMap<String, i64>, Fault> {
    let room = room(appends.len());
    let mut query = sqlx::query_as(with_rows(UPDATE, room, UPDATE_COLUMNS));
    for (append, took) in appends.iter().zip(took) {
        let journal = append.journal.as_ref();
        query = query
            .bind(append.thread_id.as_str())
            .bind(append.epoch)
            .bind(append.prev)
            .bind(journal.map_or(append.prev, |row| row.seq))
            .bind(journal.map(|row| row.at))
            .bind(append.summary.as_slice())
            .bind(append.status)
            .bind(append.completed_at)
            .bind(append.progress)
            .bind(append.let_go)
            .bind(append.wake_at)
            .bind(took);
    }
    for _ in 0..(room - appends.len()) * UPDATE_COLUMNS {
        query = query.bind(None::<i64>);
    }
    let query = query.bind(now.millis()).bind(me);
    let rows: Vec<(String, i64)> = query.fetch_all(connection).await?;
    Ok(rows.into_iter().collect())
}

/// Inserts what the appends that passed bring: their sides and their events.
async fn insert(
    connection: &mut SqliteConnection,
    now: Timestamp,
    appends: &[&AppendRow],
    updated: &HashMap<String, i64>,
) -> Result<(), Fault> {
    let written = appends.iter().filter(|append| updated.contains_key(append.thread_id.as_str()));
    for AppendRow { thread_id, told, sides, .. } in written.clone() {
        sides::write_all(connection, (thread_id, *told, now), sides).await?;
    }
    let rows = written.filter_map(|append| {
        let journal = append.journal.as_ref()?;
        Some((append.thread_id.as_str(), append.epoch, journal))
    });
    insert_journal(connection, &rows.collect::<Vec<_>>()).await
}

/// Inserts journal rows: thread, epoch, row. At most [`MAX_ROWS`].
pub(super) async fn insert_journal(
    connection: &mut SqliteConnection,
    rows: &[(&str, i64, &JournalRow)],
) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    let room = room(rows.len());
    let mut query = sqlx::query(with_rows(INSERT, room, INSERT_COLUMNS));
    for (thread_id, epoch, journal) in rows {
        query = query
            .bind(*thread_id)
            .bind(journal.seq)
            .bind(journal.first_seq)
            .bind(epoch)
            .bind(journal.at)
            .bind(journal.crc)
            .bind(journal.payload.as_slice());
    }
    for _ in 0..(room - rows.len()) * INSERT_COLUMNS {
        query = query.bind(None::<i64>);
    }
    query.execute(connection).await?;
    Ok(())
}
