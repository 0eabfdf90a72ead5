//! A cache of checked plans by the hash of their text, so that a workflow is parsed once and not at
//! each invoke.
//!
//! The cache is bounded by weight: a plan may take some kilobytes, or megabytes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::definition::Plan;
use crate::model::{Fault, lock};
use crate::observe::{Memory, Pool, Reservation};

/// The most that all plans together may weigh, in bytes: thousands of ordinary ones.
const CAPACITY: usize = 64 << 20;
/// The most that one plan may weigh, in bytes: a thousand steps whose filters call half of the
/// library.
const LARGEST: usize = 48 << 20;

#[derive(Debug, Clone)]
struct Entry {
    plan: Arc<Plan>,
    /// Whether the store is known to have the definition's text.
    stored: bool,
    weight: usize,
    /// The cache's `uses` when it was last asked for.
    used: u64,
}

#[derive(Debug, Default)]
struct Entries {
    by_hash: HashMap<String, Entry>,
    weight: usize,
    uses: u64,
    /// The reservation of the weight in the memory budget.
    held: Option<Reservation>,
}

/// A bounded cache of plans.
#[derive(Debug)]
pub(in crate::runtime) struct PlanCache {
    capacity: usize,
    entries: Mutex<Entries>,
}

impl Default for PlanCache {
    fn default() -> Self {
        Self::new(CAPACITY)
    }
}

impl PlanCache {
    /// Creates a cache of plans that together weigh at most `capacity` bytes.
    fn new(capacity: usize) -> Self {
        Self { capacity, entries: Mutex::default() }
    }

    /// Creates a cache whose plans take at most their share of a memory budget.
    pub(in crate::runtime) fn within(memory: &Arc<Memory>) -> Self {
        let cache = Self::new(CAPACITY.min(memory.share(Pool::Plans)));
        cache.entries().held = Some(memory.note(Pool::Plans, 0));
        cache
    }

    /// Returns the most that a plan may weigh to be kept, in bytes. Heavier plans are refused when
    /// they are submitted; one stored before there was a limit is parsed whenever it is needed.
    pub(in crate::runtime) fn largest(&self) -> usize {
        LARGEST.min(self.capacity)
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // Each change leaves a map of plans whose weights add up to `weight`, or to less.
        lock(&self.entries)
    }

    pub(in crate::runtime) fn get(&self, hash: &str) -> Option<Arc<Plan>> {
        self.entries().touch(hash).map(|entry| Arc::clone(&entry.plan))
    }

    /// Keeps a plan whose text may not be in the store yet.
    pub(in crate::runtime) fn put(&self, plan: Arc<Plan>) {
        self.insert(plan, false);
    }

    /// Keeps a plan whose text the store has.
    pub(in crate::runtime) fn put_stored(&self, plan: Arc<Plan>) {
        self.insert(plan, true);
    }

    /// Returns whether the store is known to have this definition's text.
    pub(in crate::runtime) fn is_stored(&self, hash: &str) -> bool {
        self.entries().by_hash.get(hash).is_some_and(|entry| entry.stored)
    }

    /// Records that the store turned out not to have this definition's text.
    pub(in crate::runtime) fn forget_stored(&self, hash: &str) {
        if let Some(entry) = self.entries().by_hash.get_mut(hash) {
            entry.stored = false;
        }
    }

    /// Forgets all plans: they come back as they are used.
    pub(in crate::runtime) fn clear(&self) {
        let mut entries = self.entries();
        (entries.by_hash, entries.weight) = (HashMap::new(), 0);
        entries.tell();
    }

    fn insert(&self, plan: Arc<Plan>, stored: bool) {
        let mut entries = self.entries();
        if let Some(entry) = entries.touch(&plan.hash) {
            entry.stored |= stored;
            return;
        }
        let weight = plan.weight();
        if weight > self.largest() {
            return;
        }
        entries.shrink_to(self.capacity - weight);
        let used = entries.uses;
        entries.weight += weight;
        entries.by_hash.insert(plan.hash.clone(), Entry { plan, stored, weight, used });
        entries.tell();
    }
}

impl Entries {
    fn tell(&mut self) {
        let weight = self.weight;
        if let Some(held) = &mut self.held {
            held.set(weight);
        }
    }

    fn touch(&mut self, hash: &str) -> Option<&mut Entry> {
        self.uses += 1;
        let entry = self.by_hash.get_mut(hash)?;
        entry.used = self.uses;
        Some(entry)
    }

    /// Forgets the least recently used plans until the rest weighs at most `weight`.
    fn shrink_to(&mut self, weight: usize) {
        if self.weight <= weight {
            return;
        }
        let mut oldest: Vec<(u64, String)> =
            self.by_hash.iter().map(|(hash, entry)| (entry.used, hash.clone())).collect();
        oldest.sort_unstable();
        // Frees a tenth more than needed, so that the next plans find room without a search.
        let goal = weight - weight / 10;
        for (_, hash) in oldest {
            if self.weight <= goal {
                break;
            }
            let gone = self.by_hash.remove(&hash);
            self.weight = self.weight.saturating_sub(gone.map_or(0, |entry| entry.weight));
        }
    }
}

/// Describes in one line the faults that keep a stored definition from being used.
pub(in crate::runtime) fn named(faults: &[Fault]) -> String {
    let each = faults.iter().map(|fault| format!("{} {}", fault.pointer, fault.detail));
    each.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Json, Pointer};

    fn plan(name: &str, steps: usize) -> Arc<Plan> {
        let step =
            |at: usize| format!(r#"{{"id":"s{at}","kind":"transform","with":{{"jq":"."}}}}"#);
        let steps: Vec<String> = (0..steps).map(step).collect();
        let text = format!(r#"{{"name":"{name}","steps":[{}]}}"#, steps.join(","));
        Arc::new(Plan::parse(&Json::parse(&text).unwrap(), &Pointer::root()).unwrap())
    }

    #[test]
    fn plans_are_kept_by_their_weight_and_the_least_used_go_first() {
        let plans: Vec<_> = (0..20).map(|at| plan(&format!("p{at}"), 3)).collect();
        let each = plans.iter().map(|plan| plan.weight()).max().unwrap();
        let cache = PlanCache::new(each * 10);
        for plan in &plans {
            assert!(cache.get(&plans[0].hash).is_some() || plan.hash == plans[0].hash);
            cache.put(Arc::clone(plan));
            assert!(cache.entries().weight <= each * 10);
        }
        assert!(cache.get(&plans[0].hash).is_some(), "it was used all along");
        assert!(cache.get(&plans[19].hash).is_some(), "it is the newest");
        assert!(cache.get(&plans[1].hash).is_none());
    }

    #[test]
    fn a_plan_too_heavy_to_be_kept_pushes_no_other_out() {
        let (small, large) = (plan("small", 1), plan("large", 900));
        let cache = PlanCache::new(large.weight() - 1);
        cache.put_stored(Arc::clone(&small));
        cache.put_stored(Arc::clone(&large));
        assert!(cache.get(&large.hash).is_none() && cache.get(&small.hash).is_some());
        cache.clear();
        assert_eq!(cache.entries().weight, 0);
        assert!(!cache.is_stored(&small.hash));
    }

    #[test]
    fn what_is_known_to_be_stored_stays_known() {
        let (cache, plan) = (PlanCache::default(), plan("p", 1));
        cache.put_stored(Arc::clone(&plan));
        cache.put(Arc::clone(&plan));
        assert!(cache.is_stored(&plan.hash));
        cache.forget_stored(&plan.hash);
        assert!(!cache.is_stored(&plan.hash));
    }
}
