//! Counts of snapshots: written, not written, and found bad. Fed by `runtime::drive`, whose kinds
//! and reasons are closed sets.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::register::{Label, Register as _};

/// Metrics about snapshots; handles that are cheap to clone.
#[derive(Debug, Clone)]
pub struct SnapshotMetrics {
    written: Family<Label, Counter>,
    skipped: Family<Label, Counter>,
    bad: Family<Label, Counter>,
}

impl SnapshotMetrics {
    /// Registers counters at zero.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let bad = "Snapshots that could not be used at a load, by reason";
        let skipped = "Snapshots that were due and not written, by reason";
        Self {
            written: registry.add("snapshots_written", "Snapshots of threads written, by kind"),
            skipped: registry.add("snapshots_skipped", skipped),
            bad: registry.add("snapshots_bad", bad),
        }
    }

    /// Records a snapshot that is stored.
    pub fn written(&self, kind: &'static str) {
        self.written.get_or_create(&[("kind", kind)]).inc();
    }

    /// Records a snapshot that was due and is not stored.
    pub fn skipped(&self, reason: &'static str) {
        self.skipped.get_or_create(&[("reason", reason)]).inc();
    }

    /// Records a snapshot that a load could not use.
    pub fn bad(&self, reason: &'static str) {
        self.bad.get_or_create(&[("reason", reason)]).inc();
    }

    /// Returns how many snapshots of a kind were written since the start of this process.
    pub fn written_of(&self, kind: &'static str) -> u64 {
        self.written.get(&[("kind", kind)]).map_or(0, |counter| counter.get())
    }

    /// Returns how many snapshots were not written for a reason since the start of this process.
    pub fn skipped_for(&self, reason: &'static str) -> u64 {
        self.skipped.get(&[("reason", reason)]).map_or(0, |counter| counter.get())
    }

    /// Returns how many snapshots were bad for a reason since the start of this process.
    pub fn bad_for(&self, reason: &'static str) -> u64 {
        self.bad.get(&[("reason", reason)]).map_or(0, |counter| counter.get())
    }
}
