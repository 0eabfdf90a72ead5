//! New threads, many in one transaction.

use std::collections::HashSet;

use sqlx::SqliteConnection;

use crate::model::{Incarnation, Seq, ThreadId, Timestamp};
use crate::store::limits::IDEMPOTENCY_TTL;
use crate::store::records::JournalRow;
use crate::store::rows::{indexed, summary};
use crate::store::{Disposition, Result, Side, Start, WriteOutcome};

use super::appends::insert_journal;
use super::fault::Fault;
use super::rows::{MAX_ROWS, room, with_list, with_rows};
use super::sides;

const KNOWN_THREADS: &str = "SELECT thread_id FROM threads WHERE thread_id IN ({})";

const KNOWN_DEFINITIONS: &str = "SELECT hash FROM definitions WHERE hash IN ({})";

const KNOWN_KEYS: &str = "SELECT key FROM idempotency WHERE key IN ({}) AND expires_at > ?";

const INSERT: &str = "
INSERT INTO threads (thread_id, workflow, workflow_version, definition, request_hash,
    idempotency_key, owner, epoch, last_seq, wake_at, created_at, updated_at, completed_at,
    status, summary, metadata)
SELECT * FROM (VALUES {}) WHERE column1 IS NOT NULL";
const INSERT_COLUMNS: usize = 16;

const INSERT_KEY: &str = "
INSERT OR REPLACE INTO idempotency (key, request_hash, thread_id, expires_at)
VALUES (?, ?, ?, ?)";

const INSERT_DEFINITION: &str = "INSERT OR IGNORE INTO definitions (hash, text) VALUES (?, ?)";

const INSERT_LABEL: &str = "INSERT OR IGNORE INTO labels (thread_id, key, value) VALUES (?, ?, ?)";

/// A start, encoded and owned, so that the write outlives its caller.
#[derive(Debug)]
pub(super) struct StartRow {
    thread_id: ThreadId,
    workflow: String,
    workflow_version: Option<i64>,
    definition: String,
    definition_text: Option<String>,
    request_hash: String,
    metadata: String,
    labels: Vec<(String, String)>,
    key: Option<(String, String)>,
    /// At least one row.
    journal: Vec<JournalRow>,
    head: i64,
    at: i64,
    summary: Vec<u8>,
    status: &'static str,
    completed_at: Option<i64>,
    disposition: Disposition,
    sides: Vec<Side>,
    told: (Seq, Seq),
}

impl StartRow {
    /// Encodes a start.
    pub(super) fn encode(start: &Start) -> Result<Self> {
        let labels = start.labels.iter();
        let key = start.idempotency.as_ref();
        Ok(Self {
            thread_id: start.thread_id.clone(),
            workflow: start.workflow.clone(),
            workflow_version: start.workflow_version.map(i64::from),
            definition: start.definition.clone(),
            definition_text: start.definition_text.clone(),
            request_hash: start.request_hash.clone(),
            metadata: start.metadata.as_str().to_owned(),
            labels: labels.map(|(key, value)| (indexed(key), indexed(value))).collect(),
            key: key.map(|key| (indexed(&key.key), key.request_hash.clone())),
            journal: start.rows().map(JournalRow::encode).collect(),
            head: start.newest().last().cast_signed(),
            at: start.newest().at.millis(),
            summary: summary(&start.summary)?,
            status: start.summary.status.as_str(),
            completed_at: start.summary.completed_at.map(Timestamp::millis),
            disposition: start.disposition,
            sides: start.sides.clone(),
            told: start.told(),
        })
    }
}

/// Writes starts; outcomes in their order.
pub(super) async fn start_all(
    connection: &mut SqliteConnection,
    (me, alive): (Incarnation, bool),
    now: Timestamp,
    starts: &[&StartRow],
) -> Result<Vec<WriteOutcome>, Fault> {
    let mut outcomes = Vec::with_capacity(starts.len());
    for part in starts.chunks(MAX_ROWS) {
        let (judged, accepted) = judge(connection, now, part).await?;
        outcomes.extend(judged);
        insert(connection, (me, now, alive), &accepted).await?;
    }
    Ok(outcomes)
}

/// Tells which starts get in: nothing can change in between, as nobody else writes.
async fn judge<'a>(
    connection: &mut SqliteConnection,
    now: Timestamp,
    starts: &[&'a StartRow],
) -> Result<(Vec<WriteOutcome>, Vec<&'a StartRow>), Fault> {
    let ids: Vec<&str> = starts.iter().map(|start| start.thread_id.as_str()).collect();
    let wanted = starts.iter().filter_map(|start| start.key.as_ref());
    let wanted: Vec<&str> = wanted.map(|(key, _)| key.as_str()).collect();
    let bare = starts.iter().filter(|start| start.definition_text.is_none());
    let bare: HashSet<&str> = bare.map(|start| start.definition.as_str()).collect();
    let bare: Vec<&str> = bare.into_iter().collect();
    let mut threads = known(connection, KNOWN_THREADS, &ids, None).await?;
    let mut definitions = known(connection, KNOWN_DEFINITIONS, &bare, None).await?;
    let mut keys = known(connection, KNOWN_KEYS, &wanted, Some(now.millis())).await?;
    let (mut outcomes, mut accepted) = (Vec::with_capacity(starts.len()), Vec::new());
    for start in starts {
        let key = start.key.as_ref().map(|(key, _)| key.as_str());
        if threads.contains(start.thread_id.as_str()) {
            outcomes.push(WriteOutcome::ThreadExists);
        } else if start.definition_text.is_none() && !definitions.contains(&start.definition) {
            outcomes.push(WriteOutcome::DefinitionMissing);
        } else if key.is_some_and(|key| keys.contains(key)) {
            outcomes.push(WriteOutcome::KeyExists);
        } else {
            threads.insert(start.thread_id.as_str().to_owned());
            keys.extend(key.map(str::to_owned));
            if start.definition_text.is_some() {
                definitions.insert(start.definition.clone());
            }
            outcomes.push(WriteOutcome::Written { mail: 0 });
            accepted.push(*start);
        }
    }
    Ok((outcomes, accepted))
}

async fn known(
    connection: &mut SqliteConnection,
    sql: &str,
    wanted: &[&str],
    now: Option<i64>,
) -> Result<HashSet<String>, Fault> {
    if wanted.is_empty() {
        return Ok(HashSet::new());
    }
    let room = room(wanted.len());
    let mut query = sqlx::query_scalar(with_list(sql, room));
    for text in wanted {
        query = query.bind(*text);
    }
    for _ in wanted.len()..room {
        query = query.bind(None::<&str>);
    }
    if let Some(now) = now {
        query = query.bind(now);
    }
    let found: Vec<String> = query.fetch_all(connection).await?;
    Ok(found.into_iter().collect())
}

/// Inserts starts that were judged to get in.
async fn insert(
    connection: &mut SqliteConnection,
    (me, now, alive): (Incarnation, Timestamp, bool),
    starts: &[&StartRow],
) -> Result<(), Fault> {
    if starts.is_empty() {
        return Ok(());
    }
    let (room, mut journal) = (room(starts.len()), Vec::with_capacity(starts.len()));
    let mut query = sqlx::query(with_rows(INSERT, room, INSERT_COLUMNS));
    for start in starts {
        let (owner, epoch, wake_at) = match start.disposition {
            Disposition::Keep if alive => (me, 1, None),
            Disposition::Keep => (0, 0, Some(now)),
            Disposition::Release { wake_at } => (0, 0, wake_at),
            Disposition::SetAside { until } => (0, 0, Some(until)),
        };
        journal.extend(start.journal.iter().map(|row| (start.thread_id.as_str(), epoch, row)));
        query = query
            .bind(start.thread_id.as_str())
            .bind(start.workflow.as_str())
            .bind(start.workflow_version)
            .bind(start.definition.as_str())
            .bind(start.request_hash.as_str())
            .bind(start.key.as_ref().map(|(key, _)| key.as_str()))
            .bind(owner)
            .bind(epoch)
            .bind(start.head)
            .bind(wake_at.map(Timestamp::millis))
            .bind(start.at)
            .bind(start.at)
            .bind(start.completed_at)
            .bind(start.status)
            .bind(start.summary.as_slice())
            .bind(start.metadata.as_bytes());
    }
    for _ in 0..(room - starts.len()) * INSERT_COLUMNS {
        query = query.bind(None::<i64>);
    }
    query.execute(&mut *connection).await?;
    for rows in journal.chunks(MAX_ROWS) {
        insert_journal(connection, rows).await?;
    }
    insert_rest(connection, now, starts).await
}

/// Keys, definitions, labels and sides: rare beside the rows above, so one by one.
async fn insert_rest(
    connection: &mut SqliteConnection,
    now: Timestamp,
    starts: &[&StartRow],
) -> Result<(), Fault> {
    let expires_at = now.plus(IDEMPOTENCY_TTL).millis();
    let mut texts = HashSet::new();
    for start in starts {
        if let Some((key, hash)) = &start.key {
            let query = sqlx::query(INSERT_KEY).bind(key).bind(hash);
            let query = query.bind(start.thread_id.as_str()).bind(expires_at);
            query.execute(&mut *connection).await?;
        }
        if let Some(text) = &start.definition_text
            && texts.insert(start.definition.as_str())
        {
            let query = sqlx::query(INSERT_DEFINITION).bind(&start.definition);
            query.bind(text.as_bytes()).execute(&mut *connection).await?;
        }
        for (key, value) in &start.labels {
            let query = sqlx::query(INSERT_LABEL).bind(start.thread_id.as_str());
            query.bind(key).bind(value).execute(&mut *connection).await?;
        }
        sides::write_all(connection, (&start.thread_id, start.told, now), &start.sides).await?;
    }
    Ok(())
}
