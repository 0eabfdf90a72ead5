//! The runtime's limits and intervals, each with its reason.

use std::time::Duration;

use crate::definition::VariablePolicy;
use crate::model::{StaleAction, Timeouts};

/// What an operator can set about the runtime.
#[derive(Debug, Clone)]
pub struct RuntimeSettings {
    /// This replica's name, as `owner` shows it.
    pub replica: String,
    /// How long a silent replica keeps its threads.
    pub lease: Duration,
    /// Threads this replica drives at once; more wait.
    pub max_running: usize,
    /// Threads that may wait before an invoke is refused.
    pub max_queued: usize,
    /// A running thread without an event for this long looks stuck, and so does an attempt without a
    /// sign of life.
    pub stale_after: Duration,
    /// How often a thread may be taken from a lost replica without progress before it is paused.
    pub max_recoveries: u32,
    /// Terminal threads are deleted after this.
    pub retention: Duration,
    /// How long audit entries are kept.
    pub audit_retention: Duration,
    /// What running steps get to end at shutdown.
    pub shutdown_grace: Duration,
    /// Largest event, in bytes: outputs beyond it fail their step.
    pub max_event: usize,
    /// Events after which a thread's state is worth a snapshot; 0: only a pause is.
    pub snapshot_every: u64,
    /// What bounds work.
    pub timeouts: Timeouts,
    /// What becomes of an attempt that is silent for `stale_after`.
    pub stale_action: StaleAction,
    /// Programs that `exec` steps may start.
    pub exec_allow: Vec<String>,
    /// Variables that steps may give them.
    pub exec_env: VariablePolicy,
    /// Whether the store stands in for one that could not be reached.
    pub fallback: bool,
    /// How calls of the store that failed for now are made again.
    pub store_retry: StoreRetry,
}

/// Delays between tries of a store call that failed for now: they double from the first to the
/// longest, and each is drawn from 50 % to 150 % of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreRetry {
    /// Before the second try.
    pub initial: Duration,
    /// At the most.
    pub max: Duration,
}

/// A thread whose next timer is further away than this is released: it costs a row, no memory.
/// Shorter waits stay in memory, where they are precise to the millisecond.
pub(super) const PARK_AFTER: Duration = Duration::from_secs(10);

/// How often due threads and messages are looked for. In-process wake-ups make the usual case
/// immediate; this bounds what another replica's work or a lost wake-up can cost.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Threads claimed at a time at the most, once `ramp` has got there: few enough that several
/// replicas share what there is.
pub(super) const CLAIM_BATCH: usize = 128;

/// Claimed threads that are loaded side by side: fewer than any store has connections that read, so
/// that a claim's whole batch does not stand before a health check or a client.
pub(super) const LOADS_AT_ONCE: usize = 3;

/// Threads rebuilt side by side because somebody wants to see them: more gain nothing, as each takes a
/// processor for as long as it takes.
pub(super) const READS_AT_ONCE: usize = 16;

/// Lists and counts that clients ask for, side by side: fewer than any store has connections that read
/// (SQLite has four), so that claims, messages and the reads of one thread always find one.
pub(super) const LISTS_AT_ONCE: usize = 3;

/// What a caller waits for a place among them before he hears that the server is overloaded: short of
/// [`STORE_PATIENCE`], and longer than a list by an index takes.
pub(super) const LIST_PATIENCE: Duration = Duration::from_secs(2);

/// How long the place of a list stays taken whose caller has gone: the store cannot be told that nobody
/// waits, and goes on until Postgres ends it (3 s, its `statement_timeout` for lists).
pub(super) const LIST_REST: Duration = Duration::from_secs(3);

/// How often journal heads of followed threads are read from the store: what a reader waits at
/// most for events of a thread that another replica drives.
pub(super) const FOLLOW_INTERVAL: Duration = Duration::from_millis(500);

/// What a caller waits for the store before it hears 503, which is promised within 5 s.
pub(super) const STORE_PATIENCE: Duration = Duration::from_millis(4_500);

/// The same while the store is known to be away. Whoever balances load has taken this replica out by
/// then (it is not ready), and the rest should hear soon to go elsewhere instead of piling up here:
/// one try, long enough for a store that is back.
pub(super) const STORE_PATIENCE_AWAY: Duration = Duration::from_secs(1);

/// What a caller is told to wait before it tries again when the store is away or the queue full.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Writes gathered into one batch at the most: beyond it throughput no longer grows and the wait
/// of each one does (measured on both databases).
pub(super) const MAX_BATCH: usize = 500;

/// Bytes of events gathered into one batch at the most (a single larger write goes alone): a batch
/// of large outputs must be written well within the 10 s that a statement may take, or it would be
/// sent again for ever.
pub(super) const MAX_BATCH_BYTES: usize = 16 << 20;

/// Free bytes on the store's disk below which no new thread is accepted, so that the threads that
/// run can still write their ends: the largest batch, once in the log and once in the database.
pub(super) const DISK_RESERVE: u64 = 32 << 20;

/// Writes queued for one writer before senders wait: some full batches.
pub(super) const WRITER_QUEUE: usize = 4_096;

/// Messages queued for one driver (attempts that ended, pokes) before senders wait.
pub(super) const DRIVER_QUEUE: usize = 64;

/// Bytes of outcomes that are decided in one append (one that is larger goes alone): many attempts of a
/// thread may end at once, and whoever reads the journal reads an append as a whole.
pub(super) const MAX_COMMIT_BYTES: usize = 512 << 10;

/// Events read from the store at a time while a thread is loaded.
pub(super) const LOAD_PAGE: usize = 1_000;

/// Comparisons at a time: each holds the states of two threads, with all their outputs, in memory.
pub(super) const DIFFS_AT_ONCE: usize = 4;

/// Histories taken over side by side: each is in memory some times over while it is written.
pub(super) const FORKS_AT_ONCE: usize = 2;

/// Snapshots encoded and written at once: enough to keep up, and most of the store's connections
/// and processors stay with the threads.
pub(super) const SNAPSHOT_WRITERS: usize = 2;
