//! The runtime's limits and intervals, each with its reason.

use std::time::Duration;

use crate::definition::VariablePolicy;
use crate::model::{StaleAction, Timeouts};

/// The settings of the runtime that an operator can change.
#[derive(Debug, Clone)]
pub struct RuntimeSettings {
    /// The name of this replica, as `owner` shows it.
    pub replica: String,
    /// The time a silent replica keeps its threads.
    pub lease: Duration,
    /// The number of threads this replica drives at once; more wait.
    pub max_running: usize,
    /// The most attempts at once, as open files allow; more wait.
    pub max_attempts: usize,
    /// The number of threads that may wait before an invoke is refused.
    pub max_queued: usize,
    /// The time without an event after which a running thread looks stuck, and the time without a
    /// sign of life after which an attempt does.
    pub stale_after: Duration,
    /// The number of times that a thread may be lost without progress before it is paused.
    pub max_recoveries: u32,
    /// The retention of terminal threads.
    pub retention: Duration,
    /// The retention of audit entries.
    pub audit_retention: Duration,
    /// The time a running step gets to end at shutdown.
    pub shutdown_grace: Duration,
    /// The largest event, in bytes: a larger output fails its step.
    pub max_event: usize,
    /// The number of events after which a thread's state is stored; 0: only pauses store it.
    pub snapshot_every: u64,
    /// The multiplier of all time bounds, and the bounds of attempts whose steps set none.
    pub timeouts: Timeouts,
    /// The action on an attempt that is silent for `stale_after`.
    pub stale_action: StaleAction,
    /// The programs that `exec` steps may start.
    pub exec_allow: Vec<String>,
    /// The environment variables that steps may give to these programs.
    pub exec_env: VariablePolicy,
    /// Set if the store replaces one that could not be reached.
    pub fallback: bool,
    /// The free bytes on the store's disk below which nothing new is accepted, so that running threads
    /// can still write their ends.
    pub storage_reserve: u64,
    /// The retry policy for transient store failures.
    pub store_retry: StoreRetry,
}

/// The delays between tries of a store call that failed transiently: they double from the first to
/// the longest, and each is drawn from 50 % to 150 % of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreRetry {
    /// The delay before the second try.
    pub initial: Duration,
    /// The longest delay.
    pub max: Duration,
}

/// The longest wait for a timer during which a thread keeps its driver. A thread whose next timer
/// is further away is released: it costs a row and no memory. Shorter waits stay in memory, where
/// they are precise to the millisecond.
pub(super) const PARK_AFTER: Duration = Duration::from_secs(10);

/// The polling interval for due threads and messages. In-process wake-ups make the usual case
/// immediate; this bounds the delay of another replica's work and of a lost wake-up.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// The most threads claimed at a time, at the end of the `ramp`: few enough that several replicas
/// share the due threads.
pub(super) const CLAIM_BATCH: usize = 128;

/// The number of claimed threads loaded at once, of one namespace one fewer: fewer than any store has
/// connections for all that is not shown to readers, so that claims and messages do not wait for a
/// whole claimed batch.
pub(super) const LOADS_AT_ONCE: usize = 4;

/// The number of journals read at once for readers of a store without connections; others have one
/// for each connection that serves them, so that a reader with a place waits for none.
pub(super) const READS_AT_ONCE: usize = 6;

/// The time that a reader waits for a place before it is refused as overload: shorter than
/// [`STORE_PATIENCE`], and longer than hundreds of other readers take for a page each.
pub(super) const READ_PATIENCE: Duration = Duration::from_secs(3);

/// The number of requests to threads that are written into the store at once, on this replica; a
/// namespace gets half of them. Each may be as long as an event, and what threads write stands behind
/// those of them that came before it.
pub(super) const POSTS_AT_ONCE: usize = 16;

/// The number of lists and counts read at once for clients, of one namespace one fewer: as many as a
/// store has connections for them.
pub(super) const LISTS_AT_ONCE: usize = 3;

/// The time that a caller waits for a place among the lists before it is refused as overload:
/// shorter than [`STORE_PATIENCE`], and longer than an indexed list takes.
pub(super) const LIST_PATIENCE: Duration = Duration::from_secs(2);

/// The time for which a list keeps its place after its caller has gone: Postgres does not learn of
/// that, and goes on until it ends the statement (after 3 s, its `statement_timeout` for lists).
pub(super) const LIST_REST: Duration = Duration::from_secs(3);

/// The interval at which journal heads of followed threads are read from the store: the longest
/// that a reader waits for events of a thread that another replica drives.
pub(super) const FOLLOW_INTERVAL: Duration = Duration::from_millis(500);

/// The time that a caller waits for the store before a 503, which is promised within 5 s.
pub(super) const STORE_PATIENCE: Duration = Duration::from_millis(4_500);

/// The time that a caller waits while the store is known to be away: one try, long enough for a
/// store that is back. Load balancers have taken out this replica by then (it is not ready), and
/// other callers should soon go elsewhere instead of piling up here.
pub(super) const STORE_PATIENCE_AWAY: Duration = Duration::from_secs(1);

/// The `Retry-After` of answers when the store is away or the queue full.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The most writes in one batch: beyond it throughput no longer grows, but the wait of each write
/// does (measured on both databases).
pub(super) const MAX_BATCH: usize = 500;

/// The most bytes of events in one batch (a single larger write goes alone): a batch of large
/// outputs must be written well within the 10 s that a statement may take, or it would be sent
/// again for ever.
pub(super) const MAX_BATCH_BYTES: usize = 16 << 20;

/// The number of writes queued for one writer before senders wait: several full batches.
pub(super) const WRITER_QUEUE: usize = 4_096;

/// The number of messages queued for one driver (ended attempts, wake-ups) before senders wait.
pub(super) const DRIVER_QUEUE: usize = 64;

/// The memory of an attempt besides its data, in bytes, as measured with http steps whose target
/// does not answer: task, connection, buffers.
pub(super) const ATTEMPT_BYTES: usize = 56 << 10;
/// The memory of a program besides its output, in bytes. As measured, a supervisor has 1.4 MiB that
/// it does not share with others; a shell, an interpreter or some service's client takes a little
/// more.
pub(super) const PROGRAM_BYTES: usize = 4 << 20;

/// The most bytes of outcomes decided in one append (a larger one goes alone): many attempts of a
/// thread may end at once, and readers read an append as a whole.
pub(super) const MAX_COMMIT_BYTES: usize = 512 << 10;

/// The number of events read from the store at a time while a thread is loaded.
pub(super) const LOAD_PAGE: usize = 1_000;

/// The number of comparisons at once, of one namespace one fewer: each holds the states of two
/// threads, with all outputs, in memory.
pub(super) const DIFFS_AT_ONCE: usize = 4;

/// The number of histories copied at once, of one namespace one: each is in memory several times
/// while it is written.
pub(super) const FORKS_AT_ONCE: usize = 2;

/// The number of snapshots encoded and written at once: enough to keep up, while most of the
/// store's connections and processors stay with the threads.
pub(super) const SNAPSHOT_WRITERS: usize = 2;
