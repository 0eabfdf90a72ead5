//! What is durable, written down beside the store at the moment it lands, and the promises that
//! can be held against it at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rethread::model::{Epoch, Event, EventBody, Incarnation, StepId, ThreadId};
use rethread::store::{Claimed, Records, ThreadRow, Write, WriteOutcome};

/// Everything that has become durable, and what was wrong with it.
#[derive(Debug, Default)]
pub(super) struct Audit {
    pub(super) threads: BTreeMap<ThreadId, Journal>,
    pub(super) violations: Vec<String>,
    leases: BTreeMap<Incarnation, Duration>,
    /// Once the whole machine has stood still, an attempt may begin on an expired lease.
    pub(super) stood_still: bool,
    /// Effects by idempotency key.
    pub(super) effects: BTreeMap<String, u32>,
    /// Writes of replicas that had lost their thread, and takeovers: that they happened at all.
    pub(super) fenced: u32,
    pub(super) takeovers: u32,
}

/// A thread's journal, and what follows from it.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// The exact bytes.
    pub(super) events: Vec<String>,
    pub(super) workflow: String,
    pub(super) epoch: Epoch,
    pub(super) started: BTreeSet<(StepId, u32)>,
    pub(super) completed: BTreeSet<StepId>,
    /// Failures of each step since the thread was last resumed.
    pub(super) failures: BTreeMap<StepId, u32>,
    pub(super) resumes: u32,
    pub(super) ended: bool,
    pub(super) paused: bool,
}

impl Audit {
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

    /// A claim was answered: nothing was taken from a live owner, and nothing given to a dead one.
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
                let before = std::mem::replace(&mut journal.epoch, thread.epoch);
                (before, journal.events.len())
            });
            if known != Some((thread.epoch - 1, usize::try_from(thread.last_seq).unwrap())) {
                self.violated(format!("{thread:?} was claimed after {known:?}"));
            }
        }
    }

    /// A write was answered; `rows` is the thread's row before and after.
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
                self.record(id, &start.records);
            }
            (Write::Append(append), Some(row)) => {
                let (owner, epoch) = (row.owner, row.epoch);
                if (owner, epoch, row.last_seq) != (me, append.epoch, append.prev) {
                    self.violated(format!("{id}: a write of {me} went past the fence of {row:?}"));
                }
                if let Some(records) = &append.records {
                    self.record(id, records);
                }
            }
            (Write::Start(_), Some(_)) => self.violated(format!("{id} was started twice")),
            (Write::Append(_), None) => self.violated(format!("{id} is written without a start")),
        }
    }

    fn record(&mut self, id: &ThreadId, records: &Records) {
        let Some(journal) = self.threads.get_mut(id) else { return };
        let mut faults = Vec::new();
        for text in &records.events {
            if let Err(fault) = journal.push(id, text) {
                faults.push(format!("{id}: {fault}: {text}"));
            }
        }
        self.violations.extend(faults);
    }
}

impl Journal {
    fn push(&mut self, id: &ThreadId, text: &str) -> Result<(), String> {
        let event = Event::decode(text).map_err(|fault| fault.to_string())?;
        let gapless = usize::try_from(event.seq) == Ok(self.events.len() + 1);
        self.events.push(text.to_owned());
        let is_resume = matches!(event.body, EventBody::WorkflowResumed(_));
        let rules = [
            (gapless, "numbers are gapless"),
            (event.encode(id) == text, "what is read is what was written"),
            (!self.ended || is_resume, "an ended thread is silent until it is resumed"),
            (self.ended || self.paused || !is_resume, "what goes on is not resumed"),
        ];
        self.ended = event.body.is_terminal();
        if let EventBody::StepStart(fact) = &event.body {
            self.started.insert((fact.step.clone(), fact.attempt));
        }
        let known = event.body.step().is_some_and(|step| self.completed.contains(step));
        match &event.body {
            EventBody::WorkflowStart(start) => self.workflow.clone_from(&start.workflow.name),
            EventBody::WorkflowResumed(_) => {
                self.resumes += 1;
                self.paused = false;
                self.failures.clear();
            }
            EventBody::StepRetry(fact) => *self.failures.entry(fact.step.clone()).or_default() += 1,
            EventBody::StepFailed(fact) => {
                *self.failures.entry(fact.step.clone()).or_default() += 1;
            }
            EventBody::StepComplete(fact) => {
                self.completed.insert(fact.step.clone());
            }
            EventBody::WorkflowPaused(_) => self.paused = true,
            EventBody::StepStart(_)
            | EventBody::StepEdited(_)
            | EventBody::SignalReceived(_)
            | EventBody::InterventionOpened(_)
            | EventBody::InterventionResolved(_)
            | EventBody::StepWaiting(_)
            | EventBody::StepTimeoutWarning(_)
            | EventBody::StepSkipped(_)
            | EventBody::WorkflowRecovered(_)
            | EventBody::WorkflowComplete(_)
            | EventBody::WorkflowFailed(_)
            | EventBody::WorkflowAborted(_) => {}
        }
        if known {
            return Err("nothing happens to a step that has completed".to_owned());
        }
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err((*rule).to_owned()),
            None => Ok(()),
        }
    }
}
