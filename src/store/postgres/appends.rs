//! Group commit: the appends of many threads in one statement.
//!
//! No `BEGIN`: one autocommitted statement is whole or not at all, costs one round trip, and leaves
//! no open transaction behind when its future is dropped. Only fenced threads drop out.

use std::collections::{HashMap, HashSet};

use crate::model::{Incarnation, Timestamp};
use crate::store::records::JournalRow;
use crate::store::rows::{let_go, summary};
use crate::store::{Append, Result, WriteOutcome};

use super::PostgresStore;
use super::fault::{Fault, answer_or};
use super::sides::Sides;
use super::statement::Statement;

/// Checks and locks threads, in the order of ids. Skips rows that somebody else holds: one locked
/// thread must hold up neither the rest of its batch nor later batches. The rows carry all columns
/// along: a join back to the arrays would be quadratic.
const LOCKED: &str = "
WITH locked AS MATERIALIZED (
    SELECT h.* FROM {h} JOIN @threads r USING (thread_id)
    WHERE r.owner = {me} AND r.epoch = h.epoch AND r.last_seq = h.prev
    ORDER BY r.thread_id FOR NO KEY UPDATE OF r SKIP LOCKED)";

const NOT_TAKEN: &str = ",
work AS (SELECT l.*, 0 AS took FROM locked l)";

/// A thread released while messages wait is due at once, whatever its `wake_at`; one set aside is
/// not. The count of messages is in its row, so that a message and a release cannot miss each
/// other.
const UPDATED: &str = ",
ok AS (
    UPDATE @threads r SET
        last_seq = w.last,
        owner = CASE WHEN w.let_go = 0 THEN r.owner ELSE 0 END,
        wake_at = CASE WHEN w.let_go = 0 THEN NULL
                       WHEN w.let_go = 1 AND r.pending > w.took THEN @now_ms()
                       ELSE w.wake_at END,
        pending = r.pending - w.took,
        claims = CASE WHEN w.progress THEN 0 ELSE r.claims END,
        updated_at = coalesce(w.at, r.updated_at),
        completed_at = w.completed_at, status = w.status, summary = w.summary
    FROM work w
    WHERE r.thread_id = w.thread_id
      AND r.owner = {me} AND r.epoch = w.epoch AND r.last_seq = w.prev
    RETURNING r.thread_id, r.pending, r.epoch, w.prev, w.last, w.at, w.crc, w.payload),
written AS (
    INSERT INTO @journal (thread_id, seq, first_seq, epoch, at, crc, payload)
    SELECT thread_id, last, prev + 1, epoch, at, crc, payload FROM ok WHERE payload IS NOT NULL)";

const ANSWER: &str = "
SELECT thread_id, pending FROM ok";

/// Finds the unwritten appends whose rows were only locked. Only our own appends move a thread from
/// its owner, epoch and head, so one that matches now did so then.
const BUSY: &str = "
SELECT thread_id FROM {h} JOIN @threads r USING (thread_id)
WHERE r.owner = {me} AND r.epoch = h.epoch AND r.last_seq = h.prev";

/// An append and its encoded parts.
#[derive(Debug)]
pub(super) struct Row<'a> {
    append: &'a Append,
    journal: Option<JournalRow>,
    summary: Vec<u8>,
}

impl<'a> Row<'a> {
    fn of(append: &'a Append) -> Result<Self> {
        let journal = append.records.as_ref().map(JournalRow::encode);
        Ok(Self { append, journal, summary: summary(&append.summary)? })
    }
}

/// The statement for a batch; its text depends only on `with_sides`. Few appends have sides.
pub(super) fn statement(me: Incarnation, rows: &[Row<'_>], with_sides: bool) -> Statement {
    let mut statement = Statement::default();
    statement.value("me", me);
    add_threads(&mut statement, rows);
    statement.sql(LOCKED);
    if with_sides {
        let mut sides = Sides::default();
        for Row { append, .. } in rows {
            sides.push(&append.thread_id, append.told(), &append.sides);
        }
        sides.take(&mut statement);
        statement.sql(UPDATED);
        sides.write(&mut statement);
    } else {
        statement.sql(NOT_TAKEN);
        statement.sql(UPDATED);
    }
    statement.sql(ANSWER);
    statement
}

fn add_threads(statement: &mut Statement, rows: &[Row<'_>]) {
    statement
        .table("h", rows)
        .column("thread_id", |row| row.append.thread_id.as_str())
        .column("epoch", |row| row.append.epoch)
        .column("prev", |row| row.append.prev.cast_signed())
        .column("last", |row| row.append.told().1.cast_signed())
        .column("at", |row| row.journal.as_ref().map(|row| row.at))
        .column("payload", |row| row.journal.as_ref().map(|row| row.payload.as_slice()))
        .column("crc", |row| row.journal.as_ref().map(|row| row.crc))
        .column("summary", |row| row.summary.as_slice())
        .column("status", |row| row.append.summary.status.as_str())
        .column("completed_at", |row| row.append.summary.completed_at.map(Timestamp::millis))
        .column("progress", |row| row.append.progress)
        .column("let_go", |row| let_go(row.append.disposition).0)
        .column("wake_at", |row| let_go(row.append.disposition).1.map(Timestamp::millis));
}

impl PostgresStore {
    /// Writes appends with one statement; outcomes in their order.
    pub(super) async fn append_all(
        &self,
        me: Incarnation,
        appends: &[&Append],
    ) -> Result<Vec<WriteOutcome>, Fault> {
        // Two appends of a thread would be checked against the same head.
        let mut seen = HashSet::with_capacity(appends.len());
        let firsts = appends.iter().filter(|one| seen.insert(one.thread_id.as_str())).copied();
        let firsts: Vec<&Append> = firsts.collect();
        let mut written = self.send(me, &firsts).await?;
        let missing = |one: &&&Append| !written.contains_key(one.thread_id.as_str());
        let missing: Vec<&Append> = appends.iter().filter(missing).copied().collect();
        let busy = self.busy(me, &missing).await?;
        let outcome = |append: &&Append| match written.remove(append.thread_id.as_str()) {
            Some(pending) => WriteOutcome::Written { mail: u32::try_from(pending).unwrap_or(0) },
            None if busy.contains(append.thread_id.as_str()) => WriteOutcome::Busy,
            None => WriteOutcome::Fenced,
        };
        Ok(appends.iter().map(outcome).collect())
    }

    /// Sends the statement; the threads written, with their untaken messages.
    async fn send(
        &self,
        me: Incarnation,
        appends: &[&Append],
    ) -> Result<HashMap<String, i32>, Fault> {
        let with_sides = appends.iter().any(|append| !append.sides.is_empty());
        let sql = if with_sides { &self.statements.append_sided } else { &self.statements.append };
        let rows = appends.iter().map(|append| Row::of(append)).collect::<Result<Vec<_>, _>>();
        let arguments = statement(me, &rows.map_err(Fault::Store)?, with_sides).arguments()?;
        let query = sqlx::query_as_with::<_, (String, i32), _>(sql.clone(), arguments);
        let rows = answer_or::<_, Fault>(query.fetch_all(&self.writer)).await?;
        Ok(rows.into_iter().collect())
    }

    /// The threads whose appends met a lock.
    async fn busy(&self, me: Incarnation, missing: &[&Append]) -> Result<HashSet<String>, Fault> {
        if missing.is_empty() {
            return Ok(HashSet::new());
        }
        let mut statement = Statement::default();
        statement.value("me", me);
        statement
            .table("h", missing)
            .column("thread_id", |one| one.thread_id.as_str())
            .column("epoch", |one| one.epoch)
            .column("prev", |one| one.prev.cast_signed());
        statement.sql(BUSY);
        let sql = self.sql(&statement.text());
        let query = sqlx::query_scalar_with::<_, String, _>(sql, statement.arguments()?);
        Ok(answer_or::<_, Fault>(query.fetch_all(&self.writer)).await?.into_iter().collect())
    }
}
