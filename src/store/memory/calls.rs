//! The calls of the store: what needs the clock or a line or two is done here, the rest in [`super::state`].

use std::time::Duration;

use async_trait::async_trait;

use crate::model::{Epoch, Incarnation, Json, Namespace, Seq, ThreadId, Timestamp};

use crate::store::records::Reader;
use crate::store::{
    Claimed, InterventionCounts, InterventionFilter, InterventionRow, Message, Posted, Records,
    Recovery, RecoveryCount, RecoveryEnd, Snapshot, Standing, Store, StoreError, ThreadFilter,
    ThreadRow, Traits, WorkflowRow, Write, WriteOutcome,
};

use super::MemoryStore;

#[async_trait]
impl Store for MemoryStore {
    fn traits(&self) -> Traits {
        Traits { backend: "memory", durable: false, writers: 1 }
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn register(&self, name: &str, ttl: Duration) -> Result<Incarnation, StoreError> {
        Ok(self.state().register(name, self.clock.monotonic(), ttl))
    }

    async fn renew(&self, me: Incarnation, ttl: Duration) -> Result<bool, StoreError> {
        Ok(self.state().renew(me, self.clock.monotonic(), ttl))
    }

    async fn retire(&self, me: Incarnation) -> Result<(), StoreError> {
        self.state().retire(me, self.clock.now());
        Ok(())
    }

    async fn claim(&self, me: Incarnation, limit: usize) -> Result<Vec<Claimed>, StoreError> {
        Ok(self.state().claim(me, limit, self.clock.monotonic(), self.clock.now()))
    }

    async fn owned(&self, me: Incarnation) -> Result<Vec<Claimed>, StoreError> {
        Ok(self.state().owned(me))
    }

    async fn next_wake(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.state().ready.first().map(|(wake_at, _)| *wake_at))
    }

    async fn queued(&self, limit: usize) -> Result<usize, StoreError> {
        let now = self.clock.now();
        Ok(self.state().ready.iter().take_while(|(at, _)| *at <= now).take(limit).count())
    }

    async fn write(
        &self,
        me: Incarnation,
        batch: &[Write],
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        let (mut state, now) = (self.state(), self.clock.now());
        let alive = state.is_alive(me, self.clock.monotonic());
        Ok(batch.iter().map(|write| state.write((me, alive), write, now)).collect())
    }

    async fn wrote(&self, thread: &ThreadId, prev: Seq, epoch: Epoch) -> Result<bool, StoreError> {
        let state = self.state();
        let journal = state.threads.get(thread).map_or(&[][..], |found| &found.journal);
        Ok(journal.iter().any(|(by, row)| {
            *by == epoch && row.first_seq.cast_unsigned() == prev.saturating_add(1)
        }))
    }

    async fn read(
        &self,
        thread: &ThreadId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Records>, StoreError> {
        let state = self.state();
        let Some(found) = state.threads.get(thread) else { return Ok(Vec::new()) };
        let mut reader = Reader::new(thread, after, limit);
        let start = found.journal.partition_point(|(_, row)| row.seq.cast_unsigned() <= after);
        for (_, row) in found.journal.iter().skip(start) {
            if !reader.push(row.clone())? {
                break;
            }
        }
        reader.finish(found.row.last_seq)
    }

    async fn heads(&self, threads: &[ThreadId]) -> Result<Vec<(ThreadId, Seq)>, StoreError> {
        let state = self.state();
        let head = |id: &ThreadId| Some((id.clone(), state.threads.get(id)?.row.last_seq));
        Ok(threads.iter().filter_map(head).collect())
    }

    async fn thread(&self, thread: &ThreadId) -> Result<Option<ThreadRow>, StoreError> {
        Ok(self.state().threads.get(thread).map(|found| found.row.clone()))
    }

    async fn threads(
        &self,
        filter: &ThreadFilter,
        limit: usize,
    ) -> Result<Vec<ThreadRow>, StoreError> {
        Ok(self.state().list(filter, limit))
    }

    async fn owner(&self, thread: &ThreadId) -> Result<Option<String>, StoreError> {
        let state = self.state();
        let now = self.clock.monotonic();
        let owner = state.threads.get(thread).map(|found| found.row.owner);
        let owner = owner.filter(|owner| state.is_alive(*owner, now));
        Ok(owner.and_then(|owner| state.names.get(&owner).cloned()))
    }

    async fn standing(&self, thread: &ThreadId) -> Result<Option<Standing>, StoreError> {
        Ok(self.state().standing(thread, self.clock.monotonic()))
    }

    async fn by_idempotency_key(
        &self,
        key: &str,
    ) -> Result<Option<(ThreadId, String)>, StoreError> {
        Ok(self.state().by_idempotency_key(key, self.clock.now()))
    }

    async fn delete(&self, thread: &ThreadId, head: Option<Seq>) -> Result<bool, StoreError> {
        Ok(self.state().delete(thread, head))
    }

    async fn expire(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        Ok(self.state().expire(before, limit, self.clock.now()))
    }

    async fn post(&self, thread: &ThreadId, message: &Message) -> Result<Posted, StoreError> {
        Ok(self.state().post(thread, message, self.clock.now()))
    }

    async fn inbox(&self, thread: &ThreadId) -> Result<Vec<Message>, StoreError> {
        Ok(self.state().inbox(thread))
    }

    async fn inbox_of(&self, thread: &ThreadId, kind: &str) -> Result<Vec<Message>, StoreError> {
        Ok(self.state().inbox_of(thread, kind))
    }

    async fn mail(&self, me: Incarnation) -> Result<Vec<ThreadId>, StoreError> {
        Ok(self.state().mail(me))
    }

    async fn answer(&self, thread: &ThreadId, key: &str) -> Result<Option<Json>, StoreError> {
        Ok(self.state().answer(thread, key))
    }

    async fn definition(&self, hash: &str) -> Result<Option<String>, StoreError> {
        Ok(self.state().definitions.get(hash).cloned())
    }

    async fn save_workflow(
        &self,
        name: &str,
        hash: &str,
        text: &str,
        now: Timestamp,
    ) -> Result<(WorkflowRow, bool), StoreError> {
        let mut state = self.state();
        state.definitions.entry(hash.to_owned()).or_insert_with(|| text.to_owned());
        Ok(state.save_workflow(name, hash, now))
    }

    async fn workflow(
        &self,
        name: &str,
        version: Option<u32>,
    ) -> Result<Option<WorkflowRow>, StoreError> {
        Ok(self.state().workflow(name, version))
    }

    async fn workflows(
        &self,
        namespace: &Namespace,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<WorkflowRow>, StoreError> {
        Ok(self.state().newest_workflows(namespace, after, limit))
    }

    async fn durations(
        &self,
        namespace: &Namespace,
        workflow: &str,
        limit: usize,
    ) -> Result<Vec<u64>, StoreError> {
        Ok(self.state().durations(namespace, workflow, limit))
    }

    async fn shared_secret(&self, name: &str, candidate: [u8; 32]) -> Result<[u8; 32], StoreError> {
        Ok(*self.state().secrets.entry(name.to_owned()).or_insert(candidate))
    }

    async fn save_snapshot(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
        self.state().save_snapshot(snapshot);
        Ok(())
    }

    async fn snapshot(
        &self,
        thread: &ThreadId,
        until: Option<Seq>,
    ) -> Result<Option<Snapshot>, StoreError> {
        Ok(self.state().snapshot(thread, until))
    }

    async fn begin_recoveries(&self, recoveries: &[Recovery]) -> Result<(), StoreError> {
        self.state().begin_recoveries(recoveries);
        Ok(())
    }

    async fn end_recovery(
        &self,
        thread: &ThreadId,
        epoch: Epoch,
        end: &RecoveryEnd,
    ) -> Result<(), StoreError> {
        self.state().end_recovery(thread, epoch, end);
        Ok(())
    }

    async fn recoveries(
        &self,
        thread: &ThreadId,
        before: Option<Epoch>,
        limit: usize,
    ) -> Result<Vec<Recovery>, StoreError> {
        Ok(self.state().recoveries(thread, before, limit))
    }

    async fn recovery_counts(
        &self,
        namespace: &Namespace,
        since: Timestamp,
    ) -> Result<Vec<RecoveryCount>, StoreError> {
        Ok(self.state().recovery_counts(namespace, since))
    }

    async fn intervention(&self, id: &str) -> Result<Option<InterventionRow>, StoreError> {
        Ok(self.state().intervention(id))
    }

    async fn interventions(
        &self,
        filter: &InterventionFilter,
        limit: usize,
    ) -> Result<Vec<InterventionRow>, StoreError> {
        Ok(self.state().interventions(filter, limit))
    }

    async fn intervention_counts(
        &self,
        namespace: &Namespace,
    ) -> Result<InterventionCounts, StoreError> {
        Ok(self.state().intervention_counts(namespace))
    }

    async fn add_tallies(
        &self,
        at: Timestamp,
        tallies: &[(String, u64)],
    ) -> Result<(), StoreError> {
        self.state().add_tallies(at, tallies);
        Ok(())
    }

    async fn tallies(&self, since: Timestamp) -> Result<Vec<(String, u64)>, StoreError> {
        Ok(self.state().tallies(since))
    }

    async fn close(&self) {}
}
