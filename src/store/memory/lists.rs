//! Lists, retention, idempotency keys and workflows.

use std::ops::Bound;

use crate::model::{Namespace, Seq, ThreadId, ThreadStatus, Timestamp};
use crate::store::limits::FORK_LABEL;
use crate::store::rows::indexed;
use crate::store::{ThreadFilter, ThreadRow, WorkflowRow};

use super::state::{State, Thread};

impl State {
    /// See [`crate::store::Store::threads`].
    pub(super) fn list(&self, filter: &ThreadFilter, limit: usize) -> Vec<ThreadRow> {
        let mut found: Vec<&Thread> =
            self.threads.values().filter(|thread| matches(thread, filter)).collect();
        found.sort_by(|a, b| age(&b.row).cmp(&age(&a.row)));
        found.into_iter().take(limit).map(|thread| thread.row.clone()).collect()
    }

    /// See [`crate::store::Store::by_idempotency_key`].
    pub(super) fn by_idempotency_key(
        &self,
        key: &str,
        now: Timestamp,
    ) -> Option<(ThreadId, String)> {
        let found = self.keys.get(&indexed(key)).filter(|found| found.expires_at > now)?;
        Some((found.thread_id.clone(), found.request_hash.clone()))
    }

    /// See [`crate::store::Store::delete`].
    pub(super) fn delete(&mut self, id: &ThreadId, head: Option<Seq>) -> bool {
        let meant = |thread: &&Thread| head.is_none_or(|head| head == thread.row.last_seq);
        let ended = self.threads.get(id).filter(meant).is_some_and(Thread::is_at_rest);
        if ended {
            self.remove(id);
        }
        ended
    }

    /// See [`crate::store::Store::expire`].
    pub(super) fn expire(&mut self, before: Timestamp, limit: usize, now: Timestamp) -> usize {
        self.keys.retain(|_, key| key.expires_at > now);
        let old = |thread: &&Thread| {
            let ended = thread.row.summary.completed_at.is_some_and(|at| at < before);
            ended && thread.row.updated_at < before && thread.is_at_rest()
        };
        let untold =
            |thread: &&Thread| self.cursors.keys().any(|(of, _)| *of == thread.row.thread_id);
        let old = |thread: &&Thread| old(thread) && !untold(thread);
        let ids = self.threads.values().filter(old).take(limit).map(|t| t.row.thread_id.clone());
        let ids: Vec<ThreadId> = ids.collect();
        for id in &ids {
            self.remove(id);
        }
        ids.len()
    }

    /// See [`crate::store::Store::durations`].
    pub(super) fn durations(
        &self,
        namespace: &Namespace,
        workflow: &str,
        limit: usize,
    ) -> Vec<u64> {
        let mut ended: Vec<(Timestamp, &ThreadRow)> = Vec::new();
        for Thread { row, labels, .. } in self.threads.values() {
            let forked = labels.iter().any(|(key, _)| key == FORK_LABEL);
            let completed = row.summary.status == ThreadStatus::Completed;
            let named = row.workflow == workflow && row.thread_id.is_within(namespace);
            if named && completed && !forked {
                ended.extend(row.summary.completed_at.map(|at| (at, row)));
            }
        }
        ended.sort_by(|a, b| (b.0, &b.1.thread_id).cmp(&(a.0, &a.1.thread_id)));
        let length = |(at, row): (Timestamp, &ThreadRow)| at.since(row.created_at).as_millis();
        let lengths = ended.into_iter().take(limit).map(length);
        lengths.map(|millis| u64::try_from(millis).unwrap_or(u64::MAX)).collect()
    }

    /// See [`crate::store::Store::save_workflow`].
    pub(super) fn save_workflow(
        &mut self,
        name: &str,
        hash: &str,
        now: Timestamp,
    ) -> (WorkflowRow, bool) {
        let versions = self.workflows.entry(name.to_owned()).or_default();
        if let Some(newest) = versions.last().filter(|newest| newest.definition == hash) {
            return (newest.clone(), false);
        }
        let row = WorkflowRow {
            name: name.to_owned(),
            version: versions.last().map_or(1, |newest| newest.version + 1),
            definition: hash.to_owned(),
            created_at: now,
        };
        versions.push(row.clone());
        (row, true)
    }

    /// See [`crate::store::Store::workflow`].
    pub(super) fn workflow(&self, name: &str, version: Option<u32>) -> Option<WorkflowRow> {
        let versions = self.workflows.get(name)?;
        let wanted = |row: &&WorkflowRow| version.is_none_or(|number| row.version == number);
        versions.iter().rev().find(wanted).cloned()
    }

    /// See [`crate::store::Store::workflows`].
    pub(super) fn newest_workflows(
        &self,
        namespace: &Namespace,
        after: Option<&str>,
        limit: usize,
    ) -> Vec<WorkflowRow> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let names = self.workflows.range::<str, _>((start, Bound::Unbounded));
        let is_within = |key: &str| Namespace::split(key).0.as_ref() == Some(namespace);
        let names = names.filter(|(key, _)| is_within(key));
        names.filter_map(|(_, versions)| versions.last().cloned()).take(limit).collect()
    }
}

/// Newest last; ids break ties.
fn age(row: &ThreadRow) -> (Timestamp, &ThreadId) {
    (row.created_at, &row.thread_id)
}

fn matches(thread: &Thread, filter: &ThreadFilter) -> bool {
    let row = &thread.row;
    row.thread_id.is_within(&filter.namespace)
        && filter.status.is_none_or(|status| row.summary.status == status)
        && filter.workflow.as_ref().is_none_or(|name| row.workflow == *name)
        && filter
            .metadata
            .iter()
            .all(|(key, value)| thread.labels.contains(&(indexed(key), indexed(value))))
        && filter.before.as_ref().is_none_or(|(at, id)| age(row) < (*at, id))
}
