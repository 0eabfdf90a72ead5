//! Group commit: the appends of many threads in one statement.
//!
//! No `BEGIN`: one autocommitted statement is whole or not at all, costs one round trip, and
//! leaves no open transaction behind when its future is dropped. A fenced thread drops out alone.

use std::collections::{HashMap, HashSet};

use crate::model::{Incarnation, Timestamp};
use crate::store::records::JournalRow;
use crate::store::rows::{let_go, summary};
use crate::store::{Append, WriteOutcome};

use super::PostgresStore;
use super::fault::{Fault, answer};

/// Checks and locks threads, in the order of ids. A row that somebody else holds is passed by: one
/// locked thread must not hold up the other threads of its batch, nor the batches behind it.
/// The rows carry all their columns along: joining back to the arrays would be quadratic.
const LOCKED: &str = "
WITH locked AS MATERIALIZED (
    SELECT h.* FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
        $7::bytea[], $8::int[], $9::bytea[], $10::text[], $11::bigint[], $12::bool[], $13::int[],
        $14::bigint[])
        AS h(thread_id, epoch, prev, last, at,
             payload, crc, summary, status, completed_at, progress, let_go,
             wake_at)
    JOIN @threads r USING (thread_id)
    WHERE r.owner = $1 AND r.epoch = h.epoch AND r.last_seq = h.prev
    ORDER BY r.thread_id FOR NO KEY UPDATE OF r SKIP LOCKED)";

/// Takes messages. The counts are joined, not looked up: when the thread's row changed while we
/// waited for it, the update is judged again with the joined row, and a sub-query is not run again.
const TAKEN: &str = ",
took AS (
    UPDATE @inbox i SET answer = m.answer
    FROM unnest($15::text[], $16::text[], $17::bytea[]) AS m(thread_id, key, answer)
    JOIN locked USING (thread_id)
    WHERE i.thread_id = m.thread_id AND i.key = m.key AND i.answer IS NULL
    RETURNING i.thread_id),
counts AS (SELECT thread_id, count(*)::int AS n FROM took GROUP BY thread_id),
work AS MATERIALIZED (
    SELECT l.*, coalesce(c.n, 0) AS took FROM locked l LEFT JOIN counts c USING (thread_id))";

const NOT_TAKEN: &str = ",
work AS (SELECT l.*, 0 AS took FROM locked l)";

/// A thread that is released while messages wait for it is due at once, whatever it asked for:
/// the count is in its row, so that a message and a release cannot miss each other. One that is set
/// aside is not.
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
      AND r.owner = $1 AND r.epoch = w.epoch AND r.last_seq = w.prev
    RETURNING r.thread_id, r.pending, r.epoch, w.prev, w.last, w.at, w.crc, w.payload),
written AS (
    INSERT INTO @journal (thread_id, seq, first_seq, epoch, at, crc, payload)
    SELECT thread_id, last, prev + 1, epoch, at, crc, payload FROM ok WHERE payload IS NOT NULL)";

/// Indexes interventions, in the order of their ids; of one that is there twice, as it was last.
const INDEXED: &str = ",
indexed AS (
    INSERT INTO @interventions AS i (id, thread_id, opened_at, resolved_at, body)
    SELECT DISTINCT ON (v.id) v.id, v.thread_id, v.opened_at, v.resolved_at, v.body
    FROM unnest($18::text[], $19::text[], $20::bigint[], $21::bigint[], $22::bytea[])
        WITH ORDINALITY AS v(id, thread_id, opened_at, resolved_at, body, n)
    WHERE (v.thread_id IN (SELECT thread_id FROM ok)) IS TRUE
    ORDER BY v.id, v.n DESC
    ON CONFLICT (id) DO UPDATE SET opened_at = EXCLUDED.opened_at,
        resolved_at = EXCLUDED.resolved_at, body = EXCLUDED.body
        WHERE i.thread_id = EXCLUDED.thread_id)";

/// Tells what subscriptions are to be sent: from the event on that was not written yet, unless they
/// wait for earlier ones. One that is gone by now is told nothing. `IN … IS TRUE` keeps the look-up
/// a hash table, where a join would compare each with each.
const NOTICED: &str = ",
noticed AS (
    INSERT INTO @notification_cursors AS c (thread_id, subscription, sent, head, since, due_at)
    SELECT n.thread_id, n.subscription, n.prev, n.last, @now_ms(), @now_ms()
    FROM unnest($23::text[], $24::text[], $25::bigint[], $26::bigint[])
        AS n(thread_id, subscription, prev, last)
    JOIN @notifications s ON s.id = n.subscription
    WHERE (n.thread_id IN (SELECT thread_id FROM ok)) IS TRUE
    ORDER BY n.thread_id, n.subscription
    ON CONFLICT (thread_id, subscription) DO UPDATE SET head = EXCLUDED.head)";

const ANSWER: &str = "
SELECT thread_id, pending FROM ok";

/// Which of the appends that were not written would have been, had nobody held their rows: only our
/// own appends move a thread from an owner, epoch and head, so that what fits now did so then.
const BUSY: &str = "
SELECT thread_id FROM unnest($2::text[], $3::bigint[], $4::bigint[]) AS h(thread_id, epoch, prev)
JOIN @threads r USING (thread_id)
WHERE r.owner = $1 AND r.epoch = h.epoch AND r.last_seq = h.prev";

/// The columns of a batch.
#[derive(Debug, Default)]
struct Columns<'a> {
    thread_id: Vec<&'a str>,
    epoch: Vec<i64>,
    prev: Vec<i64>,
    last: Vec<i64>,
    at: Vec<Option<i64>>,
    payload: Vec<Option<Vec<u8>>>,
    crc: Vec<Option<i32>>,
    summary: Vec<Vec<u8>>,
    status: Vec<&'static str>,
    completed_at: Vec<Option<i64>>,
    progress: Vec<bool>,
    let_go: Vec<i32>,
    wake_at: Vec<Option<i64>>,
    taken_thread: Vec<&'a str>,
    taken_key: Vec<&'a str>,
    taken_answer: Vec<&'a [u8]>,
    intervention: Vec<&'a str>,
    intervention_thread: Vec<&'a str>,
    opened_at: Vec<i64>,
    resolved_at: Vec<Option<i64>>,
    body: Vec<&'a [u8]>,
    notice_thread: Vec<&'a str>,
    notice: Vec<&'a str>,
    notice_prev: Vec<i64>,
    notice_last: Vec<i64>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, append: &'a Append) -> Result<(), Fault> {
        let prev = append.prev.cast_signed();
        let row = append.records.as_ref().map(JournalRow::encode);
        self.thread_id.push(append.thread_id.as_str());
        self.epoch.push(append.epoch);
        self.prev.push(prev);
        let last = row.as_ref().map_or(prev, |row| row.seq);
        self.last.push(last);
        self.at.push(row.as_ref().map(|row| row.at));
        self.crc.push(row.as_ref().map(|row| row.crc));
        self.payload.push(row.map(|row| row.payload));
        self.summary.push(summary(&append.summary).map_err(Fault::Store)?);
        self.status.push(append.summary.status.as_str());
        self.completed_at.push(append.summary.completed_at.map(Timestamp::millis));
        self.progress.push(append.progress);
        let (let_go, wake_at) = let_go(append.disposition);
        self.let_go.push(let_go);
        self.wake_at.push(wake_at.map(Timestamp::millis));
        for (key, answer) in &append.taken {
            self.taken_thread.push(append.thread_id.as_str());
            self.taken_key.push(key);
            self.taken_answer.push(answer.as_str().as_bytes());
        }
        for row in &append.interventions {
            self.intervention.push(&row.id);
            self.intervention_thread.push(append.thread_id.as_str());
            self.opened_at.push(row.opened_at.millis());
            self.resolved_at.push(row.resolved_at.map(Timestamp::millis));
            self.body.push(row.body.as_str().as_bytes());
        }
        for subscription in &append.notices {
            self.notice_thread.push(append.thread_id.as_str());
            self.notice.push(subscription);
            self.notice_prev.push(prev);
            self.notice_last.push(last);
        }
        Ok(())
    }
}

impl PostgresStore {
    /// Writes appends with one statement; outcomes in their order.
    pub(super) async fn append_all(
        &self,
        me: Incarnation,
        appends: &[&Append],
    ) -> Result<Vec<WriteOutcome>, Fault> {
        let mut columns = Columns::default();
        // A second append of one thread would be checked against the head before the first.
        let mut seen = HashSet::with_capacity(appends.len());
        for append in appends {
            if seen.insert(append.thread_id.as_str()) {
                columns.push(append)?;
            }
        }
        let mut written = self.send(me, columns).await?;
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

    /// The threads whose appends met a lock.
    async fn busy(&self, me: Incarnation, missing: &[&Append]) -> Result<HashSet<String>, Fault> {
        if missing.is_empty() {
            return Ok(HashSet::new());
        }
        let threads: Vec<_> = missing.iter().map(|one| one.thread_id.as_str()).collect();
        let epochs: Vec<_> = missing.iter().map(|one| one.epoch).collect();
        let prevs: Vec<_> = missing.iter().map(|one| one.prev.cast_signed()).collect();
        let query = sqlx::query_scalar(self.sql(BUSY)).bind(me);
        let query = query.bind(threads).bind(epochs).bind(prevs);
        Ok(answer::<Vec<String>, Fault>(query.fetch_all(&self.writer)).await?.into_iter().collect())
    }

    async fn send(
        &self,
        me: Incarnation,
        columns: Columns<'_>,
    ) -> Result<HashMap<String, i32>, Fault> {
        let takes = !columns.taken_key.is_empty()
            || !columns.intervention.is_empty()
            || !columns.notice.is_empty();
        let sql = if takes { &self.statements.append_taking } else { &self.statements.append };
        let mut query = sqlx::query_as::<_, (String, i32)>(sql.clone())
            .bind(me)
            .bind(columns.thread_id)
            .bind(columns.epoch)
            .bind(columns.prev)
            .bind(columns.last)
            .bind(columns.at)
            .bind(columns.payload)
            .bind(columns.crc)
            .bind(columns.summary)
            .bind(columns.status)
            .bind(columns.completed_at)
            .bind(columns.progress)
            .bind(columns.let_go)
            .bind(columns.wake_at);
        if takes {
            query = query
                .bind(columns.taken_thread)
                .bind(columns.taken_key)
                .bind(columns.taken_answer)
                .bind(columns.intervention)
                .bind(columns.intervention_thread)
                .bind(columns.opened_at)
                .bind(columns.resolved_at)
                .bind(columns.body)
                .bind(columns.notice_thread)
                .bind(columns.notice)
                .bind(columns.notice_prev)
                .bind(columns.notice_last);
        }
        let rows = answer::<_, Fault>(query.fetch_all(&self.writer)).await?;
        Ok(rows.into_iter().collect())
    }
}

/// The statement; with or without what few appends have: messages to take, interventions, and
/// subscriptions to be told.
pub(super) fn statement(takes: bool) -> String {
    let rare = if takes { (TAKEN, INDEXED, NOTICED) } else { (NOT_TAKEN, "", "") };
    [LOCKED, rare.0, UPDATED, rare.1, rare.2, ANSWER].concat()
}
