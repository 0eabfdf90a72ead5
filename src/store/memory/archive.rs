//! The rows of the store, as the other stores have them in their tables.

use std::collections::BTreeMap;
use std::ops::Bound;

use async_trait::async_trait;

use crate::model::{ThreadId, Timestamp};
use crate::store::rows::{indexed, json, summary, text, thread_id};
use crate::store::{
    Archive, Belongings, Import, InterventionRow, Message, Result, StoreError, StoredDefinition,
    StoredIntervention, StoredKey, StoredMessage, StoredRecords, StoredSnapshot, StoredThread,
    StoredWorkflow, Summary, ThreadDump, ThreadRow, ThreadTable, WorkflowRow,
};

use super::MemoryStore;
use super::state::{Key, State, Thread};

#[async_trait]
impl Archive for MemoryStore {
    async fn thread_ids(&self, after: &str, limit: usize) -> Result<Vec<String>> {
        Ok(page(&self.state().threads, after).take(limit).map(|(id, _)| id.to_string()).collect())
    }

    async fn stored_thread(&self, thread: &str) -> Result<Option<StoredThread>> {
        self.state().threads.get(thread).map(stored).transpose()
    }

    async fn stored_records(
        &self,
        thread: &str,
        after: i64,
        limit: usize,
    ) -> Result<Vec<StoredRecords>> {
        let state = self.state();
        let journal = state.threads.get(thread).map_or(&[][..], |found| &found.journal);
        let rows = journal.iter().filter(|(_, row)| row.seq > after).take(limit);
        let stored = rows.map(|(epoch, row)| StoredRecords {
            seq: row.seq,
            first_seq: row.first_seq,
            epoch: *epoch,
            at: row.at,
            crc: row.crc,
            payload: row.payload.clone(),
        });
        Ok(stored.collect())
    }

    async fn belongings(&self, thread: &StoredThread) -> Result<Belongings> {
        let (state, now) = (self.state(), self.clock.now());
        let Some(found) = state.threads.get(thread.thread_id.as_str()) else {
            return Ok(Belongings::default());
        };
        let message = |(message, answer): &(Message, Option<_>)| StoredMessage {
            key: message.key.clone(),
            body: bytes(&message.body),
            answer: answer.as_ref().map(bytes),
        };
        let labels: BTreeMap<String, String> =
            found.labels.iter().map(|(key, value)| (indexed(key), indexed(value))).collect();
        Ok(Belongings {
            labels: labels.into_iter().collect(),
            inbox: found.inbox.iter().map(message).collect(),
            key: state.stored_key(found, now),
            interventions: found.interventions.values().map(stored_intervention).collect(),
        })
    }

    async fn stored_snapshots(
        &self,
        thread: &str,
        after: i64,
        limit: usize,
    ) -> Result<Vec<StoredSnapshot>> {
        let state = self.state();
        let Some(found) = state.threads.get(thread) else { return Ok(Vec::new()) };
        let snapshots = found.snapshots.values().map(|snapshot| StoredSnapshot {
            seq: snapshot.seq.cast_signed(),
            kind: snapshot.kind.as_str().to_owned(),
            version: i64::from(snapshot.version),
            at: snapshot.at.millis(),
            sha256: snapshot.sha256.clone(),
            state: snapshot.state.clone().into_bytes(),
        });
        Ok(snapshots.filter(|snapshot| snapshot.seq > after).take(limit).collect())
    }

    async fn ids_in(
        &self,
        table: ThreadTable,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, bool)>> {
        let state = self.state();
        let has_rows = |thread: &Thread| match table {
            ThreadTable::Journal => !thread.journal.is_empty(),
            ThreadTable::Snapshots => !thread.snapshots.is_empty(),
            ThreadTable::Recoveries => !thread.recoveries.is_empty(),
            ThreadTable::Interventions => !thread.interventions.is_empty(),
        };
        let there = page(&state.threads, after).filter(|(_, thread)| has_rows(thread));
        Ok(there.take(limit).map(|(id, _)| (id.to_string(), true)).collect())
    }

    async fn stored_definitions(&self, after: &str, limit: usize) -> Result<Vec<StoredDefinition>> {
        let state = self.state();
        let stored = page(&state.definitions, after).take(limit).map(|(hash, text)| {
            StoredDefinition { hash: hash.clone(), text: text.clone().into_bytes() }
        });
        Ok(stored.collect())
    }

    async fn stored_definition(&self, hash: &str) -> Result<Option<StoredDefinition>> {
        let text = self.state().definitions.get(hash).cloned().map(String::into_bytes);
        Ok(text.map(|text| StoredDefinition { hash: hash.to_owned(), text }))
    }

    async fn stored_workflows(
        &self,
        (name, version): (&str, i64),
        limit: usize,
    ) -> Result<Vec<StoredWorkflow>> {
        let state = self.state();
        let versions = state.workflows.range::<str, _>((Bound::Included(name), Bound::Unbounded));
        let later = versions
            .flat_map(|(_, rows)| rows)
            .filter(|row| (row.name.as_str(), i64::from(row.version)) > (name, version));
        let stored = later.take(limit).map(|row| StoredWorkflow {
            name: row.name.clone(),
            version: i64::from(row.version),
            definition: row.definition.clone(),
            created_at: row.created_at.millis(),
        });
        Ok(stored.collect())
    }
}

#[async_trait]
impl Import for MemoryStore {
    async fn insert(&self, dump: &ThreadDump) -> Result<Option<bool>> {
        let (thread, wake_at) = (thread(dump)?, dump.row.wake_at.map(Timestamp::from_millis));
        let (mut state, now) = (self.state(), self.clock.now());
        let id = thread.row.thread_id.clone();
        if state.threads.contains_key(&id) {
            return Ok(None);
        }
        state.threads.insert(id.clone(), thread);
        let due = dump.row.is_due_on_arrival(dump.belongings.untaken());
        state.place(&id, 0, if due { Some(now) } else { wake_at });
        let Some(key) = &dump.belongings.key else { return Ok(Some(true)) };
        Ok(Some(state.put_key(&id, key, now)))
    }

    async fn import_definition(&self, definition: &StoredDefinition) -> Result<()> {
        let text = text(definition.text.clone())?;
        self.state().definitions.entry(definition.hash.clone()).or_insert(text);
        Ok(())
    }

    async fn import_workflow(&self, version: &StoredWorkflow) -> Result<Option<i64>> {
        let mut state = self.state();
        let versions = state.workflows.entry(version.name.clone()).or_default();
        let created_at = Timestamp::from_millis(version.created_at);
        let same = |row: &WorkflowRow| row.definition == version.definition;
        if versions.iter().any(|row| same(row) && row.created_at == created_at)
            || versions.last().is_some_and(same)
        {
            return Ok(None);
        }
        let number = versions.last().map_or(1, |newest| newest.version + 1);
        versions.push(WorkflowRow {
            name: version.name.clone(),
            version: number,
            definition: version.definition.clone(),
            created_at,
        });
        Ok(Some(i64::from(number)))
    }
}

impl State {
    fn stored_key(&self, thread: &Thread, now: Timestamp) -> Option<StoredKey> {
        let name = thread.idempotency_key.as_ref()?;
        let key = self.keys.get(name)?;
        let left_ms = key.expires_at.millis().saturating_sub(now.millis());
        let lives = key.thread_id == thread.row.thread_id && left_ms > 0;
        lives.then(|| StoredKey {
            key: name.clone(),
            request_hash: key.request_hash.clone(),
            left_ms,
        })
    }

    fn put_key(&mut self, id: &ThreadId, key: &StoredKey, now: Timestamp) -> bool {
        let taken = self.keys.get(&key.key);
        if taken.is_some_and(|known| known.expires_at > now && known.thread_id != *id) {
            return false;
        }
        let entry = Key {
            request_hash: key.request_hash.clone(),
            thread_id: id.clone(),
            expires_at: Timestamp::from_millis(now.millis().saturating_add(key.left_ms)),
        };
        self.keys.insert(key.key.clone(), entry);
        true
    }
}

/// A thread as its tables would have it.
fn stored(thread: &Thread) -> Result<StoredThread> {
    let row = &thread.row;
    Ok(StoredThread {
        thread_id: row.thread_id.to_string(),
        workflow: row.workflow.clone(),
        workflow_version: row.workflow_version.map(i64::from),
        definition: row.definition.clone(),
        request_hash: row.request_hash.clone(),
        idempotency_key: thread.idempotency_key.clone(),
        owner: row.owner,
        epoch: row.epoch,
        last_seq: row.last_seq.cast_signed(),
        claims: row.claims.cast_signed(),
        pending: i32::try_from(thread.pending()).unwrap_or(i32::MAX),
        wake_at: row.wake_at.map(Timestamp::millis),
        created_at: row.created_at.millis(),
        updated_at: row.updated_at.millis(),
        completed_at: row.summary.completed_at.map(Timestamp::millis),
        status: row.summary.status.as_str().to_owned(),
        summary: summary(&row.summary)?,
        metadata: bytes(&row.metadata),
    })
}

/// A thread as the other calls know it, placed nowhere yet.
fn thread(dump: &ThreadDump) -> Result<Thread> {
    let row = &dump.row;
    let unreadable = |fault: &dyn std::fmt::Display| {
        StoreError::Fatal(format!("thread {} can't be read: {fault}", row.thread_id))
    };
    let derived: Summary =
        serde_json::from_slice(&row.summary).map_err(|fault| unreadable(&fault))?;
    let version = row.workflow_version.map(u32::try_from).transpose();
    let mut inbox = Vec::with_capacity(dump.belongings.inbox.len());
    for message in &dump.belongings.inbox {
        let read = Message { key: message.key.clone(), body: json(message.body.clone())? };
        inbox.push((read, message.answer.clone().map(json).transpose()?));
    }
    let id = thread_id(&row.thread_id)?;
    let mut interventions = BTreeMap::new();
    for stored in &dump.belongings.interventions {
        interventions.insert(stored.id.clone(), intervention(&id, stored)?);
    }
    Ok(Thread {
        row: ThreadRow {
            thread_id: id,
            workflow: row.workflow.clone(),
            workflow_version: version.map_err(|fault| unreadable(&fault))?,
            definition: row.definition.clone(),
            request_hash: row.request_hash.clone(),
            metadata: json(row.metadata.clone())?,
            owner: 0,
            epoch: row.epoch,
            last_seq: row.last_seq.cast_unsigned(),
            claims: row.claims.cast_unsigned(),
            wake_at: None,
            summary: derived,
            created_at: Timestamp::from_millis(row.created_at),
            updated_at: Timestamp::from_millis(row.updated_at),
        },
        labels: dump.belongings.labels.clone(),
        idempotency_key: row.idempotency_key.clone(),
        journal: dump.journal.iter().map(|records| (records.epoch, records.row())).collect(),
        inbox,
        snapshots: BTreeMap::new(),
        recoveries: BTreeMap::new(),
        interventions,
    })
}

fn stored_intervention(row: &InterventionRow) -> StoredIntervention {
    StoredIntervention {
        id: row.id.clone(),
        opened_at: row.opened_at.millis(),
        resolved_at: row.resolved_at.map(Timestamp::millis),
        body: bytes(&row.body),
    }
}

fn intervention(thread: &ThreadId, stored: &StoredIntervention) -> Result<InterventionRow> {
    Ok(InterventionRow {
        id: stored.id.clone(),
        thread_id: thread.clone(),
        opened_at: Timestamp::from_millis(stored.opened_at),
        resolved_at: stored.resolved_at.map(Timestamp::from_millis),
        body: json(stored.body.clone())?,
    })
}

/// The entries of a map after a key.
fn page<'a, K: Ord + std::borrow::Borrow<str>, V>(
    map: &'a BTreeMap<K, V>,
    after: &str,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    map.range::<str, _>((Bound::Excluded(after), Bound::Unbounded))
}

fn bytes(json: &crate::model::Json) -> Vec<u8> {
    json.as_str().as_bytes().to_vec()
}
