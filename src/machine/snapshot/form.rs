//! The members of a snapshot, in the order of their names: that order is part of the form.
//!
//! States are taken apart here field by field, so that a new field does not compile until it has a
//! place here (and [`SNAPSHOT_VERSION`] a new number).

mod intervention;
mod step;
mod undo;
mod values;

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::intervention::InterventionForm;
use self::step::StepForm;
use self::undo::{StoppedForm, UndoingForm};
use self::values::{FailureForm, Time, Wide, json, moment, text, time};
use super::SnapshotFault;
use crate::definition::Plan;
use crate::machine::{Signal, ThreadState};
use crate::model::{ForkPoint, Seq, ThreadId, ThreadStatus, WorkflowRef};

/// The version that this server writes, and the only one it reads. It changes with every change of
/// the text: older snapshots are then skipped, and the journal is read.
pub const SNAPSHOT_VERSION: u32 = 4;

/// A thread.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ThreadForm<'a> {
    completed_at: Option<Time>,
    created_at: Time,
    deadline: Option<Time>,
    error: Option<FailureForm<'a>>,
    forked_from: Option<ForkForm<'a>>,
    input: Cow<'a, str>,
    interrupted: u32,
    interventions: Vec<InterventionForm<'a>>,
    last_seq: Wide<Seq>,
    metadata: Cow<'a, str>,
    output: Option<Cow<'a, str>>,
    recoveries: u32,
    signals: Vec<SignalForm<'a>>,
    starters: Vec<Cow<'a, str>>,
    status: ThreadStatus,
    steps: Vec<StepForm<'a>>,
    stopped: Option<StoppedForm<'a>>,
    thread_id: Cow<'a, str>,
    traceparent: Option<Cow<'a, str>>,
    undoing: Option<UndoingForm<'a>>,
    updated_at: Time,
    version: u32,
    workflow: WorkflowForm<'a>,
}

impl<'a> ThreadForm<'a> {
    pub(super) fn of(state: &'a ThreadState) -> Self {
        let ThreadState {
            thread_id,
            plan,
            workflow: WorkflowRef { name, version, hash },
            status,
            steps,
            input,
            metadata,
            traceparent,
            forked_from,
            output,
            error,
            undoing,
            recoveries,
            interrupted,
            interventions,
            signals,
            starters,
            stopped,
            last_seq,
            deadline,
            created_at,
            updated_at,
            completed_at,
        } = state;
        let planned = plan.steps.iter().map(|step| step.id.as_str());
        Self {
            completed_at: completed_at.map(time),
            created_at: time(*created_at),
            deadline: deadline.map(time),
            error: error.as_ref().map(FailureForm::of),
            forked_from: forked_from.as_ref().map(ForkForm::of),
            input: text(input),
            interrupted: *interrupted,
            interventions: interventions.iter().map(InterventionForm::of).collect(),
            last_seq: Wide(*last_seq),
            metadata: text(metadata),
            output: output.as_ref().map(text),
            recoveries: *recoveries,
            signals: signals.iter().map(SignalForm::of).collect(),
            starters: starters.iter().map(|name| name.as_str().into()).collect(),
            status: *status,
            steps: planned.zip(steps).map(|(id, step)| StepForm::of(id, step)).collect(),
            stopped: stopped.as_ref().map(StoppedForm::of),
            thread_id: thread_id.as_str().into(),
            traceparent: traceparent.as_deref().map(Cow::Borrowed),
            undoing: undoing.as_ref().map(UndoingForm::of),
            updated_at: time(*updated_at),
            version: SNAPSHOT_VERSION,
            workflow: WorkflowForm {
                hash: hash.as_str().into(),
                name: name.as_str().into(),
                version: *version,
            },
        }
    }

    pub(super) const fn version(&self) -> u32 {
        self.version
    }

    pub(super) fn definition(&self) -> &str {
        &self.workflow.hash
    }

    /// The state, held against the thread and the plan it has to be of.
    pub(super) fn into_state(
        self,
        thread: &ThreadId,
        plan: Arc<Plan>,
    ) -> Result<ThreadState, SnapshotFault> {
        let misfit = |detail: String| Err(SnapshotFault::Misfit(detail));
        if self.thread_id != thread.as_str() {
            return misfit(format!("it is of thread {}", self.thread_id));
        }
        if self.workflow.hash != plan.hash {
            return misfit(format!("it is of definition {}", self.workflow.hash));
        }
        if self.steps.len() != plan.steps.len() {
            let (found, planned) = (self.steps.len(), plan.steps.len());
            return misfit(format!("it has {found} steps, the plan {planned}"));
        }
        let pairs = self.steps.iter().zip(&plan.steps);
        if let Some((found, planned)) = pairs.clone().find(|(a, b)| a.id != b.id.as_str()) {
            return misfit(format!("step {} stands where the plan has {}", found.id, planned.id));
        }
        let steps: Result<_, _> = self.steps.into_iter().map(StepForm::into_state).collect();
        let opened: Result<_, _> =
            self.interventions.into_iter().map(InterventionForm::into_state).collect();
        let signals: Result<_, _> = self.signals.into_iter().map(SignalForm::into_state).collect();
        Ok(ThreadState {
            thread_id: thread.clone(),
            plan,
            workflow: WorkflowRef {
                name: self.workflow.name.into_owned(),
                version: self.workflow.version,
                hash: self.workflow.hash.into_owned(),
            },
            status: self.status,
            steps: steps?,
            input: json(self.input)?,
            metadata: json(self.metadata)?,
            traceparent: self.traceparent.map(Cow::into_owned),
            forked_from: self.forked_from.map(|form| form.into_point(thread)).transpose()?,
            output: self.output.map(json).transpose()?,
            error: self.error.map(FailureForm::into_failure).transpose()?,
            undoing: self.undoing.map(UndoingForm::into_undoing),
            recoveries: self.recoveries,
            interrupted: self.interrupted,
            interventions: opened?,
            signals: signals?,
            starters: self.starters.into_iter().map(Cow::into_owned).collect(),
            stopped: self.stopped.map(StoppedForm::into_state),
            last_seq: self.last_seq.0,
            deadline: self.deadline.map(moment),
            created_at: moment(self.created_at),
            updated_at: moment(self.updated_at),
            completed_at: self.completed_at.map(moment),
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ForkForm<'a> {
    seq: Wide<Seq>,
    thread_id: Cow<'a, str>,
}

impl<'a> ForkForm<'a> {
    fn of(point: &'a ForkPoint) -> Self {
        let ForkPoint { thread_id, seq } = point;
        Self { seq: Wide(*seq), thread_id: thread_id.text().into() }
    }

    fn into_point(self, thread: &ThreadId) -> Result<ForkPoint, SnapshotFault> {
        let thread_id = ThreadId::within(&thread.namespace(), &self.thread_id);
        let thread_id = thread_id.map_err(|fault| SnapshotFault::Unreadable(fault.to_string()))?;
        Ok(ForkPoint { thread_id, seq: self.seq.0 })
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WorkflowForm<'a> {
    hash: Cow<'a, str>,
    name: Cow<'a, str>,
    version: Option<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SignalForm<'a> {
    name: Cow<'a, str>,
    payload: Cow<'a, str>,
}

impl<'a> SignalForm<'a> {
    fn of(signal: &'a Signal) -> Self {
        let Signal { name, payload } = signal;
        Self { name: name.as_str().into(), payload: text(payload) }
    }

    fn into_state(self) -> Result<Signal, SnapshotFault> {
        Ok(Signal { name: self.name.into_owned(), payload: json(self.payload)? })
    }
}
