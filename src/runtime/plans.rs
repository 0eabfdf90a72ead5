//! Checked plans by the hash of their text, so that a workflow is parsed once, not at each invoke.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::definition::Plan;
use crate::model::Fault;

/// Plans kept: some kilobytes each. Beyond it all are forgotten and come back as they are used.
const CAPACITY: usize = 1_024;

#[derive(Debug, Clone)]
struct Entry {
    plan: Arc<Plan>,
    /// Whether the store is known to have the definition's text.
    stored: bool,
}

/// A bounded cache of plans.
#[derive(Debug, Default)]
pub(super) struct PlanCache {
    entries: Mutex<HashMap<String, Entry>>,
}

impl PlanCache {
    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        // A panic while it was held cannot leave a map of plans half changed.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, hash: &str) -> Option<Arc<Plan>> {
        self.entries().get(hash).map(|entry| Arc::clone(&entry.plan))
    }

    /// Keeps a plan whose text may not be in the store yet.
    pub(super) fn put(&self, plan: Arc<Plan>) {
        self.insert(plan, false);
    }

    /// Keeps a plan whose text the store has.
    pub(super) fn put_stored(&self, plan: Arc<Plan>) {
        self.insert(plan, true);
    }

    /// Whether the store is known to have this definition's text.
    pub(super) fn is_stored(&self, hash: &str) -> bool {
        self.entries().get(hash).is_some_and(|entry| entry.stored)
    }

    /// The store turned out not to have this definition's text, whatever was known.
    pub(super) fn forget_stored(&self, hash: &str) {
        if let Some(entry) = self.entries().get_mut(hash) {
            entry.stored = false;
        }
    }

    fn insert(&self, plan: Arc<Plan>, stored: bool) {
        let mut entries = self.entries();
        if entries.len() >= CAPACITY && !entries.contains_key(&plan.hash) {
            entries.clear();
        }
        let known = entries.get(&plan.hash).is_some_and(|entry| entry.stored);
        entries.insert(plan.hash.clone(), Entry { plan, stored: stored || known });
    }
}

/// What keeps a stored definition from being used, in one line.
pub(super) fn named(faults: &[Fault]) -> String {
    let each = faults.iter().map(|fault| format!("{} {}", fault.pointer, fault.detail));
    each.collect::<Vec<_>>().join("; ")
}
