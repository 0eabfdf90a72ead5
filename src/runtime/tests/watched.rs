//! A memory store that counts the events read from it, and fails or hangs on demand; and a runtime
//! over it.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::definition::Action;
use crate::executor::{Attempt, AttemptError, Executors, Secrets, StepExecutor};
use crate::model::{Clock, Entropy, Epoch, Incarnation, Json, Namespace, Seq, ThreadId, Timestamp};
use crate::observe::{Memory, Metrics};
use crate::runtime::{Runtime, RuntimeParts, RuntimeSettings, StoreRetry};
use crate::store::testing::delegate;
use crate::store::{
    Advanced, AuditFilter, AuditRow, Audits, Claimed, Death, Definitions, Hints, Inbox,
    InterventionCounts, InterventionFilter, InterventionRow, Interventions, Journal, Leases,
    MemoryStore, Message, Notice, NoticeCount, Notices, NotificationRow, Ownership, Posted,
    Presence, Records, Recoveries, Recovery, RecoveryCount, RecoveryEnd, Retention, Snapshot,
    Snapshots, Store, StoreError, StoreInfo, SuspectRow, Suspects, Tallies, ThreadFilter,
    ThreadRow, Threads, Wanted, WorkflowRow, Write, WriteOutcome,
};

/// A memory store that is watched.
#[derive(Debug)]
pub(super) struct Watched {
    store: MemoryStore,
    /// The number of events that reads have returned.
    pub(super) events_read: AtomicUsize,
    /// The sizes of the snapshots that were stored.
    pub(super) snapshot_sizes: Mutex<Vec<usize>>,
    /// The error that the next reads of snapshots fail with.
    pub(super) snapshot_fault: Mutex<Option<StoreError>>,
    /// How many of the next reads of recoveries fail transiently.
    pub(super) recoveries_fail: AtomicUsize,
    /// Whether storing a snapshot never ends.
    pub(super) hangs: AtomicBool,
    /// For how many milliseconds the machine was suspended.
    pub(super) suspended: Arc<AtomicU64>,
    /// The namespace whose journals are read for ever.
    pub(super) slow: Mutex<Option<Namespace>>,
    /// The number of reads that are made for ever.
    pub(super) slow_reads: AtomicUsize,
}

delegate! {
    Watched, pass:
    Threads, Retention, Leases, Inbox, Definitions, Suspects, Interventions, Tallies, Audits,
    Notices
}

impl Presence for Watched {}

impl Hints for Watched {}

#[async_trait]
impl Store for Watched {
    fn info(&self) -> StoreInfo {
        self.store.info()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.store.ping().await
    }

    async fn shared_secret(&self, name: &str, candidate: [u8; 32]) -> Result<[u8; 32], StoreError> {
        self.store.shared_secret(name, candidate).await
    }

    async fn close(&self) {}
}

#[async_trait]
impl Journal for Watched {
    async fn write(
        &self,
        me: Incarnation,
        batch: &[Write],
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        self.store.write(me, batch).await
    }

    async fn wrote(&self, thread: &ThreadId, prev: Seq, epoch: Epoch) -> Result<bool, StoreError> {
        self.store.wrote(thread, prev, epoch).await
    }

    async fn read(
        &self,
        thread: &ThreadId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Records>, StoreError> {
        if *self.slow.lock().unwrap() == Some(thread.namespace()) {
            self.slow_reads.fetch_add(1, Ordering::Relaxed);
            std::future::pending::<()>().await;
        }
        let page = self.store.read(thread, after, limit).await?;
        let events = page.iter().map(|records| records.events.len()).sum();
        self.events_read.fetch_add(events, Ordering::Relaxed);
        Ok(page)
    }

    async fn heads(&self, threads: &[ThreadId]) -> Result<Vec<(ThreadId, Seq)>, StoreError> {
        self.store.heads(threads).await
    }
}

#[async_trait]
impl Snapshots for Watched {
    async fn save_snapshot(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.snapshot_sizes.lock().unwrap().push(snapshot.state.len());
        self.store.save_snapshot(snapshot).await
    }

    async fn snapshot(
        &self,
        thread: &ThreadId,
        until: Option<Seq>,
    ) -> Result<Option<Snapshot>, StoreError> {
        let fault = self.snapshot_fault.lock().unwrap().clone();
        if let Some(fault) = fault {
            return Err(fault);
        }
        self.store.snapshot(thread, until).await
    }
}

#[async_trait]
impl Recoveries for Watched {
    async fn begin_recoveries(&self, recoveries: &[Recovery]) -> Result<(), StoreError> {
        self.store.begin_recoveries(recoveries).await
    }

    async fn end_recovery(
        &self,
        thread: &ThreadId,
        epoch: Epoch,
        end: &RecoveryEnd,
    ) -> Result<(), StoreError> {
        self.store.end_recovery(thread, epoch, end).await
    }

    async fn recoveries(
        &self,
        thread: &ThreadId,
        before: Option<Epoch>,
        limit: usize,
    ) -> Result<Vec<Recovery>, StoreError> {
        let less = |left: usize| left.checked_sub(1);
        let left = &self.recoveries_fail;
        if left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
            return Err(StoreError::Unavailable("a test".to_owned()));
        }
        self.store.recoveries(thread, before, limit).await
    }

    async fn recovery_counts(
        &self,
        namespace: &Namespace,
        since: Timestamp,
    ) -> Result<Vec<RecoveryCount>, StoreError> {
        self.store.recovery_counts(namespace, since).await
    }
}

impl Watched {
    fn wrapped(&self) -> &MemoryStore {
        &self.store
    }

    /// Makes a call without any change.
    async fn pass<T>(&self, _: &'static str, call: impl Future<Output = T> + Send) -> T {
        call.await
    }

    /// Creates an empty store.
    pub(super) fn new() -> Arc<Self> {
        let suspended = Arc::default();
        Arc::new(Self {
            store: MemoryStore::new(Arc::new(Ticking::new(&suspended))),
            suspended,
            events_read: AtomicUsize::new(0),
            snapshot_sizes: Mutex::default(),
            snapshot_fault: Mutex::default(),
            recoveries_fail: AtomicUsize::new(0),
            hangs: AtomicBool::new(false),
            slow: Mutex::default(),
            slow_reads: AtomicUsize::new(0),
        })
    }

    /// Returns the number of events read since the last call.
    pub(super) fn take_events_read(&self) -> usize {
        self.events_read.swap(0, Ordering::Relaxed)
    }

    /// Creates a runtime over the store, whose steps all answer with the same kilobyte, but for
    /// those that call [`HANGS`].
    pub(super) async fn runtime(self: &Arc<Self>, snapshot_every: u64) -> Runtime {
        let hour = Duration::from_hours(1);
        let store: Arc<dyn Store> = Arc::<Self>::clone(self);
        let parts = RuntimeParts {
            store,
            executors: Arc::new(Answering),
            secrets: Arc::new(Secrets::new([])),
            clock: Arc::new(Ticking::new(&self.suspended)),
            entropy: Arc::new(Counting(AtomicUsize::new(1))),
            metrics: Arc::new(Metrics::new()),
            memory: Arc::new(Memory::boundless()),
            control: None,
            settings: RuntimeSettings {
                replica: "test".to_owned(),
                lease: hour,
                max_attempts: 1_000,
                max_running: 100,
                max_queued: 100,
                stale_after: hour,
                max_recoveries: MAX_RECOVERIES,
                retention: hour,
                audit_retention: hour,
                shutdown_grace: Duration::ZERO,
                timeouts: crate::model::Timeouts::AS_WRITTEN,
                stale_action: crate::model::StaleAction::Report,
                max_event: 1 << 20,
                snapshot_every,
                fallback: false,
                storage_reserve: 0,
                store_retry: StoreRetry { initial: hour, max: hour },
                exec_allow: Vec::new(),
                exec_env: crate::definition::VariablePolicy::default(),
            },
        };
        Runtime::start(parts).await.unwrap()
    }
}

/// How often a thread may be lost without progress.
pub(super) const MAX_RECOVERIES: u32 = 5;
/// The bytes that each step answers with.
pub(super) const ANSWER: usize = 1_000;

/// The URL of a target that never answers.
pub(super) const HANGS: &str = "http://hangs/";

#[derive(Debug)]
struct Answering;

impl Executors for Answering {
    fn get(&self, _: &Action) -> Option<&dyn StepExecutor> {
        Some(self)
    }
}

#[async_trait]
impl StepExecutor for Answering {
    async fn execute(&self, attempt: Attempt) -> Result<Json, AttemptError> {
        if attempt.with.as_str().contains(HANGS) {
            std::future::pending::<()>().await;
        }
        Ok(Json::string(&"x".repeat(ANSWER)))
    }
}

/// The clock of the test's runtime, from a fixed time on, and how long the machine was suspended.
#[derive(Debug)]
struct Ticking(tokio::time::Instant, Arc<AtomicU64>);

impl Ticking {
    fn new(suspended: &Arc<AtomicU64>) -> Self {
        Self(tokio::time::Instant::now(), Arc::clone(suspended))
    }
}

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        let suspended = Duration::from_millis(self.1.load(Ordering::Relaxed));
        Timestamp::from_millis(1_700_000_000_000).plus(self.0.elapsed() + suspended)
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

#[derive(Debug)]
struct Counting(AtomicUsize);

impl Entropy for Counting {
    fn uuid(&self, _: Timestamp) -> Uuid {
        let count = self.0.fetch_add(1, Ordering::Relaxed);
        Uuid::from_u128(u128::try_from(count).unwrap())
    }

    fn unit(&self) -> f64 {
        0.5
    }
}
