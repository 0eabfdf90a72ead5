//! What is kept beside the journal: snapshots, recoveries, the index of interventions, and tallies.

use std::collections::BTreeMap;

use crate::model::{Epoch, Namespace, Seq, ThreadId, Timestamp};
use crate::store::limits::{TALLIES_KEPT, tally_hour};
use crate::store::{
    InterventionCounts, InterventionFilter, InterventionRow, Recovery, RecoveryCount, RecoveryEnd,
    SNAPSHOTS_KEPT, Snapshot,
};

use super::state::State;

impl State {
    /// See [`crate::store::Store::save_snapshot`].
    pub(super) fn save_snapshot(&mut self, snapshot: &Snapshot) {
        let Some(thread) = self.threads.get_mut(&snapshot.thread_id) else { return };
        thread.snapshots.insert(snapshot.seq, snapshot.clone());
        while thread.snapshots.len() > SNAPSHOTS_KEPT {
            thread.snapshots.pop_first();
        }
    }

    /// See [`crate::store::Store::snapshot`].
    pub(super) fn snapshot(&self, thread: &ThreadId, until: Option<Seq>) -> Option<Snapshot> {
        let snapshots = &self.threads.get(thread)?.snapshots;
        snapshots.range(..=until.unwrap_or(Seq::MAX)).next_back().map(|(_, found)| found.clone())
    }

    /// See [`crate::store::Store::begin_recoveries`].
    pub(super) fn begin_recoveries(&mut self, recoveries: &[Recovery]) {
        for recovery in recoveries {
            if let Some(thread) = self.threads.get_mut(&recovery.thread_id) {
                thread.recoveries.entry(recovery.epoch).or_insert_with(|| recovery.clone());
            }
        }
    }

    /// See [`crate::store::Store::end_recovery`].
    pub(super) fn end_recovery(&mut self, thread: &ThreadId, epoch: Epoch, end: &RecoveryEnd) {
        let thread = self.threads.get_mut(thread);
        if let Some(recovery) = thread.and_then(|thread| thread.recoveries.get_mut(&epoch)) {
            recovery.end = Some(end.clone());
        }
    }

    /// See [`crate::store::Store::recoveries`].
    pub(super) fn recoveries(
        &self,
        thread: &ThreadId,
        before: Option<Epoch>,
        limit: usize,
    ) -> Vec<Recovery> {
        let Some(thread) = self.threads.get(thread) else { return Vec::new() };
        let older = thread.recoveries.range(..before.unwrap_or(Epoch::MAX));
        older.rev().take(limit).map(|(_, recovery)| recovery.clone()).collect()
    }

    /// See [`crate::store::Store::recovery_counts`].
    pub(super) fn recovery_counts(
        &self,
        namespace: &Namespace,
        since: Timestamp,
    ) -> Vec<RecoveryCount> {
        let all = self.threads.values().flat_map(|thread| thread.recoveries.values());
        let mut groups: BTreeMap<_, (u64, Vec<u64>)> = BTreeMap::new();
        let all = all.filter(|recovery| recovery.thread_id.is_within(namespace));
        for recovery in all.filter(|recovery| recovery.started_at >= since) {
            let end = recovery.end.as_ref();
            let (count, durations) =
                groups.entry((recovery.cause, end.map(|end| end.result))).or_default();
            *count += 1;
            durations.extend(end.map(|end| end.duration_ms));
        }
        let counted = groups.into_iter().map(|((cause, result), (count, durations))| {
            RecoveryCount { cause, result, count, mean_ms: mean(&durations) }
        });
        counted.collect()
    }

    /// Puts what an append says about interventions into the index.
    pub(super) fn index_interventions(&mut self, rows: &[InterventionRow]) {
        for row in rows {
            if let Some(thread) = self.threads.get_mut(&row.thread_id) {
                thread.interventions.insert(row.id.clone(), row.clone());
            }
        }
    }

    fn all_interventions(&self) -> impl Iterator<Item = &InterventionRow> {
        self.threads.values().flat_map(|thread| thread.interventions.values())
    }

    /// See [`crate::store::Store::intervention`].
    pub(super) fn intervention(&self, id: &str) -> Option<InterventionRow> {
        self.all_interventions().find(|row| row.id == id).cloned()
    }

    /// See [`crate::store::Store::interventions`].
    pub(super) fn interventions(
        &self,
        filter: &InterventionFilter,
        limit: usize,
    ) -> Vec<InterventionRow> {
        let wanted = |row: &&InterventionRow| {
            row.thread_id.is_within(&filter.namespace)
                && filter.open.is_none_or(|open| row.resolved_at.is_none() == open)
                && filter.thread.as_ref().is_none_or(|thread| row.thread_id == *thread)
                && filter
                    .before
                    .as_ref()
                    .is_none_or(|(at, id)| (row.opened_at, &row.id) < (*at, id))
        };
        let mut found: Vec<InterventionRow> =
            self.all_interventions().filter(wanted).cloned().collect();
        found.sort_by(|a, b| (b.opened_at, &b.id).cmp(&(a.opened_at, &a.id)));
        found.truncate(limit);
        found
    }

    /// See [`crate::store::Store::intervention_counts`].
    pub(super) fn intervention_counts(&self, namespace: &Namespace) -> InterventionCounts {
        let mut counts = InterventionCounts::default();
        for row in self.all_interventions().filter(|row| row.thread_id.is_within(namespace)) {
            *(if row.resolved_at.is_none() { &mut counts.open } else { &mut counts.resolved }) += 1;
        }
        counts
    }

    /// See [`crate::store::Store::add_tallies`].
    pub(super) fn add_tallies(&mut self, at: Timestamp, tallies: &[(String, u64)]) {
        let hour = tally_hour(at);
        self.tallies.retain(|(kept, _), _| *kept >= hour - TALLIES_KEPT);
        for (name, count) in tallies {
            *self.tallies.entry((hour, name.clone())).or_default() += count;
        }
    }

    /// See [`crate::store::Store::tallies`].
    pub(super) fn tallies(&self, since: Timestamp) -> Vec<(String, u64)> {
        let first = tally_hour(since);
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        for ((_, name), count) in self.tallies.range((first, String::new())..) {
            *sums.entry(name.clone()).or_default() += count;
        }
        sums.into_iter().collect()
    }
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "milliseconds, for a mean")]
fn mean(durations: &[u64]) -> Option<f64> {
    let sum: u64 = durations.iter().sum();
    (!durations.is_empty()).then(|| sum as f64 / durations.len() as f64)
}
