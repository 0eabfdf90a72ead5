//! Where threads live: journal, leases, ready work, inbox, definitions and workflows.
//!
//! One trait, the sum of one for each noun, and three stores that keep the same promises: [`MemoryStore`] is the readable reference,
//! [`SqliteStore`] the embedded default, [`PostgresStore`] what several replicas share. A store never
//! interprets an event: it is handed opaque records and a few columns beside them, and writes them
//! whole or not at all. The conformance suite in `tests/` says what each call promises.

mod archive;
mod audit;
mod clock;
mod definitions;
mod error;
#[cfg(test)]
mod fuzz;
mod hints;
mod history_rows;
mod import;
mod inbox;
mod interface;
mod intervention;
mod journal;
mod leases;
mod limits;
mod memory;
mod notices;
mod open;
mod ownership;
mod postgres;
mod presence;
mod records;
mod recovery;
mod rows;
mod side;
mod snapshot;
mod sqlite;
mod suspects;
mod tallies;
#[cfg(test)]
pub(crate) mod testing;
mod thread;
mod write;

pub use archive::{
    Archive, Belongings, StoredDefinition, StoredIntervention, StoredKey, StoredMessage,
    StoredRecords, StoredSnapshot, StoredThread, StoredWorkflow, ThreadDump, ThreadTable,
};
pub use audit::{AuditFilter, AuditRow, Audits};
pub use clock::{Asked, Reading, StoreClock};
pub use definitions::{Definitions, WorkflowRow};
pub use error::{Result, StoreError};
pub use hints::{Hint, Hints, Received};
pub use import::{Import, Imported};
pub use inbox::{Inbox, Message, Posted};
pub use interface::{Disk, Store, StoreInfo};
pub use intervention::{InterventionCounts, InterventionFilter, InterventionRow, Interventions};
pub use journal::Journal;
pub use leases::{Claimed, Leases, Loss};
pub use limits::{FORK_LABEL, IDEMPOTENCY_TTL};
pub use memory::MemoryStore;
pub use notices::{
    Advanced, NOTICES_COUNTED, Notice, NoticeCount, Notices, NotificationRow, Wanted,
};
pub use open::{MigrationState, OpenError};
pub use ownership::{Holder, MAX_AHEAD, Ownership};
pub use postgres::{PostgresSettings, PostgresStore};
pub use presence::Presence;
pub use recovery::{Recoveries, Recovery, RecoveryCount, RecoveryEnd, RecoveryResult};
pub use side::Side;
pub use snapshot::{SNAPSHOTS_KEPT, Snapshot, SnapshotKind, Snapshots};
pub use sqlite::{FileHold, SqliteArchive, SqliteStore};
pub use suspects::{Death, SuspectRow, Suspects};
pub use tallies::Tallies;
pub use thread::{Retention, ThreadFilter, ThreadRow, Threads};
pub use write::{
    Append, Disposition, IdempotencyKey, Records, Start, Summary, Write, WriteOutcome,
};
