//! Where threads live: journal, leases, ready work, inbox, definitions and workflows.
//!
//! One trait, three stores that keep the same promises: [`MemoryStore`] is the readable reference,
//! [`SqliteStore`] the embedded default, [`PostgresStore`] what several replicas share. A store never
//! interprets an event: it is handed opaque records and a few columns beside them, and writes them
//! whole or not at all. The conformance suite in `tests/` says what each call promises.

mod archive;
mod audit;
mod error;
#[cfg(test)]
mod fuzz;
mod history_rows;
mod inbox;
mod interface;
mod intervention;
mod limits;
mod memory;
mod news;
mod notices;
mod open;
mod postgres;
mod records;
mod recovery;
mod rows;
mod snapshot;
mod sqlite;
mod standing;
mod thread;
mod workflow;
mod write;

pub use archive::{
    Archive, Belongings, Intake, StoredDefinition, StoredIntervention, StoredKey, StoredMessage,
    StoredRecords, StoredSnapshot, StoredThread, StoredWorkflow, TakenIn, ThreadDump, ThreadTable,
};
pub use audit::{AuditFilter, AuditRow, Audits};
pub use error::StoreError;
pub use inbox::{Message, Posted};
pub use interface::{Disk, Store, Traits};
pub use intervention::{InterventionCounts, InterventionFilter, InterventionRow};
pub use limits::{FORK_LABEL, IDEMPOTENCY_TTL};
pub use memory::MemoryStore;
pub use news::{Heard, Loss, News};
pub use notices::{Advanced, Notice, NoticeCount, Notices, NotificationRow};
pub use open::{MigrationState, OpenError};
pub use postgres::{PostgresSettings, PostgresStore};
pub use recovery::{Recovery, RecoveryCount, RecoveryEnd, RecoveryResult};
pub use snapshot::{SNAPSHOTS_KEPT, Snapshot, SnapshotKind};
pub use sqlite::{FileHold, SqliteArchive, SqliteStore};
pub use standing::{Holder, MAX_AHEAD, Standing};
pub use thread::{Claimed, ThreadFilter, ThreadRow};
pub use workflow::WorkflowRow;
pub use write::{
    Append, Disposition, IdempotencyKey, Records, Start, Summary, Write, WriteOutcome,
};
