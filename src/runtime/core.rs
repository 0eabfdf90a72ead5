//! The state that all parts of the runtime share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::Instrument as _;

use crate::executor::{Executors, Places, Rooms, Secrets};
use crate::machine::{Command, Decided, DecisionContext, Rejection, ThreadState, decide};
use crate::model::{Clock, Entropy, Namespace, ThreadId};
use crate::observe::{Memory, Metrics, Pool};
use crate::runtime::calls::audit_book::AuditBook;
use crate::runtime::calls::estimate::Estimates;
use crate::runtime::calls::tallied::Tallied;
use crate::runtime::calls::token_key::TokenKey;
use crate::runtime::claim::bench::Bench;
use crate::runtime::drive::admission::filter_places;
use crate::runtime::drive::aside::Aside;
use crate::runtime::drive::breakers::Breakers;
use crate::runtime::drive::plans::PlanCache;
use crate::runtime::drive::pulses::Pulses;
use crate::runtime::drive::weights::Weights;
use crate::runtime::driven::{Driven, Reserved};
use crate::runtime::feed::heads::{Feed, Follow};
use crate::runtime::feed::shared::SharedEvents;
use crate::runtime::lease::authority::Authority;
use crate::runtime::lease::roster::{Activity, Roster};
use crate::runtime::notices::Desk;
use crate::runtime::settings::{
    ATTEMPT_BYTES, DIFFS_AT_ONCE, FORKS_AT_ONCE, LISTS_AT_ONCE, LOADS_AT_ONCE, POSTS_AT_ONCE,
    RuntimeSettings, SNAPSHOT_WRITERS,
};
use crate::runtime::shown::Shown;
use crate::runtime::write::availability::Availability;
use crate::runtime::write::writer::JournalWriter;
use crate::store::Store;

/// The part of the memory limit that one thread may take, as a divisor. A load to show a thread
/// holds it twice, as its journal and as its state, and has to fit into half of the limit.
const THREAD_PART: usize = 8;
/// The fewest attempts under way at once, however little memory there is.
const FEWEST_ATTEMPTS: usize = 8;

/// The parts that the runtime is made of; see `Runtime::start`.
#[derive(Debug, Clone)]
pub struct RuntimeParts {
    /// The store of all threads.
    pub store: Arc<dyn Store>,
    /// The executors of the step kinds.
    pub executors: Arc<dyn Executors>,
    /// The values of `{secrets.NAME}`.
    pub secrets: Arc<Secrets>,
    /// The source of time.
    pub clock: Arc<dyn Clock>,
    /// The source of ids and random numbers.
    pub entropy: Arc<dyn Entropy>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The memory budget.
    pub memory: Arc<Memory>,
    /// Limits and intervals.
    pub settings: RuntimeSettings,
    /// The runtime that renews the lease even if all workers that drive threads are stuck; `None`:
    /// the runtime that drives threads.
    pub control: Option<tokio::runtime::Handle>,
}

/// The state shared by the handle, the dispatcher and every driver.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) parts: RuntimeParts,
    pub(super) writer: JournalWriter,
    pub(super) feed: Arc<Feed>,
    pub(super) plans: PlanCache,
    /// The places for long work.
    pub(super) aside: Aside,
    /// The memory of driven threads.
    pub(super) weights: Arc<Weights>,
    /// The places of attempts under way.
    pub(super) places: Places,
    /// The places of filters that are not run in place.
    pub(super) filters: Places,
    /// The memory for what attempts receive.
    pub(super) rooms: Arc<Rooms>,
    pub(super) estimates: Estimates,
    /// Whether the store takes calls.
    pub(super) availability: Arc<Availability>,
    /// The circuit breakers of the targets that steps call.
    pub(super) breakers: Arc<Breakers>,
    /// The tasks at work on the workers.
    pub(super) roster: Arc<Roster>,
    /// The runtime that drives threads; `None` in tests that drive none.
    workers: Option<tokio::runtime::Handle>,
    /// The signs of life of attempts under way here.
    pub(super) pulses: Arc<Pulses>,
    pub(super) authority: watch::Receiver<Arc<Authority>>,
    /// The threads that are driven here.
    pub(super) driven: Arc<Driven>,
    /// Set if this replica may own threads that it does not drive: the answer to a claim was lost,
    /// or a thread could not be released.
    pub(super) doubt: AtomicBool,
    /// Threads that were lost with their replicas and have not made progress since.
    pub(super) bench: Arc<Bench>,
    /// Audit entries on their way to the store.
    pub(super) audit: AuditBook,
    /// The subscriptions to events.
    pub(super) notices: Desk,
    /// Counter values already added to the store's tallies.
    pub(super) tallied: Tallied,
    /// The key of stream tokens and cookies.
    pub(super) token_key: TokenKey,
    /// The number of due threads that wait for a replica: the last count, plus those queued since.
    pub(super) queued: AtomicUsize,
    /// Large events that readers hold.
    pub(super) shared: SharedEvents,
    /// The store for readers, and their places.
    pub(super) shown: Shown,
    /// The places to write requests to threads into the store, beside what threads write.
    pub(super) posts: Places,
    /// The places to read lists for clients.
    pub(super) lists: Places,
    /// The places to load claimed threads: the rest of the server reads, too.
    pub(super) loads: Places,
    /// The places to copy histories for forks.
    pub(super) forks: Places,
    /// The places for comparisons of threads.
    pub(super) diffs: Places,
    /// Wakes the dispatcher: a thread may be claimable, or a place has become free.
    pub(super) nudge: Notify,
    /// Cancelled when the server stops taking work: open streams end, nothing new starts.
    pub(super) draining: CancellationToken,
    /// Cancelled once the server is about to shut down: it goes on, and is not ready any more.
    pub(super) leaving: CancellationToken,
    /// Cancelled when the grace is over: everything that still runs is dropped.
    pub(super) stopped: CancellationToken,
    /// Cancelled when a background loop has ended too early.
    pub(super) broken: CancellationToken,
    /// Permits to write snapshots.
    pub(super) snapshot_writers: Arc<Semaphore>,
    /// Drivers, attempts and snapshots: the tasks that a shutdown waits for.
    pub(super) tasks: TaskTracker,
    /// Loops that serve these tasks: they end with the process.
    pub(super) background: TaskTracker,
    pub(super) started_at: Duration,
}

/// The parts of a [`Core`] besides [`RuntimeParts`].
pub(super) struct CoreParts {
    pub(super) writer: JournalWriter,
    pub(super) feed: Arc<Feed>,
    pub(super) authority: watch::Receiver<Arc<Authority>>,
    pub(super) availability: Arc<Availability>,
}

impl Core {
    pub(super) fn new(parts: RuntimeParts, made: CoreParts) -> Self {
        let started_at = parts.clock.monotonic();
        let breakers = Breakers::new(
            Arc::clone(&parts.clock),
            Arc::clone(&parts.entropy),
            Arc::clone(&parts.metrics),
        );
        let plans = PlanCache::within(&parts.memory);
        let affordable = parts.memory.share(Pool::Attempts) / ATTEMPT_BYTES;
        let weights = Weights::new(&parts.memory);
        let places = Places::new(parts.settings.max_attempts.min(affordable).max(FEWEST_ATTEMPTS));
        let filters = filter_places(&parts.memory, parts.settings.max_event);
        let rooms = Rooms::within(&parts.memory);
        let shown = Shown::of(&parts.store);
        let notices = Desk::within(&parts.memory);
        let gauge = parts.metrics.threads_running.clone();
        let driven = Driven::new(parts.settings.max_running, gauge);
        Self {
            parts,
            writer: made.writer,
            feed: made.feed,
            plans,
            aside: Aside::default(),
            places,
            weights,
            filters,
            rooms,
            estimates: Estimates::default(),
            availability: made.availability,
            breakers: Arc::new(breakers),
            roster: Arc::default(),
            workers: tokio::runtime::Handle::try_current().ok(),
            pulses: Arc::default(),
            authority: made.authority,
            driven: Arc::new(driven),
            doubt: AtomicBool::new(false),
            bench: Arc::default(),
            audit: AuditBook::default(),
            notices,
            tallied: Tallied::default(),
            token_key: TokenKey::default(),
            queued: AtomicUsize::new(0),
            shared: SharedEvents::default(),
            shown,
            posts: Places::shared(POSTS_AT_ONCE, POSTS_AT_ONCE / 2),
            lists: Places::new(LISTS_AT_ONCE),
            loads: Places::new(LOADS_AT_ONCE),
            forks: Places::new(FORKS_AT_ONCE),
            diffs: Places::new(DIFFS_AT_ONCE),
            nudge: Notify::new(),
            draining: CancellationToken::new(),
            leaving: CancellationToken::new(),
            stopped: CancellationToken::new(),
            broken: CancellationToken::new(),
            snapshot_writers: Arc::new(Semaphore::new(SNAPSHOT_WRITERS)),
            tasks: TaskTracker::new(),
            background: TaskTracker::new(),
            started_at,
        }
    }

    pub(super) fn store(&self) -> &dyn Store {
        &*self.parts.store
    }

    /// Runs work that belongs to no thread on the runtime that drives threads, in the roster as
    /// `name`; `None` if that runtime has ended. If this is dropped, so is the work.
    pub(super) async fn apart<T: Send + 'static>(
        &self,
        name: Arc<str>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let work = self.roster.watch(Activity::Other(name), work);
        let Some(workers) = &self.workers else { return Some(work.await) };
        match AbortOnDropHandle::new(workers.spawn(work.in_current_span())).await {
            Ok(done) => Some(done),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_ended) => None,
            },
        }
    }

    /// Returns how long a workflow of a namespace usually takes, if that is known.
    pub(super) async fn estimate(&self, namespace: &Namespace, workflow: &str) -> Option<Duration> {
        let now = self.parts.clock.monotonic();
        self.estimates.of((&self.shown, now), namespace, workflow).await
    }

    /// Returns this replica's current authority.
    pub(super) fn authority(&self) -> Arc<Authority> {
        Arc::clone(&self.authority.borrow())
    }

    /// Decides a command about a thread, as of now; one that may take long runs in a place for long
    /// work.
    pub(super) async fn decide(
        &self,
        state: &mut ThreadState,
        command: Command,
    ) -> Result<Decided, Rejection> {
        self.decide_at(state, command, self.context()).await
    }

    /// Decides a command in another context.
    pub(super) async fn decide_at(
        &self,
        state: &mut ThreadState,
        command: Command,
        context: DecisionContext,
    ) -> Result<Decided, Rejection> {
        // A random number costs a system call, so one is drawn only for a command that uses it.
        let unit = if command.draws(state) { self.parts.entropy.unit() } else { 0.0 };
        let context = DecisionContext { unit, ..context };
        if state.takes_long(&command) {
            let namespace = state.thread_id.namespace();
            self.aside.run_for(&namespace, || decide(state, command, context)).await
        } else {
            decide(state, command, context)
        }
    }

    /// Returns the most bytes that one thread may take in memory.
    pub(super) fn max_thread(&self) -> usize {
        self.parts.memory.limit() / THREAD_PART
    }

    /// Returns the context of a decision that draws no random number, as of now.
    pub(super) fn context(&self) -> DecisionContext {
        DecisionContext {
            now: self.parts.clock.now(),
            unit: 0.0,
            max_event: self.parts.settings.max_event,
            max_thread: self.max_thread(),
            may_start: !self.draining.is_cancelled(),
            timeouts: self.parts.settings.timeouts,
        }
    }

    /// Returns how many more threads of any namespace this replica may drive: none while the driven
    /// ones fill their share of memory, so that more threads wait in the queue or for another
    /// replica.
    pub(super) fn room(&self) -> usize {
        let full = || self.weights.are_full() || !self.weights.full_namespaces().is_empty();
        if self.parts.memory.is_short() || full() { 0 } else { self.driven.room() }
    }

    /// Returns how many more threads of one namespace this replica may drive.
    pub(super) fn room_for(&self, namespace: &Namespace) -> usize {
        if self.parts.memory.is_short() || self.weights.are_enough_of(namespace) {
            return 0;
        }
        // Once memory is full, one thread of a namespace may be driven, or be on its way to that.
        if self.weights.are_full() {
            return usize::from(!self.driven.holds(namespace)).min(self.driven.room_for(namespace));
        }
        self.driven.room_for(namespace)
    }

    /// Reserves room for at most `most` threads until the reservation is dropped, so that nobody
    /// else takes the room of a claim under way. It leaves out the namespaces that have no room,
    /// and `except`.
    pub(super) fn reserve(&self, most: usize, except: Option<Namespace>) -> Reserved {
        let (most, mut out) = if self.parts.memory.is_short() {
            (0, Vec::new())
        } else if self.weights.are_full() {
            (most.min(1), self.driven.holders())
        } else {
            (most, self.weights.full_namespaces())
        };
        out.extend(except);
        self.driven.reserve(most, out)
    }

    /// Gives up a driver's place, and claims again if there was no room until now.
    pub(super) fn leave(&self, thread: &ThreadId) {
        if self.driven.leave(thread) {
            self.nudge.notify_one();
        }
    }

    /// Follows one thread's head, wherever it is driven.
    pub(super) fn follow(&self, thread: &ThreadId) -> Follow {
        let follow = self.feed.follow(thread);
        if !self.driven.is_at_work(thread) && self.feed.hints.followers() {
            self.feed.look_again();
        }
        follow
    }

    /// Adds a queued thread to the last full count.
    pub(super) fn count_queued(&self) {
        self.queued.fetch_add(1, Ordering::Relaxed);
    }
}
