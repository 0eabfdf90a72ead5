//! A store's raw rows, to import threads into another store and to check them.
//!
//! [`Archive`] reads rows without interpreting them, so it also returns damaged ones;
//! [`super::Import`] writes a [`ThreadDump`]. Nothing here drives a thread: `app` imports a
//! fallback file before the server is ready, `runtime::verify` reads.

use async_trait::async_trait;

use crate::model::{ThreadId, ThreadStatus, Timestamp, named};

use super::records::JournalRow;
use super::rows::version;
use super::{Records, Result, Snapshot, SnapshotKind, WorkflowRow};

/// Journal rows read at a time while a thread is dumped or compared; [`Archive::stored_records`]
/// bounds their bytes.
pub(super) const JOURNAL_PAGE: usize = 256;

/// The owner of a thread that another store is importing: nobody claims it here, as it may be there
/// already.
pub(super) const LEAVING: i64 = -1;
/// The owner of a thread that another store has imported.
pub(super) const GONE: i64 = -2;
/// The owner of a thread that was deleted and is still being removed: nobody reads, claims or starts it.
pub(super) const DELETED: i64 = -3;

/// The columns of [`StoredThread`].
pub(super) const STORED_COLUMNS: &str = "thread_id, workflow, workflow_version, definition, \
    request_hash, idempotency_key, owner, epoch, last_seq, claims, pending, wake_at, created_at, \
    updated_at, completed_at, status, summary, metadata";

/// A thread's row with all its columns. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
#[expect(missing_docs, reason = "the columns, as the schema documents them")]
pub struct StoredThread {
    pub thread_id: String,
    pub workflow: String,
    pub workflow_version: Option<i64>,
    pub definition: String,
    pub request_hash: String,
    pub idempotency_key: Option<String>,
    pub owner: i64,
    pub epoch: i64,
    pub last_seq: i64,
    pub claims: i32,
    pub pending: i32,
    pub wake_at: Option<i64>,
    pub created_at: i64,
    pub updated_at: i64,
    pub completed_at: Option<i64>,
    pub status: String,
    pub summary: Vec<u8>,
    pub metadata: Vec<u8>,
}

/// A journal row: the events of one append.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
#[expect(missing_docs, reason = "the columns, as the schema documents them")]
pub struct StoredRecords {
    pub seq: i64,
    pub first_seq: i64,
    pub epoch: i64,
    pub at: i64,
    pub crc: i32,
    pub payload: Vec<u8>,
}

impl StoredRecords {
    /// The events, if checksum and numbers match; else the fault.
    pub fn decode(&self) -> Result<Records, String> {
        self.row().decode_row()
    }

    pub(super) fn row(&self) -> JournalRow {
        JournalRow {
            seq: self.seq,
            first_seq: self.first_seq,
            at: self.at,
            payload: self.payload.clone(),
            crc: self.crc,
        }
    }
}

/// A message to a thread, and the answer it was taken with.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
#[expect(missing_docs, reason = "the columns, as the schema documents them")]
pub struct StoredMessage {
    pub key: String,
    pub body: Vec<u8>,
    pub answer: Option<Vec<u8>>,
}

/// The unexpired idempotency key of a thread.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct StoredKey {
    /// The key as indexed.
    pub key: String,
    /// Hash of the request's body.
    pub request_hash: String,
    /// Milliseconds until it expires, by the clock of its store.
    pub left_ms: i64,
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
#[expect(missing_docs, reason = "the columns, as the schema documents them")]
pub struct StoredSnapshot {
    pub seq: i64,
    pub kind: String,
    pub version: i64,
    pub at: i64,
    pub sha256: String,
    pub state: Vec<u8>,
}

/// An intervention of a thread as it is indexed.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
#[expect(missing_docs, reason = "the columns, as the schema documents them")]
pub struct StoredIntervention {
    pub id: String,
    pub opened_at: i64,
    pub resolved_at: Option<i64>,
    pub body: Vec<u8>,
}

named!(
    /// A table whose rows belong to threads.
    #[expect(missing_docs, reason = "the tables, as the schema names them")]
    ThreadTable {
        Journal = "journal",
        Snapshots = "snapshots",
        Recoveries = "recoveries",
        Interventions = "interventions",
    }
);

/// The rows that belong to a thread, besides its journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Belongings {
    /// Scalar members of the metadata as they are indexed, in order.
    pub labels: Vec<(String, String)>,
    /// Messages, taken and untaken, oldest first.
    pub inbox: Vec<StoredMessage>,
    /// Its idempotency key, unless expired.
    pub key: Option<StoredKey>,
    /// Its interventions as they are indexed, in the order of their ids.
    pub interventions: Vec<StoredIntervention>,
}

/// A thread with every row that cannot be rebuilt: not its snapshots, which are a cache, nor its
/// recoveries, which are statistics of the replica that wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadDump {
    /// Its row.
    pub row: StoredThread,
    /// Its journal, in order.
    pub journal: Vec<StoredRecords>,
    /// The rest.
    pub belongings: Belongings,
}

/// A definition.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct StoredDefinition {
    /// SHA-256 of the text, in hex.
    pub hash: String,
    /// The text.
    pub text: Vec<u8>,
}

/// A version of a stored workflow.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
#[expect(missing_docs, reason = "the columns, as the schema documents them")]
pub struct StoredWorkflow {
    pub name: String,
    pub version: i64,
    pub definition: String,
    pub created_at: i64,
}

/// Reads the rows of a store, page by page, in the order of ids. Pages begin after `after`; the
/// empty text comes first.
#[async_trait]
pub trait Archive: Send + Sync + std::fmt::Debug {
    /// The ids of threads.
    async fn thread_ids(&self, after: &str, limit: usize) -> Result<Vec<String>>;

    /// A thread's row.
    async fn stored_thread(&self, thread: &str) -> Result<Option<StoredThread>>;

    /// Journal rows of a thread whose number is above `after`, unchecked; at most 1 MiB and one
    /// more row.
    async fn stored_records(
        &self,
        thread: &str,
        after: i64,
        limit: usize,
    ) -> Result<Vec<StoredRecords>>;

    /// The rows that belong to a thread, besides its journal and its snapshots.
    async fn belongings(&self, thread: &StoredThread) -> Result<Belongings>;

    /// Snapshots of a thread whose number is above `after`, oldest first, unchecked. Each may have
    /// 16 MiB.
    async fn stored_snapshots(
        &self,
        thread: &str,
        after: i64,
        limit: usize,
    ) -> Result<Vec<StoredSnapshot>>;

    /// The thread ids in a table, each with whether the thread exists.
    async fn ids_in(
        &self,
        table: ThreadTable,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, bool)>>;

    /// Definitions, in the order of their hashes.
    async fn stored_definitions(&self, after: &str, limit: usize) -> Result<Vec<StoredDefinition>>;

    /// A definition by its hash.
    async fn stored_definition(&self, hash: &str) -> Result<Option<StoredDefinition>>;

    /// Versions of stored workflows after a name and version, in their order.
    async fn stored_workflows(
        &self,
        after: (&str, i64),
        limit: usize,
    ) -> Result<Vec<StoredWorkflow>>;
}

impl StoredThread {
    /// Whether the imported thread is due at once: it was driven and has work left.
    pub(super) fn is_due_on_arrival(&self, untaken: usize) -> bool {
        let ended = ThreadStatus::ALL
            .iter()
            .any(|status| status.is_terminal() && status.as_str() == self.status);
        self.owner > 0 && (!ended || untaken > 0)
    }

    /// Whether another store has imported it, and drives it.
    pub const fn is_gone(&self) -> bool {
        self.owner == GONE
    }
}

impl StoredWorkflow {
    /// The version as the runtime sees it.
    pub(super) fn decode(self) -> Result<WorkflowRow> {
        Ok(WorkflowRow {
            name: self.name,
            version: version(self.version)?,
            definition: self.definition,
            created_at: Timestamp::from_millis(self.created_at),
        })
    }
}

impl StoredSnapshot {
    /// The snapshot as the runtime sees it. A kind of a later version of this server only tells why
    /// it was made, and must not keep a thread from being loaded.
    pub(super) fn decode(self, thread: &ThreadId) -> Result<Snapshot> {
        Ok(Snapshot {
            thread_id: thread.clone(),
            seq: self.seq.cast_unsigned(),
            kind: SnapshotKind::parse(&self.kind).unwrap_or(SnapshotKind::Periodic),
            version: version(self.version)?,
            at: Timestamp::from_millis(self.at),
            sha256: self.sha256,
            state: String::from_utf8_lossy(&self.state).into_owned(),
        })
    }
}

impl Belongings {
    /// Messages that were not taken yet.
    pub fn untaken(&self) -> usize {
        self.inbox.iter().filter(|message| message.answer.is_none()).count()
    }
}

impl ThreadDump {
    /// Reads a whole thread; `None` if there is none. It takes the memory of its journal.
    pub async fn read(archive: &dyn Archive, thread: &str) -> Result<Option<Self>> {
        let Some(row) = archive.stored_thread(thread).await? else { return Ok(None) };
        let mut journal: Vec<StoredRecords> = Vec::new();
        loop {
            let after = journal.last().map_or(i64::MIN, |records| records.seq);
            let page = archive.stored_records(thread, after, JOURNAL_PAGE).await?;
            if page.is_empty() {
                break;
            }
            journal.extend(page);
        }
        let belongings = archive.belongings(&row).await?;
        Ok(Some(Self { row, journal, belongings }))
    }

    /// The first fault of its journal, if it has one.
    pub fn damage(&self) -> Option<String> {
        let mut next = 1;
        for records in &self.journal {
            if let Err(detail) = records.decode() {
                return Some(format!("record {}: {detail}", records.seq));
            }
            if records.first_seq != next {
                return Some(format!("record {next} is missing"));
            }
            next = records.seq.saturating_add(1);
        }
        let head = next.saturating_sub(1);
        (head != self.row.last_seq)
            .then(|| format!("the journal ends at {head}, its head is {}", self.row.last_seq))
    }
}
