//! New threads, many in one statement: key, thread, definition, labels and first journal row.

use std::collections::{HashMap, HashSet};

use crate::model::{Incarnation, Timestamp, signed_millis};
use crate::store::limits::IDEMPOTENCY_TTL;
use crate::store::records::JournalRow;
use crate::store::rows::{indexed, summary};
use crate::store::{Disposition, Start, StoreError, WriteOutcome};

use super::PostgresStore;
use super::fault::{Fault, answer};

/// How often the statement is sent again when its guard fires: each time a racing start of the
/// same thread has just committed, so that the next try sees it.
const GUARD_TRIES: u32 = 5;

/// Keys come first, then threads, and the rest follows for the threads that got in; all in order,
/// so that two batches never wait for each other. `IN … IS TRUE` keeps a look-up a hash table,
/// where a join would compare each with each.
///
/// Key and thread must stand or fall together. A key that got in while its thread lost a race
/// divides by zero: the whole statement is undone and sent again.
const BEGUN: &str = "
WITH s AS MATERIALIZED (
    SELECT s.*,
        s.keep AND EXISTS (SELECT FROM @replicas
            WHERE incarnation = $1 AND lease_until > clock_timestamp()) AS mine,
        (s.key IS NOT NULL OR NOT s.defined)
            AND EXISTS (SELECT FROM @threads t WHERE t.thread_id = s.thread_id) AS known
    FROM (SELECT u.*,
        (u.definition IN (SELECT unnest($20::text[]) UNION ALL
            SELECT hash FROM @definitions WHERE hash = ANY($5::text[]))) IS TRUE AS defined
    FROM unnest($2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::bytea[],
        $8::text[], $9::text[], $10::bool[], $11::bigint[], $12::bigint[], $13::bigint[],
        $14::bytea[], $15::int[], $16::bytea[], $17::text[], $18::bigint[], $25::bigint[],
        $26::bigint[])
        AS u(thread_id, workflow, workflow_version, definition, request_hash, metadata,
             key, key_hash, keep, wake_at, last, at,
             payload, crc, summary, status, completed_at, head, made_at)) s),
k AS (
    INSERT INTO @idempotency AS i (key, request_hash, thread_id, expires_at)
    SELECT key, key_hash, thread_id, clock_timestamp() + $19 * interval '1 millisecond'
    FROM s WHERE key IS NOT NULL AND NOT known AND defined ORDER BY key
    ON CONFLICT (key) DO UPDATE SET request_hash = EXCLUDED.request_hash,
        thread_id = EXCLUDED.thread_id, expires_at = EXCLUDED.expires_at
        WHERE i.expires_at <= clock_timestamp()
    RETURNING i.key),
t AS (
    INSERT INTO @threads (thread_id, workflow, workflow_version, definition, request_hash,
        idempotency_key, owner, epoch, last_seq, wake_at, created_at, updated_at,
        completed_at, status, summary, metadata)
    SELECT thread_id, workflow, workflow_version, definition, request_hash,
        key, CASE WHEN mine THEN $1 ELSE 0 END, CASE WHEN mine THEN 1 ELSE 0 END, head,
        CASE WHEN mine THEN NULL WHEN keep THEN @now_ms() ELSE wake_at END, made_at, made_at,
        completed_at, status, summary, metadata
    FROM s WHERE defined AND (key IS NULL OR key IN (SELECT key FROM k)) ORDER BY thread_id
    ON CONFLICT DO NOTHING
    RETURNING thread_id, definition),
d AS (
    INSERT INTO @definitions (hash, text)
    SELECT hash, text FROM unnest($20::text[], $21::bytea[]) AS d(hash, text)
    WHERE (hash IN (SELECT definition FROM t)) IS TRUE ORDER BY hash
    ON CONFLICT DO NOTHING),
l AS (
    INSERT INTO @labels (thread_id, key, value)
    SELECT thread_id, key, value FROM unnest($22::text[], $23::text[], $24::text[])
        AS l(thread_id, key, value)
    WHERE (thread_id IN (SELECT thread_id FROM t)) IS TRUE
    ON CONFLICT DO NOTHING),
j AS (
    INSERT INTO @journal (thread_id, seq, first_seq, epoch, at, crc, payload)
    SELECT thread_id, last, 1, CASE WHEN mine THEN 1 ELSE 0 END, at, crc, payload
    FROM s WHERE (thread_id IN (SELECT thread_id FROM t)) IS TRUE)";

/// Tells what subscriptions are to be sent of new threads.
const NOTICED: &str = ",
noticed AS (
    INSERT INTO @notification_cursors (thread_id, subscription, sent, head, since, due_at)
    SELECT n.thread_id, n.subscription, n.sent, n.head, @now_ms(), @now_ms()
    FROM unnest($27::text[], $28::text[], $29::bigint[], $30::bigint[])
        AS n(thread_id, subscription, sent, head)
    JOIN @notifications w ON w.id = n.subscription
    WHERE (n.thread_id IN (SELECT thread_id FROM t)) IS TRUE
    ORDER BY n.thread_id, n.subscription
    ON CONFLICT (thread_id, subscription) DO UPDATE SET sent = EXCLUDED.sent,
        head = EXCLUDED.head)";

/// Columns of threads alone that begin with the history of another: more journal rows, interventions.
const HISTORY: &str = ",
m AS (
    INSERT INTO @journal (thread_id, seq, first_seq, epoch, at, crc, payload)
    SELECT r.thread_id, r.seq, r.first_seq, CASE WHEN s.mine THEN 1 ELSE 0 END, r.at, r.crc,
        r.payload
    FROM unnest($31::text[], $32::bigint[], $33::bigint[], $34::bigint[], $35::int[], $36::bytea[])
        AS r(thread_id, seq, first_seq, at, crc, payload)
    JOIN s USING (thread_id)
    WHERE (r.thread_id IN (SELECT thread_id FROM t)) IS TRUE),
i AS (
    INSERT INTO @interventions AS i (id, thread_id, opened_at, resolved_at, body)
    SELECT DISTINCT ON (v.id) v.id, v.thread_id, v.opened_at, v.resolved_at, v.body
    FROM unnest($37::text[], $38::text[], $39::bigint[], $40::bigint[], $41::bytea[])
        WITH ORDINALITY AS v(id, thread_id, opened_at, resolved_at, body, n)
    WHERE (v.thread_id IN (SELECT thread_id FROM t)) IS TRUE
    ORDER BY v.id, v.n DESC
    ON CONFLICT (id) DO UPDATE SET opened_at = EXCLUDED.opened_at,
        resolved_at = EXCLUDED.resolved_at, body = EXCLUDED.body
        WHERE i.thread_id = EXCLUDED.thread_id)";

const VERDICT: &str = "
SELECT thread_id, fits, key_lost, lacks, 1 / CASE WHEN key_won AND NOT fits THEN 0 ELSE 1 END
FROM (SELECT thread_id,
        (thread_id IN (SELECT thread_id FROM t)) IS TRUE AS fits,
        (key IN (SELECT key FROM k)) IS TRUE AS key_won,
        key IS NOT NULL AND NOT known AND NOT (key IN (SELECT key FROM k)) IS TRUE AS key_lost,
        NOT defined AND NOT known AS lacks
    FROM s) verdict";

/// The parts that a batch of starts needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Threads that nobody is to be told of.
    Plain,
    /// Threads that subscriptions are to be told of, too.
    Telling,
    /// Also threads that begin with the history of another.
    History,
}

/// The statement for such batches.
pub(super) fn statement(extent: Extent) -> String {
    let more: &[&str] = match extent {
        Extent::Plain => &[],
        Extent::Telling => &[NOTICED],
        Extent::History => &[NOTICED, HISTORY],
    };
    [&[BEGUN], more, &[VERDICT]].concat().concat()
}

/// The columns of a batch.
#[derive(Debug, Default)]
struct Columns<'a> {
    thread_id: Vec<&'a str>,
    workflow: Vec<&'a str>,
    workflow_version: Vec<Option<i64>>,
    definition: Vec<&'a str>,
    request_hash: Vec<&'a str>,
    metadata: Vec<&'a [u8]>,
    key: Vec<Option<String>>,
    key_hash: Vec<Option<&'a str>>,
    keep: Vec<bool>,
    wake_at: Vec<Option<i64>>,
    last: Vec<i64>,
    at: Vec<i64>,
    payload: Vec<Vec<u8>>,
    crc: Vec<i32>,
    summary: Vec<Vec<u8>>,
    status: Vec<&'static str>,
    completed_at: Vec<Option<i64>>,
    text_hash: Vec<&'a str>,
    text: Vec<&'a [u8]>,
    label_thread: Vec<&'a str>,
    label_key: Vec<String>,
    label_value: Vec<String>,
    head: Vec<i64>,
    made_at: Vec<i64>,
    told: Told<'a>,
    history: History<'a>,
}

/// The columns of what subscriptions are to be told.
#[derive(Debug, Default)]
struct Told<'a> {
    thread: Vec<&'a str>,
    subscription: Vec<&'a str>,
    sent: Vec<i64>,
    head: Vec<i64>,
}

impl<'a> Told<'a> {
    fn push(&mut self, start: &'a Start, subscription: &'a str) {
        let (sent, head) = start.told();
        self.thread.push(start.thread_id.as_str());
        self.subscription.push(subscription);
        self.sent.push(sent.cast_signed());
        self.head.push(head.cast_signed());
    }

    const fn is_empty(&self) -> bool {
        self.subscription.is_empty()
    }
}

/// The columns of what only threads have that begin with a history.
#[derive(Debug, Default)]
struct History<'a> {
    row_thread: Vec<&'a str>,
    seq: Vec<i64>,
    first_seq: Vec<i64>,
    at: Vec<i64>,
    crc: Vec<i32>,
    payload: Vec<Vec<u8>>,
    intervention: Vec<&'a str>,
    intervention_thread: Vec<&'a str>,
    opened_at: Vec<i64>,
    resolved_at: Vec<Option<i64>>,
    body: Vec<&'a [u8]>,
}

impl<'a> History<'a> {
    fn push(&mut self, start: &'a Start) {
        for row in start.more.iter().map(JournalRow::encode) {
            self.row_thread.push(start.thread_id.as_str());
            self.seq.push(row.seq);
            self.first_seq.push(row.first_seq);
            self.at.push(row.at);
            self.crc.push(row.crc);
            self.payload.push(row.payload);
        }
        for row in &start.interventions {
            self.intervention.push(&row.id);
            self.intervention_thread.push(start.thread_id.as_str());
            self.opened_at.push(row.opened_at.millis());
            self.resolved_at.push(row.resolved_at.map(Timestamp::millis));
            self.body.push(row.body.as_str().as_bytes());
        }
    }

    const fn is_empty(&self) -> bool {
        self.seq.is_empty() && self.intervention.is_empty()
    }
}

impl<'a> Columns<'a> {
    fn of(starts: &[&'a Start]) -> Result<Self, Fault> {
        let mut columns = Self::default();
        let mut texts = HashSet::new();
        for start in starts {
            columns.push(start)?;
            if let Some(text) = &start.definition_text
                && texts.insert(start.definition.as_str())
            {
                columns.text_hash.push(&start.definition);
                columns.text.push(text.as_bytes());
            }
        }
        Ok(columns)
    }

    fn push(&mut self, start: &'a Start) -> Result<(), Fault> {
        let row = JournalRow::encode(&start.records);
        let key = start.idempotency.as_ref();
        let (keep, wake_at) = match start.disposition {
            Disposition::Keep => (true, None),
            Disposition::Release { wake_at } => (false, wake_at),
            Disposition::SetAside { until } => (false, Some(until)),
        };
        self.thread_id.push(start.thread_id.as_str());
        self.workflow.push(&start.workflow);
        self.workflow_version.push(start.workflow_version.map(i64::from));
        self.definition.push(&start.definition);
        self.request_hash.push(&start.request_hash);
        self.metadata.push(start.metadata.as_str().as_bytes());
        self.key.push(key.map(|key| indexed(&key.key)));
        self.key_hash.push(key.map(|key| key.request_hash.as_str()));
        self.keep.push(keep);
        self.wake_at.push(wake_at.map(Timestamp::millis));
        self.last.push(row.seq);
        self.at.push(row.at);
        self.payload.push(row.payload);
        self.crc.push(row.crc);
        self.summary.push(summary(&start.summary).map_err(Fault::Store)?);
        self.status.push(start.summary.status.as_str());
        self.completed_at.push(start.summary.completed_at.map(Timestamp::millis));
        for (key, value) in &start.labels {
            self.label_thread.push(start.thread_id.as_str());
            self.label_key.push(indexed(key));
            self.label_value.push(indexed(value));
        }
        self.head.push(start.newest().last().cast_signed());
        self.made_at.push(start.newest().at.millis());
        for subscription in &start.notices {
            self.told.push(start, subscription);
        }
        self.history.push(start);
        Ok(())
    }
}

impl PostgresStore {
    /// Writes starts; outcomes in their order. Starts that share a thread or key with an earlier
    /// one are judged by its outcome, or go into a second statement if that leaves them free.
    pub(super) async fn start_all(
        &self,
        me: Incarnation,
        starts: &[&Start],
    ) -> Result<Vec<WriteOutcome>, Fault> {
        let mut outcomes = vec![WriteOutcome::ThreadExists; starts.len()];
        let (mut threads, mut keys) = (HashSet::new(), HashSet::new());
        let mut open: Vec<usize> = (0..starts.len()).collect();
        while !open.is_empty() {
            let (round, rest) = first_of_each(starts, &open);
            let found = self.start_guarded(me, &pick(starts, &round)).await?;
            for (at, outcome) in round.iter().zip(found) {
                let (Some(start), Some(slot)) = (starts.get(*at), outcomes.get_mut(*at)) else {
                    continue;
                };
                *slot = outcome;
                if outcome == WriteOutcome::DefinitionMissing {
                    continue;
                }
                if outcome != WriteOutcome::KeyExists {
                    threads.insert(start.thread_id.as_str());
                }
                if outcome != WriteOutcome::ThreadExists {
                    keys.extend(start.idempotency.as_ref().map(|key| key.key.as_str()));
                }
            }
            open = rest;
            open.retain(|at| {
                let (Some(start), Some(slot)) = (starts.get(*at), outcomes.get_mut(*at)) else {
                    return false;
                };
                if threads.contains(start.thread_id.as_str()) {
                    return false;
                }
                *slot = WriteOutcome::KeyExists;
                !start.idempotency.as_ref().is_some_and(|key| keys.contains(key.key.as_str()))
            });
        }
        Ok(outcomes)
    }

    async fn start_guarded(
        &self,
        me: Incarnation,
        starts: &[&Start],
    ) -> Result<Vec<WriteOutcome>, Fault> {
        for _ in 0..GUARD_TRIES {
            match self.send_starts(me, starts).await {
                Err(Fault::Again) => {}
                result => return result,
            }
        }
        let detail = "starts of the same thread keep racing each other".to_owned();
        Err(Fault::Store(StoreError::Unavailable(detail)))
    }

    async fn send_starts(
        &self,
        me: Incarnation,
        starts: &[&Start],
    ) -> Result<Vec<WriteOutcome>, Fault> {
        let columns = Columns::of(starts)?;
        let ttl = signed_millis(IDEMPOTENCY_TTL);
        let (history, told) = (columns.history, columns.told);
        let known = &self.statements;
        let (extent, sql) = if !history.is_empty() {
            (Extent::History, &known.start_history)
        } else if !told.is_empty() {
            (Extent::Telling, &known.start_telling)
        } else {
            (Extent::Plain, &known.start)
        };
        let mut query = sqlx::query_as::<_, (String, bool, bool, bool, i32)>(sql.clone())
            .bind(me)
            .bind(columns.thread_id)
            .bind(columns.workflow)
            .bind(columns.workflow_version)
            .bind(columns.definition)
            .bind(columns.request_hash)
            .bind(columns.metadata)
            .bind(columns.key)
            .bind(columns.key_hash)
            .bind(columns.keep)
            .bind(columns.wake_at)
            .bind(columns.last)
            .bind(columns.at)
            .bind(columns.payload)
            .bind(columns.crc)
            .bind(columns.summary)
            .bind(columns.status)
            .bind(columns.completed_at)
            .bind(ttl)
            .bind(columns.text_hash)
            .bind(columns.text)
            .bind(columns.label_thread)
            .bind(columns.label_key)
            .bind(columns.label_value)
            .bind(columns.head)
            .bind(columns.made_at);
        if extent != Extent::Plain {
            query = query.bind(told.thread).bind(told.subscription).bind(told.sent).bind(told.head);
        }
        if extent == Extent::History {
            query = query
                .bind(history.row_thread)
                .bind(history.seq)
                .bind(history.first_seq)
                .bind(history.at)
                .bind(history.crc)
                .bind(history.payload)
                .bind(history.intervention)
                .bind(history.intervention_thread)
                .bind(history.opened_at)
                .bind(history.resolved_at)
                .bind(history.body);
        }
        // A history takes seconds to send: the few connections of the writers are not for that.
        let pool = if extent == Extent::History { &self.general } else { &self.writer };
        let rows = answer::<_, Fault>(query.fetch_all(pool)).await?;
        let verdicts: HashMap<String, _> = rows
            .into_iter()
            .map(|(id, fits, key_lost, lacks, _)| (id, (fits, lacks, key_lost)))
            .collect();
        let outcome = |start: &&Start| match verdicts.get(start.thread_id.as_str()) {
            Some((true, ..)) => WriteOutcome::Written { mail: 0 },
            Some((_, true, _)) => WriteOutcome::DefinitionMissing,
            Some((.., true)) => WriteOutcome::KeyExists,
            _ => WriteOutcome::ThreadExists,
        };
        Ok(starts.iter().map(outcome).collect())
    }
}

/// Splits positions into those that share neither thread nor key with an earlier one, and others.
fn first_of_each(starts: &[&Start], open: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let (mut threads, mut keys) = (HashSet::new(), HashSet::new());
    open.iter().partition(|at| {
        starts.get(**at).is_some_and(|start| {
            let thread = threads.insert(start.thread_id.as_str());
            let key = start.idempotency.as_ref().is_none_or(|key| keys.insert(key.key.as_str()));
            thread && key
        })
    })
}

fn pick<'a>(starts: &[&'a Start], round: &[usize]) -> Vec<&'a Start> {
    round.iter().filter_map(|at| starts.get(*at).copied()).collect()
}
