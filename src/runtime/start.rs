//! Starts and stops the runtime.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::calls::{audit, stats};
use super::claim::{dispatcher, stale, trials};
use super::feed::hints;
use super::lease::{peers, watchdog};
use super::notices;
use super::upkeep::{clock, disk, memory, retention, shrink};
use crate::runtime::core::{Core, CoreParts, RuntimeParts};
use crate::runtime::feed::heads::Feed;
use crate::runtime::handle::Handle;
use crate::runtime::lease::authority::Authority;
use crate::runtime::lease::renew::LeaseParts;
use crate::runtime::lease::roster::Activity;
use crate::runtime::write::availability::Availability;
use crate::runtime::write::writer::{JournalWriter, WriterParts};
use crate::store::StoreError;

/// How long appends under way may still be answered once the grace is over, and then how long
/// drivers have to notice that they were not: a store that answers at all does so well within it.
const LAST_WRITES: Duration = Duration::from_secs(1);
/// The timeout of the store for the handover of the threads, and for closing.
const HANDOVER: Duration = Duration::from_secs(2);

/// A running runtime; see [`Runtime::start`].
#[derive(Debug)]
pub struct Runtime {
    core: Arc<Core>,
}

impl Runtime {
    /// Registers this replica and starts looking for work.
    pub async fn start(parts: RuntimeParts) -> Result<Self, StoreError> {
        let availability = Arc::new(Availability::new(Arc::clone(&parts.metrics)));
        let lease = LeaseParts {
            store: Arc::clone(&parts.store),
            clock: Arc::clone(&parts.clock),
            entropy: Arc::clone(&parts.entropy),
            replica: parts.settings.replica.clone(),
            ttl: parts.settings.lease,
            metrics: Arc::clone(&parts.metrics),
            retry: parts.settings.store_retry,
            availability: Arc::clone(&availability),
        };
        let control = parts.control.clone();
        let (sender, authority) = watch::channel(register(lease.clone(), control.as_ref()).await?);
        let feed = Arc::new(Feed::new(Arc::clone(&parts.clock)));
        let (writer, writers) = JournalWriter::new(&WriterParts {
            store: Arc::clone(&parts.store),
            feed: Arc::clone(&feed),
            clock: Arc::clone(&parts.clock),
            entropy: Arc::clone(&parts.entropy),
            metrics: Arc::clone(&parts.metrics),
            retry: parts.settings.store_retry,
            availability: Arc::clone(&availability),
        });
        let made = CoreParts { writer, feed: Arc::clone(&feed), authority, availability };
        let core = Arc::new(Core::new(parts, made));
        for writer in writers {
            keep_running(&core, "the journal's writer", writer);
        }
        let lease = lease.keep(sender, core.stopped.clone());
        let lease = looked_after(&core, "the lease", lease);
        match &control {
            Some(control) => core.background.spawn_on(lease, control),
            None => core.background.spawn(lease),
        };
        let store = (Arc::clone(&core.parts.store), Arc::clone(&core.availability));
        let poll = feed.poll(store, core.authority.clone(), core.stopped.clone());
        keep_running(&core, "the feed", poll);
        keep_running(&core, "the dispatcher", dispatcher::run(Arc::clone(&core)));
        keep_running(&core, "the tallies", stats::run(Arc::clone(&core)));
        keep_running(&core, "publishing hints", hints::publish(Arc::clone(&core)));
        keep_running(&core, "receiving hints", hints::receive(Arc::clone(&core)));
        keep_running(&core, "announcing followers", hints::announce(Arc::clone(&core)));
        keep_running(&core, "the look for lost replicas", peers::run(Arc::clone(&core)));
        keep_running(&core, "the look at the clock", clock::run(Arc::clone(&core)));
        keep_running(&core, "the look at the disk", disk::run(Arc::clone(&core)));
        keep_running(&core, "the look at memory", memory::run(Arc::clone(&core)));
        keep_running(&core, "the audit list", audit::run(Arc::clone(&core)));
        keep_running(&core, "retention", retention::run(Arc::clone(&core)));
        keep_running(&core, "the return of room", shrink::run(Arc::clone(&core)));
        keep_running(&core, "sending notifications", notices::run(Arc::clone(&core)));
        keep_running(&core, "the look at suspects", trials::run(Arc::clone(&core)));
        keep_running(&core, "the look for stale threads", stale::run(Arc::clone(&core)));
        Ok(Self { core })
    }

    /// Returns a token that is cancelled when a loop that everything depends on has ended before
    /// its time: the process must end, so that another takes over.
    pub fn broken(&self) -> CancellationToken {
        self.core.broken.clone()
    }

    /// Resolves when a worker has stood for longer than the lease: the process must end. To be
    /// awaited on a runtime that does not stand with the workers; if nobody awaits it, nobody
    /// looks.
    pub fn watch(&self) -> impl Future<Output = ()> + Send + 'static {
        watchdog::watch(Arc::clone(&self.core))
    }

    /// Returns the handle for faces.
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.core))
    }

    /// Stops taking new work; open streams end.
    pub fn drain(&self) {
        self.core.draining.cancel();
    }

    /// Stops: running steps get the grace, then every thread is handed over and the store closed.
    /// Returns `false` if workers stand, and will never be done.
    pub async fn stop(self) -> bool {
        self.drain();
        self.core.tasks.close();
        // Nothing more can be written to a store that failed, so there is no grace.
        let failed = self.core.store().failed().now_or_never().is_some();
        let set = self.core.parts.settings.shutdown_grace;
        let grace = if failed { Duration::ZERO } else { set };
        if tokio::time::timeout(grace, self.core.tasks.wait()).await.is_err() {
            tracing::warn!(
                threads = self.core.driven.count(),
                "grace is over: threads are handed over"
            );
        }
        self.core.stopped.cancel();
        let authority = self.core.authority();
        // Appends under way may still become durable. After that, those that wait for a store that
        // does not answer are told to stop waiting. The store's fence keeps the threads safe.
        within(LAST_WRITES, "writes are given up", self.core.tasks.wait()).await;
        authority.give_up();
        within(LAST_WRITES, "drivers are given up", self.core.tasks.wait()).await;
        let stands = watchdog::record_at_end(&self.core).await;
        let retired = self.core.store().retire(authority.incarnation);
        let late = "threads are not handed over in time; their lease will run out";
        if let Some(Err(error)) = within(HANDOVER, late, retired).await {
            tracing::warn!(%error, "cannot hand threads over; their lease will run out");
        }
        let published = hints::publish_work(&self.core);
        within(LAST_WRITES, "other replicas are not told of the threads", published).await;
        within(HANDOVER, "the store is left open", self.core.store().close()).await;
        !stands
    }
}

/// Waits for at most `limit`: a store that is gone must not keep the process.
async fn within<T>(limit: Duration, otherwise: &str, work: impl Future<Output = T>) -> Option<T> {
    let done = tokio::time::timeout(limit, work).await.ok();
    if done.is_none() {
        tracing::warn!("{otherwise}");
    }
    done
}

/// Runs a loop that serves all threads, and reports its early end: without it the replica would
/// look alive and do nothing.
fn keep_running(
    core: &Arc<Core>,
    name: &'static str,
    work: impl Future<Output = ()> + Send + 'static,
) {
    core.background.spawn(looked_after(core, name, work));
}

fn looked_after(
    core: &Arc<Core>,
    name: &'static str,
    work: impl Future<Output = ()> + Send + 'static,
) -> impl Future<Output = ()> + Send + 'static {
    let (broken, draining) = (core.broken.clone(), core.draining.clone());
    let work = core.roster.watch(Activity::Other(Arc::from(name)), work);
    async move {
        let panicked = AssertUnwindSafe(work).catch_unwind().await.is_err();
        if panicked || !draining.is_cancelled() {
            tracing::error!("{name} has ended before its time");
            broken.cancel();
        }
    }
}

/// Registers on the runtime that keeps the lease: events of a connection arrive where it was made.
async fn register(
    lease: LeaseParts,
    control: Option<&tokio::runtime::Handle>,
) -> Result<Arc<Authority>, StoreError> {
    let Some(control) = control else { return lease.register().await };
    let registered = control.spawn(async move { lease.register().await });
    let ended = |_| StoreError::Unavailable("the runtime of the lease has ended".to_owned());
    registered.await.map_err(ended)?
}
