//! Records durable data at the moment they land, beside the store, and checks the promises that can
//! be checked at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rethread::definition::Plan as CheckedPlan;
use rethread::machine::snapshot;
use rethread::model::{Event, EventBody, Incarnation, RecoveryCause, ThreadId};
use rethread::store::{Claimed, Records, Recovery, Snapshot, ThreadRow, Write, WriteOutcome};

use super::journal::{Journal, Rules, summary};
use super::world::Kind;

/// The deaths beyond the limit of losses that it may take to find what kills: it is tried alone three
/// times at least, and whatever else goes wrong spoils some of these trials.
const TRIALS: u32 = 40;

/// All durable data of a world, and the violations found in them.
#[derive(Debug)]
pub(super) struct Audit {
    pub(super) threads: BTreeMap<ThreadId, Journal>,
    pub(super) violations: Vec<String>,
    pub(super) kind: Kind,
    rules: Rules,
    leases: BTreeMap<Incarnation, Duration>,
    /// Recoveries that could not be recorded: the thread, and the incarnation it was taken from.
    unrecorded: BTreeSet<(ThreadId, Incarnation)>,
    /// Losses that have led to a pause, with the thread that was paused.
    blamed: BTreeMap<Incarnation, ThreadId>,
    /// The number of attempts that have ended their replica, by thread, since the thread last made
    /// progress.
    kills: BTreeMap<ThreadId, u32>,
    /// Whether the whole machine has stood still, or a live replica was taken for gone. From then
    /// on, an attempt may begin on an expired lease.
    pub(super) stood_still: bool,
    /// The number of effects by idempotency key.
    pub(super) effects: BTreeMap<String, u32>,
    /// The number of writes by replicas that had lost their thread, and of takeovers.
    pub(super) fenced: u32,
    pub(super) takeovers: u32,
    /// The number of threads that were paused because they may be what kills replicas.
    pub(super) quarantines: u32,
    /// The number of steps that were compensated.
    pub(super) undone: u32,
    /// The number of replicas that died alone.
    pub(super) deaths: u32,
    /// The number of snapshots that were compared with the journal.
    pub(super) snapshots: u32,
}

impl Audit {
    pub(super) fn new(
        plans: BTreeMap<String, Arc<CheckedPlan>>,
        poison: BTreeMap<String, usize>,
        kind: Kind,
    ) -> Self {
        Self {
            threads: BTreeMap::new(),
            violations: Vec::new(),
            kind,
            rules: Rules { plans, poison },
            leases: BTreeMap::new(),
            unrecorded: BTreeSet::new(),
            blamed: BTreeMap::new(),
            kills: BTreeMap::new(),
            stood_still: false,
            effects: BTreeMap::new(),
            fenced: 0,
            takeovers: 0,
            quarantines: 0,
            undone: 0,
            deaths: 0,
            snapshots: 0,
        }
    }

    pub(super) fn violated(&mut self, what: impl Into<String>) {
        self.violations.push(what.into());
    }

    pub(super) fn leased(&mut self, me: Incarnation, until: Duration) {
        if self.leases.keys().any(|known| *known >= me) && !self.leases.contains_key(&me) {
            self.violated(format!("incarnation {me} is not the newest"));
        }
        self.leases.insert(me, until);
    }

    pub(super) fn retired(&mut self, me: Incarnation) {
        self.leases.insert(me, Duration::ZERO);
    }

    /// Records that a peer ended a lease. The peer may have been wrong about the replica.
    pub(super) fn expired(&mut self, who: Incarnation, rightly: bool) {
        self.leases.insert(who, Duration::ZERO);
        self.stood_still |= !rightly;
    }

    /// Checks the answer of a claim: it took nothing from a live owner and gave nothing to a dead
    /// one.
    pub(super) fn claimed(&mut self, me: Incarnation, claimed: &[Claimed], now: Duration) {
        let live = |leases: &BTreeMap<Incarnation, Duration>, who| {
            leases.get(&who).is_some_and(|until| *until > now)
        };
        for thread in claimed {
            let id = &thread.thread_id;
            if !live(&self.leases, me) {
                self.violated(format!("{id} was given to {me}, whose lease is over"));
            }
            if thread.previous_owner != 0 {
                self.takeovers += 1;
                if live(&self.leases, thread.previous_owner) {
                    self.violated(format!("{id} was taken from {}", thread.previous_owner));
                }
            }
            let known = self.threads.get_mut(id).map(|journal| {
                journal.changes_hands(thread.previous_owner);
                journal.claims = thread.claims;
                let before = std::mem::replace(&mut journal.epoch, thread.epoch);
                (before, journal.events.len())
            });
            if known != Some((thread.epoch - 1, usize::try_from(thread.last_seq).unwrap())) {
                self.violated(format!("{thread:?} was claimed after {known:?}"));
            }
        }
    }

    /// Records the outcome of a write; `rows` is the thread's row before and after.
    pub(super) fn wrote(
        &mut self,
        me: Incarnation,
        write: &Write,
        outcome: WriteOutcome,
        rows: (Option<&ThreadRow>, Option<&ThreadRow>),
    ) {
        let id = write.thread_id();
        let (before, after) = rows;
        if !matches!(outcome, WriteOutcome::Written { .. }) {
            self.fenced += u32::from(outcome == WriteOutcome::Fenced);
            if before != after {
                self.violated(format!("{id}: a refused write has changed {before:?} to {after:?}"));
            }
            return;
        }
        match (write, before) {
            (Write::Start(start), None) => {
                let epoch = after.map_or(0, |row| row.epoch);
                self.threads.insert(id.clone(), Journal { epoch, ..Journal::default() });
                self.record(id, &start.records, me);
            }
            (Write::Append(append), Some(row)) => {
                let (owner, epoch) = (row.owner, row.epoch);
                if (owner, epoch, row.last_seq) != (me, append.epoch, append.prev) {
                    self.violated(format!("{id}: a write of {me} went past the fence of {row:?}"));
                }
                if let Some(records) = &append.records {
                    let journal = self.threads.get_mut(id);
                    let kept = journal.map(|journal| journal.appended(epoch, &records.events));
                    if let Some(Err(rule)) = kept {
                        self.violated(format!("{id}: {rule}"));
                    }
                    self.record(id, records, me);
                }
            }
            (Write::Start(_), Some(_)) => self.violated(format!("{id} was started twice")),
            (Write::Append(_), None) => self.violated(format!("{id} is written without a start")),
        }
        let folded = self.threads.get(id).and_then(|journal| journal.state.as_ref()).map(summary);
        if folded.as_ref() != after.map(|row| &row.summary) {
            self.violated(format!("{id}: its row is {after:?}, its journal says {folded:?}"));
        }
    }

    fn record(&mut self, id: &ThreadId, records: &Records, me: Incarnation) {
        let Some(journal) = self.threads.get_mut(id) else { return };
        let mut faults = Vec::new();
        let mut paused = None;
        let undone = |text: &&String| Event::kind_of(text) == "compensation_complete";
        self.undone += u32::try_from(records.events.iter().filter(undone).count()).unwrap();
        for text in &records.events {
            match journal.push(id, text, &self.rules) {
                Err(fault) => faults.push(format!("{id}: {fault}: {text}")),
                Ok(EventBody::WorkflowPaused(_)) => {
                    paused = Some((
                        std::mem::take(&mut journal.losses),
                        journal.handovers,
                        journal.claims,
                    ));
                }
                Ok(
                    EventBody::StepComplete(_)
                    | EventBody::CompensationComplete(_)
                    | EventBody::WorkflowResumed(_),
                ) => {
                    self.kills.remove(id);
                }
                Ok(_) => {}
            }
        }
        journal.driven_by = me;
        self.violations.extend(faults);
        if let Some((losses, handovers, claims)) = paused {
            self.paused(id, &losses, (handovers, claims));
        }
    }

    /// Records that a thread was paused because it was lost with these incarnations. The exact
    /// losses of a thread that was handed over meanwhile are unknown, and so are those of replicas that
    /// were lost while they loaded it.
    fn paused(&mut self, id: &ThreadId, losses: &[Incarnation], (handovers, claims): (u32, u32)) {
        self.quarantines += 1;
        let limit = self.kind.max_recoveries;
        let at_most = (u32::try_from(losses.len()).unwrap() + handovers).max(claims);
        if at_most <= limit {
            self.violated(format!("{id} is paused, and was lost at {losses:?} alone"));
        }
        let Some(last) = losses.last() else { return };
        if handovers == 0
            && let Some(other) = self.blamed.insert(*last, id.clone())
        {
            self.violated(format!("{id} and {other} are both paused by the loss of {last}"));
        }
        let is_poison = self.threads[id].poison.is_some();
        let again = self.threads.values().any(|one| one.poison.is_some() && one.resumes > 0);
        if self.kind.only_poison_kills && !is_poison && !again {
            self.violated(format!("{id} is innocent, and paused"));
        }
        self.kills.remove(id);
    }

    /// Records that an attempt ends its replica.
    pub(super) fn killed(&mut self, id: &ThreadId) {
        let kills = self.kills.entry(id.clone()).or_default();
        *kills += 1;
        // A loss that no replica learned of, since the answer to the claim was lost, counts as a
        // handover.
        let handovers = self.threads.get(id).map_or(0, |journal| journal.handovers);
        if *kills > self.kind.max_recoveries + TRIALS + handovers {
            let kills = *kills;
            self.violated(format!("{id} has killed {kills} replicas and is not paused"));
        }
    }

    /// Returns the interventions that the index must have open, newest first; `None` if there never
    /// was any.
    pub(super) fn open_interventions(&self, id: &ThreadId) -> Option<Vec<String>> {
        let state = self.threads.get(id)?.state.as_ref()?;
        let open = state.open_interventions().map(|one| (one.at, one.opened.id.clone()));
        let mut open: Vec<_> = open.collect();
        open.sort_unstable();
        let ids = open.into_iter().rev().map(|(_, id)| id);
        (!state.interventions.is_empty()).then(|| ids.collect())
    }

    /// Checks that a snapshot is exactly the fold of the journal.
    pub(super) fn snapshotted(&mut self, stored: &Snapshot) {
        self.snapshots += 1;
        let id = &stored.thread_id;
        let folded = self.threads.get(id).and_then(|journal| journal.fold(id, stored.seq));
        let right = folded.is_some_and(|state| {
            state.last_seq == stored.seq
                && snapshot::encode(&state) == (stored.state.clone(), stored.sha256.clone())
        });
        if !right {
            self.violated(format!("{id}: the journal does not come to the snapshot {stored:?}"));
        }
    }

    /// Notes recoveries that are about to be recorded, which may fail.
    pub(super) fn unrecorded(&mut self, recoveries: &[Recovery]) {
        self.unrecorded.extend(recoveries.iter().map(from_whom));
    }

    /// Notes that they are recorded.
    pub(super) fn recorded(&mut self, recoveries: &[Recovery]) {
        for recovery in recoveries {
            self.unrecorded.remove(&from_whom(recovery));
        }
    }

    /// Returns the losses in a thread's journal that must have a row among its recoveries.
    pub(super) fn losses_to_be_recorded(&self, id: &ThreadId) -> Vec<(RecoveryCause, Incarnation)> {
        let all = self.threads.get(id).map_or(&[][..], |journal| &journal.recovered);
        let known = |(_, from): &&(RecoveryCause, Incarnation)| {
            !self.unrecorded.contains(&(id.clone(), *from))
        };
        all.iter().filter(|(cause, _)| cause.is_loss()).filter(known).copied().collect()
    }
}

fn from_whom(recovery: &Recovery) -> (ThreadId, Incarnation) {
    (recovery.thread_id.clone(), recovery.previous_owner)
}
