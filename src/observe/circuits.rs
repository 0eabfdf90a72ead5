//! Counts of circuit breakers: open ones, their turns, and attempts they refused. Their keys are
//! what clients write, and are no labels.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What a circuit turned to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Turned {
    /// `open` or `closed`.
    to: &'static str,
}

/// What is counted about circuit breakers; handles that are cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct CircuitMetrics {
    /// Circuits that are not closed now.
    pub open: Gauge,
    /// Attempts that were refused.
    pub refusals: Counter,
    turns: Family<Turned, Counter>,
}

impl CircuitMetrics {
    /// Counters at zero, named in a registry.
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

    /// Notes a circuit that opened, opened again, or closed.
    pub fn turned(&self, to: &'static str) {
        self.turns.get_or_create(&Turned { to }).inc();
    }
}
