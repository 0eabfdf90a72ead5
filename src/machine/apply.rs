//! Folds an event into the state. Cannot fail: what does not fit was never decided.

use super::state::{Intervention, Signal, StepState, Stop, ThreadState};
use crate::model::{
    Event, EventBody, InterventionResolved, StepComplete, StepFailed, StepId, StepRetry,
    StepSkipped, StepStatus, ThreadStatus, Timestamp, WorkflowRecovered, WorkflowResumed,
};

impl ThreadState {
    /// Folds the next event in. The first one makes the state: [`ThreadState::first`].
    pub fn apply(&mut self, event: &Event) {
        self.last_seq = event.seq;
        self.updated_at = event.at;
        match &event.body {
            EventBody::WorkflowStart(_) => {}
            EventBody::StepStart(fact) => {
                self.on(&fact.step, |step| {
                    step.begin(fact.attempt, event.at);
                    step.fallback = fact.data.fallback;
                });
            }
            EventBody::StepWaiting(fact) => self.on(&fact.step, |step| {
                step.status = StepStatus::Waiting;
                step.wake_at = fact.data.until;
                step.signal.clone_from(&fact.data.name);
            }),
            EventBody::StepRetry(fact) => self.on(&fact.step, |step| {
                step.retry(&fact.data, event.at);
            }),
            EventBody::StepTimeoutWarning(fact) => self.on(&fact.step, |step| step.warned = true),
            EventBody::SignalReceived(data) => {
                self.signals
                    .push(Signal { name: data.name.clone(), payload: data.payload.clone() });
            }
            EventBody::StepComplete(fact) => {
                self.take_signal(&fact.step);
                self.interrupted = 0;
                self.on(&fact.step, |step| step.complete(&fact.data, event.at));
            }
            EventBody::StepFailed(fact) => {
                self.on(&fact.step, |step| step.fail(&fact.data, event.at));
                if !fact.data.continued && self.error.is_none() {
                    self.error = Some(fact.data.error.clone());
                }
            }
            EventBody::StepSkipped(fact) => self.on(&fact.step, |step| {
                step.skip(&fact.data, event.at);
            }),
            EventBody::StepEdited(fact) => self.on(&fact.step, |step| {
                step.output = Some(fact.data.output.clone());
            }),
            EventBody::InterventionOpened(data) => {
                self.interventions.push(Intervention {
                    opened: data.clone(),
                    at: event.at,
                    resolved: None,
                });
            }
            EventBody::InterventionResolved(data) => {
                self.resolved(data, event.at);
            }
            EventBody::WorkflowPaused(data) => {
                self.interrupted = 0;
                self.stopped_by((&data.by, data.reason.as_ref()), event.at);
                self.status = ThreadStatus::Paused;
            }
            EventBody::WorkflowResumed(data) => self.resumed(data),
            EventBody::WorkflowRecovered(data) => self.recovered(data),
            EventBody::WorkflowComplete(data) => {
                self.output = Some(data.output.clone());
                self.end(ThreadStatus::Completed, event.at);
            }
            EventBody::WorkflowFailed(data) => {
                self.error = Some(data.error.clone());
                self.end(ThreadStatus::Failed, event.at);
            }
            EventBody::WorkflowAborted(data) => {
                self.stopped_by((&data.by, data.reason.as_ref()), event.at);
                self.end(ThreadStatus::Aborted, event.at);
            }
        }
    }

    /// A step that completes while it waits for a signal has taken the oldest of that name.
    fn take_signal(&mut self, id: &StepId) {
        let step = self.plan.position(id.as_str()).and_then(|at| self.steps.get(at));
        let name = step.and_then(|step| step.signal.clone());
        let taken = name.and_then(|name| self.signals.iter().position(|sent| sent.name == name));
        if let Some(at) = taken {
            self.signals.remove(at);
        }
    }

    fn on(&mut self, id: &StepId, change: impl FnOnce(&mut StepState)) {
        if self.status == ThreadStatus::Queued {
            self.status = ThreadStatus::Running;
        }
        let position = self.plan.position(id.as_str());
        if let Some(step) = position.and_then(|at| self.steps.get_mut(at)) {
            change(step);
        }
    }

    fn stopped_by(&mut self, (by, reason): (&String, Option<&String>), at: Timestamp) {
        self.stopped = Some(Stop { at, by: by.clone(), reason: reason.cloned() });
    }

    fn end(&mut self, status: ThreadStatus, at: Timestamp) {
        self.status = status;
        self.completed_at = Some(at);
        self.forget(&[StepStatus::Running, StepStatus::Retrying, StepStatus::Waiting]);
    }

    /// Steps in these states stand before their next attempt again; their count of attempts stays.
    fn forget(&mut self, states: &[StepStatus]) {
        for step in self.steps.iter_mut().filter(|step| states.contains(&step.status)) {
            step.status = StepStatus::Pending;
            step.wake_at = None;
            step.signal = None;
        }
    }

    fn resolved(&mut self, data: &InterventionResolved, at: Timestamp) {
        let asked = self.interventions.iter_mut().find(|one| one.opened.id == data.id);
        if let Some(asked) = asked {
            asked.resolved = Some((data.clone(), at));
        }
    }

    fn recovered(&mut self, data: &WorkflowRecovered) {
        if data.cause.is_loss() {
            self.recoveries += 1;
            self.interrupted += u32::from(!data.steps.is_empty());
        }
        self.forget(&[StepStatus::Running]);
    }

    fn resumed(&mut self, data: &WorkflowResumed) {
        self.interrupted = 0;
        let from = data.from_step.as_ref().and_then(|id| self.plan.position(id.as_str()));
        for at in from.map(|step| self.plan.after(step)).unwrap_or_default() {
            if let Some(step) = self.steps.get_mut(at) {
                step.begin_again();
            }
        }
        if let Some(input) = &data.input {
            self.input = input.clone();
        }
        self.status = ThreadStatus::Running;
        self.stopped = None;
        self.completed_at = None;
        self.error = None;
        self.output = None;
        for step in &mut self.steps {
            if step.status == StepStatus::Failed && !step.continued {
                step.status = StepStatus::Pending;
                step.completed_at = None;
            }
            if step.status == StepStatus::Pending {
                step.failures = 0;
                // It begins anew: with what it is itself.
                step.fallback = false;
            }
        }
    }
}

impl StepState {
    /// Stands before its first attempt again; attempts are numbered on.
    fn begin_again(&mut self) {
        *self = Self { attempts: self.attempts, session_id: self.session_id.take(), ..Self::new() };
    }

    fn skip(&mut self, data: &StepSkipped, at: Timestamp) {
        self.status = StepStatus::Skipped;
        self.output.clone_from(&data.output);
        self.bypassed = data.by.is_some();
        self.signal = None;
        self.error = None;
        self.wake_at = None;
        self.completed_at = Some(at);
    }

    fn begin(&mut self, attempt: u32, at: Timestamp) {
        self.status = StepStatus::Running;
        self.admitted = true;
        self.attempts = attempt;
        self.started_at.get_or_insert(at);
        self.attempt_at = Some(at);
        self.wake_at = None;
        self.warned = false;
    }

    fn retry(&mut self, data: &StepRetry, at: Timestamp) {
        self.failed_at = Some(at);
        self.signal = None;
        self.status = StepStatus::Retrying;
        self.failures += 1;
        if data.fallback {
            // The fallback's attempts are counted by its own policy.
            self.failures = 0;
            self.fallback = true;
        }
        self.error = Some(data.error.clone());
        self.wake_at = Some(data.retry_at);
    }

    fn complete(&mut self, data: &StepComplete, at: Timestamp) {
        self.status = StepStatus::Completed;
        self.output = Some(data.output.clone());
        self.session_id.clone_from(&data.session_id);
        self.fallback = data.fallback;
        self.error = None;
        self.wake_at = None;
        self.signal = None;
        self.completed_at = Some(at);
    }

    fn fail(&mut self, data: &StepFailed, at: Timestamp) {
        self.status = StepStatus::Failed;
        self.failures += 1;
        self.error = Some(data.error.clone());
        self.continued = data.continued;
        self.wake_at = None;
        self.signal = None;
        self.completed_at = Some(at);
    }
}
