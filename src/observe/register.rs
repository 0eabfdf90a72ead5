//! How metrics are registered, and told apart by a label.

use prometheus_client::registry::{Metric, Registry};

/// One label of a metric: its name, and a value of a closed set.
pub(super) type Label = [(&'static str, &'static str); 1];

/// Registers metrics.
pub(super) trait Register {
    /// Registers a metric of its own making under a name, with its help.
    fn put<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M;

    /// Registers a metric at zero under a name, with its help.
    fn add<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        self.put(name, help, M::default())
    }
}

impl Register for Registry {
    fn put<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.register(name, help, metric.clone());
        metric
    }
}
