//! Counts of circuit breakers: open ones, their turns, and attempts they refused. Clients write the
//! keys of circuits, so these are no labels.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::register::{Label, Register as _};

/// Metrics about circuit breakers; handles that are cheap to clone.
#[derive(Debug, Clone)]
pub struct CircuitMetrics {
    /// The number of circuits that are not closed now.
    pub open: Gauge,
    /// The number of attempts that were refused.
    pub refusals: Counter,
    /// By what they turned to: `open` or `closed`.
    turns: Family<Label, Counter>,
}

impl CircuitMetrics {
    /// Registers counters at zero.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let refusals = "Attempts refused by an open circuit, or while their target cools down";
        Self {
            open: registry
                .add("circuits_open", "Circuits of this replica that are open or half-open"),
            refusals: registry.add("circuit_refusals", refusals),
            turns: registry.add("circuit_turns", "Circuits that opened (again) or closed"),
        }
    }

    /// Records a circuit that opened, opened again, or closed.
    pub fn turned(&self, to: &'static str) {
        self.turns.get_or_create(&[("to", to)]).inc();
    }
}
