//! The part of this replica's counters that the store's tallies have already.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::model::lock;

/// Counter values already added to the store's tallies.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Tallied(Mutex<BTreeMap<String, u64>>);

impl Tallied {
    /// Returns the part of the totals that has not been added.
    pub(in crate::runtime) fn missing(&self, totals: Vec<(String, u64)>) -> Vec<(String, u64)> {
        // A panic while it was held cannot leave a map of counts half changed.
        let added = lock(&self.0);
        let since = |name: &String, total: u64| total - added.get(name).copied().unwrap_or(0);
        totals
            .into_iter()
            .map(|(name, total)| (name.clone(), since(&name, total)))
            .filter(|(_, n)| *n > 0)
            .collect()
    }

    /// Records counts that have been added.
    pub(in crate::runtime) fn added(&self, counts: &[(String, u64)]) {
        let mut added = lock(&self.0);
        for (name, count) in counts {
            *added.entry(name.clone()).or_default() += count;
        }
    }
}
