//! Folds an event into the state. It cannot fail: an event that does not fit is never decided.

mod undo;

use super::Actor;
use super::choices::RETRY;
use super::state::{AbortDeadline, Intervention, PausedBy, Signal, StepState, ThreadState};
use super::track::Phase;
use crate::model::{
    Event, EventBody, InterventionKind, InterventionResolved, OnStep, Seq, StepComplete,
    StepFailed, StepId, StepRetry, StepSkipped, StepStart, StepStatus, ThreadStatus, Timestamp,
    WorkflowAborted, WorkflowForked, WorkflowPaused, WorkflowRecovered, WorkflowResumed,
};

impl ThreadState {
    /// Folds the next event in. The first one makes the state: [`ThreadState::first`].
    pub fn apply(&mut self, event: &Event) {
        self.last_seq = event.seq;
        self.updated_at = event.at;
        if event.body.is_progress() {
            self.interrupted = 0;
        }
        match &event.body {
            EventBody::WorkflowStart(_) => {}
            EventBody::StepStart(fact) => {
                self.on(&fact.step, |step| step.begin(fact, event.at));
            }
            EventBody::StepWaiting(fact) => self.on(&fact.step, |step| step.own.wait(&fact.data)),
            EventBody::StepRetry(fact) => self.on(&fact.step, |step| {
                step.retry(&fact.data, event.at);
            }),
            EventBody::StepTimeoutWarning(fact) => {
                self.on(&fact.step, |step| step.told(fact.data.compensation).warn());
            }
            EventBody::StepStale(fact) => {
                self.on(&fact.step, |step| step.told(fact.data.compensation).doubt());
            }
            EventBody::SignalReceived(data) => {
                self.signals
                    .push(Signal { name: data.name.clone(), payload: data.payload.clone() });
            }
            EventBody::StepComplete(fact) => {
                self.take_signal(&fact.step);
                self.on(&fact.step, |step| step.complete(&fact.data, event.at, event.seq));
            }
            EventBody::StepFailed(fact) => {
                self.on(&fact.step, |step| step.fail(&fact.data, event.at));
                if !fact.data.continued && self.error.is_none() {
                    self.error = Some(fact.data.error.clone());
                }
            }
            EventBody::StepSkipped(fact) => self.skipped(fact, event.at),
            EventBody::StepEdited(fact) => {
                self.on(&fact.step, |step| step.output = Some(fact.data.output.clone()));
                self.gave_data(&fact.data.by);
            }
            EventBody::CompensationStart(fact) => self.undo_started(fact, event.at),
            EventBody::CompensationComplete(fact) => self.on(&fact.step, |step| {
                step.compensation.settle(Phase::Done { seq: event.seq });
            }),
            EventBody::CompensationFailed(fact) => {
                self.on(&fact.step, |step| step.not_undone(&fact.data));
            }
            EventBody::InterventionOpened(data) => {
                self.interventions.push(Intervention {
                    opened: data.clone(),
                    at: event.at,
                    escalated: None,
                    resolved: None,
                });
            }
            EventBody::InterventionEscalated(data) => self.escalated(&data.id, event.at),
            EventBody::InterventionResolved(data) => self.resolved(data, event.at),
            EventBody::WorkflowPaused(data) => self.paused(data, event.at),
            EventBody::WorkflowForked(data) => self.forked(data),
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
            EventBody::WorkflowAborted(data) => self.aborted(data, event.at),
        }
    }

    fn skipped(&mut self, fact: &OnStep<StepSkipped>, at: Timestamp) {
        self.on(&fact.step, |step| step.skip(&fact.data, at));
        if let (Some(by), true) = (&fact.data.by, fact.data.output.is_some()) {
            self.gave_data(by);
        }
    }

    /// Records in `starters` who gave the thread data that others may have to approve.
    fn gave_data(&mut self, by: &str) {
        if !by.is_empty() && self.starters.iter().all(|known| known != by) {
            self.starters.push(by.to_owned());
        }
    }

    /// Removes the oldest signal of the name that a completing step waits for: the step has taken
    /// it.
    fn take_signal(&mut self, id: &StepId) {
        let name = self.find(id).and_then(|(_, step)| step.own.signal().map(str::to_owned));
        let taken = name.and_then(|name| self.signals.iter().position(|sent| sent.name == name));
        if let Some(at) = taken {
            self.signals.remove(at);
        }
    }

    fn on(&mut self, id: &StepId, change: impl FnOnce(&mut StepState)) {
        if self.status == ThreadStatus::Queued {
            self.status = ThreadStatus::Running;
        }
        self.change(id, change);
    }

    fn change(&mut self, id: &StepId, change: impl FnOnce(&mut StepState)) {
        if let Some(step) = self.plan.find(id.as_str()) {
            change(&mut self.steps[step]);
        }
    }

    fn aborted(&mut self, data: &WorkflowAborted, at: Timestamp) {
        let actor = Actor { by: data.by.clone(), reason: data.reason.clone(), ..Actor::default() };
        self.paused_by = Some(PausedBy { at, actor, abort_deadline: None });
        self.end(ThreadStatus::Aborted, at);
    }

    fn end(&mut self, status: ThreadStatus, at: Timestamp) {
        self.status = status;
        self.completed_at = Some(at);
        self.compensation_reason = None;
        self.stop();
    }

    /// Stops every attempt that is under way or due.
    fn stop(&mut self) {
        for step in &mut self.steps {
            step.own.stop();
            step.compensation.stop();
        }
    }

    fn escalated(&mut self, id: &str, at: Timestamp) {
        if let Some(asked) = self.intervention_mut(id) {
            asked.escalated = Some(at);
        }
    }

    fn resolved(&mut self, data: &InterventionResolved, at: Timestamp) {
        let Some(asked) = self.intervention_mut(&data.id) else { return };
        asked.resolved = Some((data.clone(), at));
        if asked.opened.kind != InterventionKind::Blocked || data.choice != RETRY {
            return;
        }
        for id in asked.opened.steps.clone() {
            self.change(&id, |step| {
                step.own.stop();
                // The person gives it all attempts of its retry policy.
                step.own.failures = 0;
            });
        }
    }

    fn recovered(&mut self, data: &WorkflowRecovered) {
        if data.cause.is_loss() {
            self.recoveries += 1;
            self.interrupted += u32::from(!data.steps.is_empty());
        }
        for step in &mut self.steps {
            step.own.lose();
            step.compensation.lose();
        }
    }

    fn paused(&mut self, data: &WorkflowPaused, at: Timestamp) {
        self.status = ThreadStatus::Paused;
        let WorkflowPaused { by, reason, aborts_at, compensate } = data.clone();
        let abort_deadline = aborts_at.map(|at| AbortDeadline { at, compensate });
        self.paused_by =
            Some(PausedBy { at, actor: Actor { by, reason, ..Actor::default() }, abort_deadline });
    }

    /// Separates a fork from the thread it comes from: attempts that ran there begin anew, and
    /// losses of replicas there do not count here. A thread that had ended, or was about to, goes
    /// on as after a resume.
    fn forked(&mut self, data: &WorkflowForked) {
        let ends =
            self.is_failing() || self.status.is_terminal() || self.abort_deadline().is_some();
        (self.recoveries, self.interrupted) = (0, 0);
        self.deadline = data.deadline;
        for id in &data.steps {
            self.change(id, |step| step.own.stop());
        }
        for id in &data.again {
            self.change(id, StepState::begin_again);
        }
        if ends {
            let WorkflowForked { input, deadline, .. } = data.clone();
            self.resumed(&WorkflowResumed { input, deadline, ..WorkflowResumed::default() });
        } else if let Some(input) = &data.input {
            self.input = input.clone();
        }
    }

    fn resumed(&mut self, data: &WorkflowResumed) {
        self.paused_by = None;
        if self.compensation_reason.is_some() {
            self.status = ThreadStatus::Compensating;
            return;
        }
        let from = data.from_step.as_ref().and_then(|id| self.plan.find(id.as_str()));
        for step in self.run_again(from) {
            self.steps[step].begin_again();
        }
        if let Some(input) = &data.input {
            self.input = input.clone();
            self.gave_data(&data.by);
        }
        self.status = ThreadStatus::Running;
        self.deadline = data.deadline;
        self.completed_at = None;
        self.error = None;
        self.output = None;
        for step in &mut self.steps {
            step.compensation.begin_again();
            if step.is_fatal() {
                step.own.phase = Phase::Idle;
                step.completed_at = None;
            }
            if step.status() == StepStatus::Pending {
                step.own.failures = 0;
                // The step begins anew, with its own work and not its fallback.
                step.fallback = false;
            }
        }
    }
}

impl StepState {
    /// Returns the step to `pending`, before its first attempt; the numbers of attempts go on.
    fn begin_again(&mut self) {
        let undone = self.status() == StepStatus::Compensated;
        self.own.begin_again();
        self.compensation.begin_again();
        *self = Self {
            own: std::mem::take(&mut self.own),
            compensation: std::mem::take(&mut self.compensation),
            compensation_epoch: self.compensation_epoch + u32::from(undone),
            session_id: self.session_id.take(),
            ..Self::default()
        };
    }

    fn skip(&mut self, data: &StepSkipped, at: Timestamp) {
        self.own.settle(Phase::Skipped { bypassed: data.by.is_some() });
        self.output.clone_from(&data.output);
        self.completed_at = Some(at);
    }

    fn begin(&mut self, fact: &OnStep<StepStart>, at: Timestamp) {
        self.admitted = true;
        self.started_at.get_or_insert(at);
        self.own.begin(fact.attempt, at);
        self.fallback = fact.data.fallback;
    }

    fn retry(&mut self, data: &StepRetry, at: Timestamp) {
        self.failed_at = Some(at);
        self.own.fail(&data.error, Phase::Backoff(data.retry_at), !data.cancelled);
        if data.fallback {
            // The fallback's own policy counts its attempts.
            self.own.failures = 0;
            self.fallback = true;
        }
    }

    fn complete(&mut self, data: &StepComplete, at: Timestamp, seq: Seq) {
        self.own.settle(Phase::Done { seq });
        self.output = Some(data.output.clone());
        self.session_id.clone_from(&data.session_id);
        self.fallback = data.fallback;
        self.completed_at = Some(at);
    }

    fn fail(&mut self, data: &StepFailed, at: Timestamp) {
        self.own.fail(&data.error, Phase::Failed { continued: data.continued }, true);
        self.completed_at = Some(at);
    }
}
