//! Keeps this replica registered: heartbeats, and a new registration after authority was lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::authority::Authority;
use crate::model::{Backoff, Clock, Entropy};
use crate::observe::Metrics;
use crate::runtime::settings::StoreRetry;
use crate::runtime::write::availability::Availability;
use crate::runtime::write::retry::Retry;
use crate::store::{Store, StoreError};

/// The number of heartbeats per lease: four may be lost before it expires.
pub(in crate::runtime) const BEATS: u32 = 5;
/// The part of the lease that is not trusted locally, for a heartbeat's answer and a slow timer.
/// Steps stop starting that long before a peer may take over.
const MARGIN: f64 = 0.2;
/// The delays between tries to register.
const REGISTER_AGAIN: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));

/// Everything needed to keep a lease.
#[derive(Debug, Clone)]
pub(in crate::runtime) struct LeaseParts {
    pub(in crate::runtime) store: Arc<dyn Store>,
    pub(in crate::runtime) clock: Arc<dyn Clock>,
    pub(in crate::runtime) entropy: Arc<dyn Entropy>,
    pub(in crate::runtime) replica: String,
    pub(in crate::runtime) ttl: Duration,
    pub(in crate::runtime) metrics: Arc<Metrics>,
    pub(in crate::runtime) retry: StoreRetry,
    pub(in crate::runtime) availability: Arc<Availability>,
}

impl LeaseParts {
    fn trust(&self) -> Duration {
        self.ttl.mul_f64(1.0 - MARGIN)
    }

    /// Registers once.
    pub(in crate::runtime) async fn register(&self) -> Result<Arc<Authority>, StoreError> {
        let sent = self.clock.monotonic();
        let incarnation = self.store.register(&self.replica, self.ttl).await?;
        if self.availability.is_out() {
            tracing::debug!(incarnation, replica = %self.replica, "registered");
        } else {
            tracing::info!(incarnation, replica = %self.replica, "registered");
        }
        Ok(Arc::new(Authority::new(incarnation, Arc::clone(&self.clock), sent, self.trust())))
    }

    /// Keeps the lease until `stop`; each new authority is sent to the watchers of `current`.
    pub(in crate::runtime) async fn keep(
        self,
        current: watch::Sender<Arc<Authority>>,
        stop: CancellationToken,
    ) {
        loop {
            let authority = Arc::clone(&current.borrow());
            tokio::select! {
                biased;
                () = self.beat(&authority) => {}
                () = self.store.announce_presence(authority.incarnation) => {}
                () = stop.cancelled() => return,
            }
            authority.give_up();
            if self.availability.lost_lease() {
                tracing::debug!(incarnation = authority.incarnation, "lease lost in an outage");
            } else {
                tracing::warn!(incarnation = authority.incarnation, "lease lost: threads dropped");
            }
            tokio::select! {
                biased;
                renewed = self.register_again() => { current.send_replace(renewed); }
                () = stop.cancelled() => return,
            }
        }
    }

    /// Renews until the lease is gone or its local deadline has passed.
    async fn beat(&self, authority: &Authority) {
        let interval = self.ttl / BEATS;
        let mut retry: Option<Retry<'_>> = None;
        loop {
            tokio::time::sleep(interval).await;
            let (sent, at) = (self.clock.monotonic(), Instant::now());
            let renewal = self.store.renew(authority.incarnation, self.ttl);
            let renewed = tokio::time::timeout(authority.remaining(), renewal).await;
            match renewed.unwrap_or_else(|_late| Err(unanswered())) {
                Ok(true) => {
                    authority.extend(sent, self.trust());
                    self.availability.beat(at, None);
                    if let Some(retry) = retry.take() {
                        retry.succeeded();
                    }
                }
                Ok(false) => return,
                Err(error) => {
                    self.availability.beat(at, Some(&error));
                    retry.get_or_insert_with(|| self.retry()).count();
                }
            }
            if authority.remaining().is_zero() {
                return;
            }
        }
    }

    async fn register_again(&self) -> Arc<Authority> {
        let (mut backoff, mut retry) = (REGISTER_AGAIN, self.retry());
        loop {
            let at = Instant::now();
            match self.register().await {
                Ok(authority) => {
                    self.availability.beat(at, None);
                    retry.succeeded();
                    return authority;
                }
                Err(error) => self.availability.beat(at, Some(&error)),
            }
            retry.count();
            tokio::time::sleep(backoff.jittered(self.entropy.as_ref())).await;
        }
    }

    /// The count of heartbeats that are made again: they tell of the store when nobody calls.
    fn retry(&self) -> Retry<'_> {
        Retry::new(&self.metrics, self.entropy.as_ref(), self.retry)
    }
}

fn unanswered() -> StoreError {
    StoreError::Unavailable("the heartbeat was not answered in time".to_owned())
}
