//! The content of the store, and the one place where a thread changes hands.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::{Epoch, Incarnation, Json, Seq, ThreadId, Timestamp};
use crate::store::records::JournalRow;
use crate::store::{
    AuditRow, InterventionRow, Message, NotificationRow, Recovery, Snapshot, SuspectRow, ThreadRow,
    WorkflowRow,
};

/// Everything there is.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) threads: BTreeMap<ThreadId, Thread>,
    /// Threads that nobody drives and that want to be claimed, by when.
    pub(super) ready: BTreeSet<(Timestamp, ThreadId)>,
    /// Threads by who drives them; never holds an empty set.
    pub(super) owned: BTreeMap<Incarnation, BTreeSet<ThreadId>>,
    /// The end of each incarnation's lease, on the monotonic clock.
    pub(super) leases: BTreeMap<Incarnation, Duration>,
    /// The last sign of life of each incarnation that was not retired.
    pub(super) seen: BTreeMap<Incarnation, Timestamp>,
    pub(super) suspects: BTreeMap<ThreadId, SuspectRow>,
    /// The replica's name of each incarnation.
    pub(super) names: BTreeMap<Incarnation, String>,
    pub(super) keys: BTreeMap<String, Key>,
    pub(super) definitions: BTreeMap<String, String>,
    /// Versions by name, oldest first.
    pub(super) workflows: BTreeMap<String, Vec<WorkflowRow>>,
    pub(super) secrets: BTreeMap<String, [u8; 32]>,
    /// Shared counters by hour and name.
    pub(super) tallies: BTreeMap<(i64, String), u64>,
    /// The audit list, by id.
    pub(super) audit: BTreeMap<String, AuditRow>,
    /// Subscriptions by id.
    pub(super) notifications: BTreeMap<String, NotificationRow>,
    /// Cursors of subscriptions, by thread and subscription.
    pub(super) cursors: BTreeMap<(ThreadId, String), Cursor>,
}

/// A thread, and every row that is deleted with it.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) row: ThreadRow,
    pub(super) labels: Vec<(String, String)>,
    pub(super) idempotency_key: Option<String>,
    pub(super) journal: Vec<(Epoch, JournalRow)>,
    /// Every message it ever got, oldest first; with its answer once it was taken.
    pub(super) inbox: Vec<(Message, Option<Json>)>,
    pub(super) snapshots: BTreeMap<Seq, Snapshot>,
    pub(super) recoveries: BTreeMap<Epoch, Recovery>,
    pub(super) interventions: BTreeMap<String, InterventionRow>,
}

/// An idempotency key.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) request_hash: String,
    pub(super) thread_id: ThreadId,
    pub(super) expires_at: Timestamp,
}

/// The events of a thread that a subscription was not sent yet.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) sent: Seq,
    pub(super) head: Seq,
    pub(super) since: Timestamp,
    pub(super) due_at: Timestamp,
    pub(super) attempts: u32,
    /// The time until which the holder of the token may send.
    pub(super) leased_until: Timestamp,
    pub(super) token: i64,
    pub(super) holder: Incarnation,
}

impl Thread {
    /// Messages that were not taken yet.
    pub(super) fn pending(&self) -> usize {
        self.inbox.iter().filter(|(_, answer)| answer.is_none()).count()
    }

    /// Whether it has ended and nobody drives it.
    pub(super) const fn is_at_rest(&self) -> bool {
        self.row.owner == 0 && self.row.summary.status.is_terminal()
    }
}

impl State {
    /// Changes who drives a thread and when it wants to be claimed, and the indexes with it.
    pub(super) fn place(
        &mut self,
        id: &ThreadId,
        owner: Incarnation,
        wake_at: Option<Timestamp>,
    ) -> Option<&mut Thread> {
        let thread = self.threads.get_mut(id)?;
        unindex(&mut self.ready, &mut self.owned, &thread.row);
        thread.row.owner = owner;
        thread.row.wake_at = if owner == 0 { wake_at } else { None };
        if owner != 0 {
            self.owned.entry(owner).or_default().insert(id.clone());
        } else if let Some(at) = wake_at {
            self.ready.insert((at, id.clone()));
        }
        Some(thread)
    }

    /// Removes a thread with every row of it.
    pub(super) fn remove(&mut self, id: &ThreadId) {
        let Some(thread) = self.threads.remove(id) else { return };
        self.cursors.retain(|(of, _), _| of != id);
        self.suspects.remove(id);
        unindex(&mut self.ready, &mut self.owned, &thread.row);
        if let Some(key) = thread.idempotency_key
            && self.keys.get(&key).is_some_and(|entry| entry.thread_id == *id)
        {
            self.keys.remove(&key);
        }
    }
}

fn unindex(
    ready: &mut BTreeSet<(Timestamp, ThreadId)>,
    owned: &mut BTreeMap<Incarnation, BTreeSet<ThreadId>>,
    row: &ThreadRow,
) {
    if let Some(at) = row.wake_at {
        ready.remove(&(at, row.thread_id.clone()));
    }
    if let Some(theirs) = owned.get_mut(&row.owner) {
        theirs.remove(&row.thread_id);
        if theirs.is_empty() {
            owned.remove(&row.owner);
        }
    }
}
