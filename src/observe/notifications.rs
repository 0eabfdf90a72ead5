//! Counts of notifications: sent, not taken, given up, waiting. Clients write their receivers, so
//! these are no labels.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Metrics about notifications; handles that are cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct NotificationMetrics {
    /// The number of messages that their receivers took.
    pub sent: Counter,
    /// The number of attempts that failed.
    pub failed: Counter,
    /// The number of threads whose messages were given up.
    pub given_up: Counter,
    /// The number of threads with messages that wait, as last counted.
    pub pending: Gauge,
}

impl NotificationMetrics {
    /// Registers counters at zero.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let new = Self::default();
        let sent = "Notifications that their receivers took";
        registry.register("notifications_sent", sent, new.sent.clone());
        let failed = "Attempts to send a notification that failed";
        registry.register("notifications_failed", failed, new.failed.clone());
        let given_up = "Threads whose notifications were given up";
        registry.register("notifications_given_up", given_up, new.given_up.clone());
        let pending = "Threads with notifications that are still to be sent, on all replicas";
        registry.register("notifications_pending", pending, new.pending.clone());
        new
    }
}
