//! Rows of threads, lists of them, idempotency keys, and retention.

use async_trait::async_trait;

use crate::model::{Namespace, Seq, ThreadId, ThreadStatus, Timestamp, signed_millis};
use crate::store::rows::indexed;
use crate::store::{
    FORK_LABEL, Holder, MAX_AHEAD, Ownership, Result, Retention, ThreadFilter, ThreadRow, Threads,
};

use super::MemoryStore;
use super::state::Thread;

#[async_trait]
impl Threads for MemoryStore {
    async fn thread(&self, thread: &ThreadId) -> Result<Option<ThreadRow>> {
        Ok(self.state().threads.get(thread).map(|found| found.row.clone()))
    }

    async fn threads(&self, filter: &ThreadFilter, limit: usize) -> Result<Vec<ThreadRow>> {
        let state = self.state();
        let mut found: Vec<&Thread> =
            state.threads.values().filter(|thread| matches(thread, filter)).collect();
        found.sort_by(|a, b| age(&b.row).cmp(&age(&a.row)));
        Ok(found.into_iter().take(limit).map(|thread| thread.row.clone()).collect())
    }

    async fn owner(&self, thread: &ThreadId) -> Result<Option<String>> {
        let state = self.state();
        let now = self.clock.monotonic();
        let owner = state.threads.get(thread).map(|found| found.row.owner);
        let owner = owner.filter(|owner| state.is_alive(*owner, now));
        Ok(owner.and_then(|owner| state.names.get(&owner).cloned()))
    }

    async fn ownership(&self, thread: &ThreadId) -> Result<Option<Ownership>> {
        let (state, now) = (self.state(), self.clock.monotonic());
        let Some(thread) = state.threads.get(thread) else { return Ok(None) };
        let lease = state.leases.get(&thread.row.owner).zip(state.names.get(&thread.row.owner));
        let due = thread.row.wake_at.filter(|_| thread.row.owner == 0);
        let before = state.ready.iter().take_while(|(at, _)| due.is_some_and(|due| *at < due));
        let alive = state.leases.values().filter(|until| **until > now).count();
        Ok(Some(Ownership {
            holder: lease.map(|(until, replica)| Holder {
                replica: replica.clone(),
                lease_left_ms: signed_millis(*until).saturating_sub(signed_millis(now)),
            }),
            ahead: before.take(MAX_AHEAD).count(),
            mail: u32::try_from(thread.pending()).unwrap_or(u32::MAX),
            replicas: u32::try_from(alive).unwrap_or(u32::MAX),
        }))
    }

    async fn by_idempotency_key(&self, key: &str) -> Result<Option<(ThreadId, String)>> {
        let (state, now) = (self.state(), self.clock.now());
        let found = state.keys.get(&indexed(key)).filter(|found| found.expires_at > now);
        Ok(found.map(|found| (found.thread_id.clone(), found.request_hash.clone())))
    }

    async fn durations(
        &self,
        namespace: &Namespace,
        workflow: &str,
        limit: usize,
    ) -> Result<Vec<u64>> {
        let state = self.state();
        let mut ended: Vec<(Timestamp, &ThreadRow)> = Vec::new();
        for Thread { row, labels, .. } in state.threads.values() {
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
        Ok(lengths.map(|millis| u64::try_from(millis).unwrap_or(u64::MAX)).collect())
    }
}

#[async_trait]
impl Retention for MemoryStore {
    async fn delete(&self, thread: &ThreadId, head: Option<Seq>) -> Result<bool> {
        let mut state = self.state();
        let meant = |thread: &&Thread| head.is_none_or(|head| head == thread.row.last_seq);
        let ended = state.threads.get(thread).filter(meant).is_some_and(Thread::is_at_rest);
        if ended {
            state.remove(thread);
        }
        Ok(ended)
    }

    async fn expire(&self, before: Timestamp, limit: usize) -> Result<usize> {
        let (mut state, now) = (self.state(), self.clock.now());
        state.keys.retain(|_, key| key.expires_at > now);
        let old = |thread: &&Thread| {
            let ended = thread.row.summary.completed_at.is_some_and(|at| at < before);
            ended && thread.row.updated_at < before && thread.is_at_rest()
        };
        let untold =
            |thread: &&Thread| state.cursors.keys().any(|(of, _)| *of == thread.row.thread_id);
        let old = |thread: &&Thread| old(thread) && !untold(thread);
        let ids = state.threads.values().filter(old).take(limit).map(|t| t.row.thread_id.clone());
        let ids: Vec<ThreadId> = ids.collect();
        for id in &ids {
            state.remove(id);
        }
        Ok(ids.len())
    }

    async fn sweep(&self) -> Result<()> {
        Ok(())
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
