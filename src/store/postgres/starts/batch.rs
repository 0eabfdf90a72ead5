//! The statement of a batch of new threads: key, thread, definition, labels and journal.

use std::collections::HashSet;

use crate::model::{Incarnation, Timestamp, signed_millis};
use crate::store::limits::IDEMPOTENCY_TTL;
use crate::store::postgres::sides::Sides;
use crate::store::postgres::statement::Statement;
use crate::store::records::JournalRow;
use crate::store::rows::{indexed, let_go, summary};
use crate::store::{Disposition, Result, Start};

/// Inserts keys, then threads, then the rest for the inserted threads (`ok`). Keys, threads and
/// texts are sorted, so that no two batches deadlock. `IN … IS TRUE` stays a hash look-up, where a
/// join would compare each with each.
///
/// A key goes in with its thread or not at all. If its thread lost a race, a division by zero
/// undoes the whole statement, and it is sent again.
const BEGUN: &str = "
WITH s AS MATERIALIZED (
    SELECT s.*,
        s.keep AND EXISTS (SELECT FROM @replicas
            WHERE incarnation = {me} AND lease_until > clock_timestamp()) AS mine,
        (s.key IS NOT NULL OR NOT s.defined)
            AND EXISTS (SELECT FROM @threads t WHERE t.thread_id = s.thread_id) AS known
    FROM (SELECT u.*,
        (u.definition IN (SELECT unnest({d.hash}) UNION ALL
            SELECT hash FROM @definitions WHERE hash = ANY({u.definition}))) IS TRUE AS defined
    FROM {u}) s),
k AS (
    INSERT INTO @idempotency AS i (key, request_hash, thread_id, expires_at)
    SELECT key, key_hash, thread_id, clock_timestamp() + {ttl} * interval '1 millisecond'
    FROM s WHERE key IS NOT NULL AND NOT known AND defined ORDER BY key
    ON CONFLICT (key) DO UPDATE SET request_hash = EXCLUDED.request_hash,
        thread_id = EXCLUDED.thread_id, expires_at = EXCLUDED.expires_at
        WHERE i.expires_at <= clock_timestamp()
    RETURNING i.key),
ok AS (
    INSERT INTO @threads (thread_id, workflow, workflow_version, definition, request_hash,
        idempotency_key, owner, epoch, last_seq, wake_at, created_at, updated_at,
        completed_at, status, summary, metadata)
    SELECT thread_id, workflow, workflow_version, definition, request_hash,
        key, CASE WHEN mine THEN {me} ELSE 0 END, CASE WHEN mine THEN 1 ELSE 0 END, head,
        CASE WHEN mine THEN NULL WHEN keep THEN @now_ms() ELSE wake_at END, made_at, made_at,
        completed_at, status, summary, metadata
    FROM s WHERE defined AND (key IS NULL OR key IN (SELECT key FROM k)) ORDER BY thread_id
    ON CONFLICT DO NOTHING
    RETURNING thread_id, definition),
d AS (
    INSERT INTO @definitions (hash, text)
    SELECT hash, text FROM {d}
    WHERE (hash IN (SELECT definition FROM ok)) IS TRUE ORDER BY hash
    ON CONFLICT DO NOTHING),
l AS (
    INSERT INTO @labels (thread_id, key, value)
    SELECT thread_id, key, value FROM {l}
    WHERE (thread_id IN (SELECT thread_id FROM ok)) IS TRUE
    ON CONFLICT DO NOTHING),
j AS (
    INSERT INTO @journal (thread_id, seq, first_seq, epoch, at, crc, payload)
    SELECT thread_id, last, 1, CASE WHEN mine THEN 1 ELSE 0 END, at, crc, payload
    FROM s WHERE (thread_id IN (SELECT thread_id FROM ok)) IS TRUE)";

/// The rest of the journal of threads that begin with the history of another.
const MORE: &str = ",
m AS (
    INSERT INTO @journal (thread_id, seq, first_seq, epoch, at, crc, payload)
    SELECT r.thread_id, r.seq, r.first_seq, CASE WHEN s.mine THEN 1 ELSE 0 END, r.at, r.crc,
        r.payload
    FROM {r} JOIN s USING (thread_id)
    WHERE (r.thread_id IN (SELECT thread_id FROM ok)) IS TRUE)";

const VERDICT: &str = "
SELECT thread_id, fits, key_lost, lacks, 1 / CASE WHEN key_won AND NOT fits THEN 0 ELSE 1 END
FROM (SELECT thread_id,
        (thread_id IN (SELECT thread_id FROM ok)) IS TRUE AS fits,
        (key IN (SELECT key FROM k)) IS TRUE AS key_won,
        key IS NOT NULL AND NOT known AND NOT (key IN (SELECT key FROM k)) IS TRUE AS key_lost,
        NOT defined AND NOT known AS lacks
    FROM s) verdict";

/// The parts that a batch of starts needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store::postgres) enum Extent {
    /// Threads alone.
    Plain,
    /// Also their sides.
    Sided,
    /// Also the history of another thread that they begin with.
    History,
}

/// A start and its encoded parts.
#[derive(Debug)]
pub(in crate::store::postgres) struct Row<'a> {
    pub(super) start: &'a Start,
    journal: JournalRow,
    summary: Vec<u8>,
}

impl<'a> Row<'a> {
    /// Encodes a start.
    pub(super) fn of(start: &'a Start) -> Result<Self> {
        let journal = JournalRow::encode(&start.records);
        Ok(Self { start, journal, summary: summary(&start.summary)? })
    }
}

impl Extent {
    /// The parts a batch needs.
    pub(super) fn of(rows: &[Row<'_>]) -> Self {
        if rows.iter().any(|row| !row.start.more.is_empty()) {
            Self::History
        } else if rows.iter().any(|row| !row.start.sides.is_empty()) {
            Self::Sided
        } else {
            Self::Plain
        }
    }
}

/// The statement for a batch; its text depends on the extent alone.
pub(in crate::store::postgres) fn statement(
    me: Incarnation,
    rows: &[Row<'_>],
    extent: Extent,
) -> Statement {
    let mut statement = Statement::default();
    statement.value("me", me);
    statement.value("ttl", signed_millis(IDEMPOTENCY_TTL));
    add_threads(&mut statement, rows);
    add_texts(&mut statement, rows);
    add_labels(&mut statement, rows);
    statement.sql(BEGUN);
    if extent != Extent::Plain {
        let mut sides = Sides::default();
        for Row { start, .. } in rows {
            sides.push(&start.thread_id, start.told(), &start.sides);
        }
        sides.write(&mut statement);
    }
    if extent == Extent::History {
        add_more(&mut statement, rows);
        statement.sql(MORE);
    }
    statement.sql(VERDICT);
    statement
}

fn add_threads(statement: &mut Statement, rows: &[Row<'_>]) {
    let key = |row: &Row<'_>| row.start.idempotency.as_ref().map(|key| indexed(&key.key));
    statement
        .table("u", rows)
        .column("thread_id", |row| row.start.thread_id.as_str())
        .column("workflow", |row| row.start.workflow.as_str())
        .column("workflow_version", |row| row.start.workflow_version.map(i64::from))
        .column("definition", |row| row.start.definition.as_str())
        .column("request_hash", |row| row.start.request_hash.as_str())
        .column("metadata", |row| row.start.metadata.as_str().as_bytes())
        .column("key", key)
        .column("key_hash", |row| Some(row.start.idempotency.as_ref()?.request_hash.as_str()))
        .column("keep", |row| row.start.disposition == Disposition::Keep)
        .column("wake_at", |row| let_go(row.start.disposition).1.map(Timestamp::millis))
        .column("last", |row| row.journal.seq)
        .column("at", |row| row.journal.at)
        .column("payload", |row| row.journal.payload.as_slice())
        .column("crc", |row| row.journal.crc)
        .column("summary", |row| row.summary.as_slice())
        .column("status", |row| row.start.summary.status.as_str())
        .column("completed_at", |row| row.start.summary.completed_at.map(Timestamp::millis))
        .column("head", |row| row.start.newest().last().cast_signed())
        .column("made_at", |row| row.start.newest().at.millis());
}

/// Adds each text once.
fn add_texts(statement: &mut Statement, rows: &[Row<'_>]) {
    let mut seen = HashSet::new();
    let texts = rows.iter().filter_map(|row| {
        Some((row.start.definition.as_str(), row.start.definition_text.as_deref()?))
    });
    let rows: Vec<_> = texts.filter(|(hash, _)| seen.insert(*hash)).collect();
    statement
        .table("d", &rows)
        .column("hash", |(hash, _)| *hash)
        .column("text", |(_, text)| text.as_bytes());
}

fn add_labels(statement: &mut Statement, rows: &[Row<'_>]) {
    let mut labels = Vec::new();
    for Row { start, .. } in rows {
        labels.extend(start.labels.iter().map(|label| (start.thread_id.as_str(), label)));
    }
    statement
        .table("l", &labels)
        .column("thread_id", |(thread, _)| *thread)
        .column("key", |(_, (key, _))| indexed(key))
        .column("value", |(_, (_, value))| indexed(value));
}

fn add_more(statement: &mut Statement, rows: &[Row<'_>]) {
    let mut more = Vec::new();
    for Row { start, .. } in rows {
        let encoded = start.more.iter().map(JournalRow::encode);
        more.extend(encoded.map(|row| (start.thread_id.as_str(), row)));
    }
    statement
        .table("r", &more)
        .column("thread_id", |(thread, _)| *thread)
        .column("seq", |(_, row)| row.seq)
        .column("first_seq", |(_, row)| row.first_seq)
        .column("at", |(_, row)| row.at)
        .column("crc", |(_, row)| row.crc)
        .column("payload", |(_, row)| row.payload.as_slice());
}
