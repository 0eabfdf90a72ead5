//! Folds in how a thread is undone. Called by `apply`, by whose rules it goes.

use crate::machine::Who;
use crate::machine::state::{StepState, ThreadState, Undo, Undoing};
use crate::model::{
    CompensationFailed, CompensationStart, Failure, OnStep, StepId, StepStale, StepStatus,
    StepTimeoutWarning, ThreadStatus, Timestamp, codes,
};

impl ThreadState {
    pub(super) fn undo_started(&mut self, fact: &OnStep<CompensationStart>, at: Timestamp) {
        self.unwind(&fact.data);
        self.on(&fact.step, |step| step.begin_undo(fact.attempt, at));
    }

    pub(super) fn undo_completed(&mut self, step: &StepId) {
        self.on(step, StepState::undone);
    }

    pub(super) fn undo_failed(&mut self, fact: &OnStep<CompensationFailed>) {
        self.on(&fact.step, |step| step.not_undone(&fact.data));
    }

    /// From the first compensation on nothing else goes on, and what could not be undone before is
    /// tried anew.
    fn unwind(&mut self, data: &CompensationStart) {
        if self.undoing.is_some() {
            return;
        }
        // An error of its own outlives every later try to undo it.
        let gave_up = |error: &Failure| error.code == codes::COMPENSATION_FAILED;
        if self.error.as_ref().is_some_and(gave_up) {
            self.error = None;
        }
        let failed = self.status == ThreadStatus::Failed && self.error.is_some();
        self.undoing = Some(match &data.by {
            Some(by) if !failed => Undoing::Abort(Who {
                by: by.clone(),
                reason: data.reason.clone(),
                ..Who::default()
            }),
            Some(_) | None => Undoing::Failure,
        });
        if let Some(error) = &data.error {
            self.error = Some(error.clone());
        }
        self.status = ThreadStatus::Compensating;
        self.completed_at = None;
        self.stopped = None;
        self.forget(&[StepStatus::Running, StepStatus::Retrying, StepStatus::Waiting]);
        for undo in self.steps.iter_mut().filter_map(|step| step.undo.as_mut()) {
            undo.failures = 0;
            if undo.status == StepStatus::Failed {
                undo.status = StepStatus::Pending;
            }
        }
    }
}

impl StepState {
    fn begin_undo(&mut self, attempt: u32, at: Timestamp) {
        let earlier = self.undo.take();
        self.undo_attempts = attempt;
        self.undo = Some(Box::new(Undo {
            status: StepStatus::Running,
            failures: earlier.as_ref().map_or(0, |undo| undo.failures),
            attempt_at: Some(at),
            wake_at: None,
            error: earlier.and_then(|undo| undo.error),
            warned: false,
            stale: false,
        }));
    }

    fn undone(&mut self) {
        self.status = StepStatus::Compensated;
        if let Some(undo) = &mut self.undo {
            undo.status = StepStatus::Compensated;
            undo.error = None;
        }
    }

    fn not_undone(&mut self, data: &CompensationFailed) {
        if let Some(undo) = &mut self.undo {
            undo.status = if data.is_final { StepStatus::Failed } else { StepStatus::Retrying };
            undo.failures += 1;
            undo.error = Some(data.error.clone());
            undo.wake_at = data.retry_at;
        }
    }

    pub(super) fn warn(&mut self, data: &StepTimeoutWarning) {
        match &mut self.undo {
            Some(undo) if data.compensation => undo.warned = true,
            Some(_) | None => self.warned = true,
        }
    }

    pub(super) fn found_stale(&mut self, data: &StepStale) {
        match &mut self.undo {
            Some(undo) if data.compensation => undo.stale = true,
            Some(_) | None => self.stale = true,
        }
    }
}
