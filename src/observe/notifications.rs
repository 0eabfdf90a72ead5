//! Counts of notifications: sent, not taken, given up, waiting. Clients write their receivers, so
//! these are no labels.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::register::Register as _;

/// Metrics about notifications; handles that are cheap to clone.
#[derive(Debug, Clone)]
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
        let pending = "Threads with notifications that are still to be sent, on all replicas";
        Self {
            sent: registry.add("notifications_sent", "Notifications that their receivers took"),
            failed: registry
                .add("notifications_failed", "Attempts to send a notification that failed"),
            given_up: registry
                .add("notifications_given_up", "Threads whose notifications were given up"),
            pending: registry.add("notifications_pending", pending),
        }
    }
}
