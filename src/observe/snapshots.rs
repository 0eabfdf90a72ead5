//! Counts of snapshots: written, not written, and found bad. Fed by `runtime::drive`, whose kinds
//! and reasons are closed sets.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// The label of a written snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Written {
    /// The snapshot's kind.
    kind: &'static str,
}

/// The label of a snapshot that was not written, or not used.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    /// The reason, of a closed set.
    reason: &'static str,
}

/// Metrics about snapshots; handles that are cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct SnapshotMetrics {
    written: Family<Written, Counter>,
    skipped: Family<Reason, Counter>,
    bad: Family<Reason, Counter>,
}

impl SnapshotMetrics {
    /// Registers counters at zero.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let new = Self::default();
        let written = "Snapshots of threads written, by kind";
        registry.register("snapshots_written", written, new.written.clone());
        let skipped = "Snapshots that were due and not written, by reason";
        registry.register("snapshots_skipped", skipped, new.skipped.clone());
        let bad = "Snapshots that could not be used at a load, by reason";
        registry.register("snapshots_bad", bad, new.bad.clone());
        new
    }

    /// Records a snapshot that is stored.
    pub fn written(&self, kind: &'static str) {
        self.written.get_or_create(&Written { kind }).inc();
    }

    /// Records a snapshot that was due and is not stored.
    pub fn skipped(&self, reason: &'static str) {
        self.skipped.get_or_create(&Reason { reason }).inc();
    }

    /// Records a snapshot that a load could not use.
    pub fn bad(&self, reason: &'static str) {
        self.bad.get_or_create(&Reason { reason }).inc();
    }

    /// Returns how many snapshots of a kind were written since the start of this process.
    pub fn written_of(&self, kind: &'static str) -> u64 {
        self.written.get(&Written { kind }).map_or(0, |counter| counter.get())
    }

    /// Returns how many snapshots were not written for a reason since the start of this process.
    pub fn skipped_for(&self, reason: &'static str) -> u64 {
        self.skipped.get(&Reason { reason }).map_or(0, |counter| counter.get())
    }

    /// Returns how many snapshots were bad for a reason since the start of this process.
    pub fn bad_for(&self, reason: &'static str) -> u64 {
        self.bad.get(&Reason { reason }).map_or(0, |counter| counter.get())
    }
}
