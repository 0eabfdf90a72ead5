//! A handle for tests of faces that never reach the runtime behind it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Handle;
use crate::executor::{ExecutorSettings, Executors, Secrets, StepExecutor};
use crate::model::{Clock, Entropy};
use crate::observe::{Memory, Metrics};
use crate::runtime::core::{Core, CoreParts, RuntimeParts};
use crate::runtime::feed::heads::Feed;
use crate::runtime::lease::authority::Authority;
use crate::runtime::settings::{RuntimeSettings, StoreRetry};
use crate::runtime::write::availability::Availability;
use crate::runtime::write::writer::{JournalWriter, WriterParts};
use crate::store::MemoryStore;

#[derive(Debug)]
struct NoExecutors;

impl Executors for NoExecutors {
    fn get(&self, _: &crate::definition::Action) -> Option<&dyn StepExecutor> {
        None
    }
}

impl Handle {
    /// Returns the state that all parts of the runtime share.
    pub(in crate::runtime) fn core(&self) -> Arc<Core> {
        Arc::clone(&self.core)
    }

    /// Creates a handle over an empty memory store that nothing drives.
    pub(crate) fn unreached(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        let parts = RuntimeParts {
            store: Arc::new(MemoryStore::new(Arc::clone(&clock))),
            executors: Arc::new(NoExecutors),
            secrets: Arc::new(Secrets::new([])),
            clock: Arc::clone(&clock),
            entropy,
            metrics: Arc::new(Metrics::new()),
            memory: Arc::new(Memory::boundless()),
            settings: settings(),
            control: None,
        };
        let availability = Arc::new(Availability::new(Arc::clone(&parts.metrics)));
        let feed = Arc::new(Feed::new(Arc::clone(&clock)));
        let (writer, _loops) = JournalWriter::new(&WriterParts {
            store: Arc::clone(&parts.store),
            feed: Arc::clone(&feed),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&parts.entropy),
            metrics: Arc::clone(&parts.metrics),
            retry: parts.settings.store_retry,
            availability: Arc::clone(&availability),
        });
        let authority = Authority::new(1, clock, Duration::ZERO, Duration::from_hours(1));
        let (_sender, authority) = watch::channel(Arc::new(authority));
        let made = CoreParts { writer, feed, authority, availability };
        Self::new(Arc::new(Core::new(parts, made)))
    }
}

fn settings() -> RuntimeSettings {
    let hour = Duration::from_hours(1);
    RuntimeSettings {
        replica: "test".to_owned(),
        lease: hour,
        max_attempts: 1_000,
        max_running: 1,
        max_queued: 1,
        stale_after: hour,
        max_recoveries: 5,
        retention: hour,
        audit_retention: hour,
        shutdown_grace: hour,
        timeouts: crate::model::Timeouts::AS_WRITTEN,
        stale_action: crate::model::StaleAction::Report,
        max_event: ExecutorSettings::default().max_output_bytes,
        snapshot_every: 0,
        exec_allow: Vec::new(),
        exec_env: crate::definition::VariablePolicy::default(),
        fallback: false,
        storage_reserve: 0,
        store_retry: StoreRetry { initial: hour, max: hour },
    }
}
