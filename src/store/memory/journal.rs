//! The journal: starts, appends, and reads.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::model::{Epoch, Incarnation, Seq, ThreadId, Timestamp};
use crate::store::records::{JournalRow, Reader};
use crate::store::rows::indexed;
use crate::store::{
    Append, Disposition, IDEMPOTENCY_TTL, Journal, Records, Result, Start, ThreadRow, Write,
    WriteOutcome,
};

use super::MemoryStore;
use super::state::{Key, State, Thread};

#[async_trait]
impl Journal for MemoryStore {
    async fn write(&self, me: Incarnation, batch: &[Write]) -> Result<Vec<WriteOutcome>> {
        let (mut state, now) = (self.state(), self.clock.now());
        let alive = state.is_alive(me, self.clock.monotonic());
        let write = |write: &Write| match write {
            Write::Start(start) => state.start((me, alive), start, now),
            Write::Append(append) => state.append(me, append, now),
        };
        Ok(batch.iter().map(write).collect())
    }

    async fn wrote(&self, thread: &ThreadId, prev: Seq, epoch: Epoch) -> Result<bool> {
        let state = self.state();
        let journal = state.threads.get(thread).map_or(&[][..], |found| &found.journal);
        Ok(journal.iter().any(|(by, row)| {
            *by == epoch && row.first_seq.cast_unsigned() == prev.saturating_add(1)
        }))
    }

    async fn read(&self, thread: &ThreadId, after: Seq, limit: usize) -> Result<Vec<Records>> {
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

    async fn heads(&self, threads: &[ThreadId]) -> Result<Vec<(ThreadId, Seq)>> {
        let state = self.state();
        let head = |id: &ThreadId| Some((id.clone(), state.threads.get(id)?.row.last_seq));
        Ok(threads.iter().filter_map(head).collect())
    }
}

impl State {
    fn start(
        &mut self,
        (me, alive): (Incarnation, bool),
        start: &Start,
        now: Timestamp,
    ) -> WriteOutcome {
        if self.threads.contains_key(&start.thread_id) {
            return WriteOutcome::ThreadExists;
        }
        let known = self.definitions.contains_key(&start.definition);
        if start.definition_text.is_none() && !known {
            return WriteOutcome::DefinitionMissing;
        }
        let name = start.idempotency.as_ref().map(|wanted| indexed(&wanted.key));
        if let (Some(wanted), Some(name)) = (&start.idempotency, &name) {
            if self.keys.get(name).is_some_and(|key| key.expires_at > now) {
                return WriteOutcome::KeyExists;
            }
            let key = Key {
                request_hash: wanted.request_hash.clone(),
                thread_id: start.thread_id.clone(),
                expires_at: now.plus(IDEMPOTENCY_TTL),
            };
            self.keys.insert(name.clone(), key);
        }
        if let Some(text) = &start.definition_text {
            self.definitions.entry(start.definition.clone()).or_insert_with(|| text.clone());
        }
        let (owner, epoch, wake_at) = match start.disposition {
            Disposition::Keep if alive => (me, 1, None),
            Disposition::Keep => (0, 0, Some(now)),
            Disposition::Release { wake_at } => (0, 0, wake_at),
            Disposition::SetAside { until } => (0, 0, Some(until)),
        };
        let thread = Thread {
            row: row_of(start, epoch),
            labels: start.labels.iter().map(|(k, v)| (indexed(k), indexed(v))).collect(),
            idempotency_key: name,
            journal: start.rows().map(|row| (epoch, JournalRow::encode(row))).collect(),
            inbox: Vec::new(),
            snapshots: BTreeMap::new(),
            recoveries: BTreeMap::new(),
            interventions: BTreeMap::new(),
        };
        self.threads.insert(start.thread_id.clone(), thread);
        self.place(&start.thread_id, owner, wake_at);
        self.write_sides((&start.thread_id, start.told(), now), &start.sides);
        WriteOutcome::Written { mail: 0 }
    }

    fn append(&mut self, me: Incarnation, append: &Append, now: Timestamp) -> WriteOutcome {
        let Some(thread) = self.threads.get_mut(&append.thread_id) else {
            return WriteOutcome::Fenced;
        };
        let row = &mut thread.row;
        if (row.owner, row.epoch, row.last_seq) != (me, append.epoch, append.prev) {
            return WriteOutcome::Fenced;
        }
        if let Some(records) = &append.records {
            row.last_seq = records.last();
            row.updated_at = records.at;
            thread.journal.push((append.epoch, JournalRow::encode(records)));
        }
        row.summary = append.summary.clone();
        if append.progress {
            row.claims = 0;
        }
        self.write_sides((&append.thread_id, append.told(), now), &append.sides);
        let pending = self.threads.get(&append.thread_id).map_or(0, Thread::pending);
        let wake_at = match append.disposition {
            Disposition::Keep => return written(pending),
            Disposition::Release { .. } if pending > 0 => Some(now),
            Disposition::Release { wake_at } => wake_at,
            Disposition::SetAside { until } => Some(until),
        };
        self.place(&append.thread_id, 0, wake_at);
        written(pending)
    }
}

fn written(pending: usize) -> WriteOutcome {
    WriteOutcome::Written { mail: u32::try_from(pending).unwrap_or(u32::MAX) }
}

/// A new thread's row, before it is placed.
fn row_of(start: &Start, epoch: i64) -> ThreadRow {
    ThreadRow {
        thread_id: start.thread_id.clone(),
        workflow: start.workflow.clone(),
        workflow_version: start.workflow_version,
        definition: start.definition.clone(),
        request_hash: start.request_hash.clone(),
        metadata: start.metadata.clone(),
        owner: 0,
        epoch,
        last_seq: start.newest().last(),
        claims: 0,
        wake_at: None,
        summary: start.summary.clone(),
        created_at: start.newest().at,
        updated_at: start.newest().at,
    }
}
