//! The record of recoveries.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::model::{Epoch, Namespace, ThreadId, Timestamp};
use crate::store::{Recoveries, Recovery, RecoveryCount, RecoveryEnd, Result};

use super::MemoryStore;

#[async_trait]
impl Recoveries for MemoryStore {
    async fn begin_recoveries(&self, recoveries: &[Recovery]) -> Result<()> {
        let mut state = self.state();
        for recovery in recoveries {
            if let Some(thread) = state.threads.get_mut(&recovery.thread_id) {
                thread.recoveries.entry(recovery.epoch).or_insert_with(|| recovery.clone());
            }
        }
        Ok(())
    }

    async fn end_recovery(&self, thread: &ThreadId, epoch: Epoch, end: &RecoveryEnd) -> Result<()> {
        let mut state = self.state();
        let thread = state.threads.get_mut(thread);
        if let Some(recovery) = thread.and_then(|thread| thread.recoveries.get_mut(&epoch)) {
            recovery.end = Some(end.clone());
        }
        Ok(())
    }

    async fn recoveries(
        &self,
        thread: &ThreadId,
        before: Option<Epoch>,
        limit: usize,
    ) -> Result<Vec<Recovery>> {
        let state = self.state();
        let Some(thread) = state.threads.get(thread) else { return Ok(Vec::new()) };
        let older = thread.recoveries.range(..before.unwrap_or(Epoch::MAX));
        Ok(older.rev().take(limit).map(|(_, recovery)| recovery.clone()).collect())
    }

    async fn recovery_counts(
        &self,
        namespace: &Namespace,
        since: Timestamp,
    ) -> Result<Vec<RecoveryCount>> {
        let state = self.state();
        let all = state.threads.values().flat_map(|thread| thread.recoveries.values());
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
        Ok(counted.collect())
    }
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "milliseconds, for a mean")]
fn mean(durations: &[u64]) -> Option<f64> {
    let sum: u64 = durations.iter().sum();
    (!durations.is_empty()).then(|| sum as f64 / durations.len() as f64)
}
