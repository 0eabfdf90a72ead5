//! Metrics of what must not be: writes of replicas that have lost a thread, and impossible journals.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use super::register::Register as _;

/// Metrics of fences and invariants.
#[derive(Debug)]
#[expect(missing_docs, reason = "each metric's help text stands in `new`")]
pub struct IntegrityMetrics {
    pub fenced: Counter,
    pub violations: Counter,
}

impl IntegrityMetrics {
    /// Registers the metrics.
    pub(super) fn new(r: &mut Registry) -> Self {
        Self {
            fenced: r.add(
                "fenced",
                "Writes of events refused because the thread belongs to somebody else by now",
            ),
            violations: r.add(
                "invariant_violations",
                "Journals and states found to be what this server never writes",
            ),
        }
    }
}
