//! Counts of circuit breakers: open ones, their turns, and attempts they refused. Clients write the
//! keys of circuits, so these are no labels.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The label of a circuit's turn.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Turned {
    /// `open` or `closed`.
    to: &'static str,
}

/// Metrics about circuit breakers; handles that are cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct CircuitMetrics {
    /// The number of circuits that are not closed now.
    pub open: Gauge,
    /// The number of attempts that were refused.
    pub refusals: Counter,
    turns: Family<Turned, Counter>,
}

impl CircuitMetrics {
    /// Registers counters at zero.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let new = Self::default();
        let open = "Circuits of this replica that are open or half-open";
        registry.register("circuits_open", open, new.open.clone());
        let refusals = "Attempts refused by an open circuit, or while their target cools down";
        registry.register("circuit_refusals", refusals, new.refusals.clone());
        let turns = "Circuits that opened (again) or closed";
        registry.register("circuit_turns", turns, new.turns.clone());
        new
    }

    /// Records a circuit that opened, opened again, or closed.
    pub fn turned(&self, to: &'static str) {
        self.turns.get_or_create(&Turned { to }).inc();
    }
}
