//! Folds the events of compensation into the state. Part of `apply`, under the same rules.

use crate::definition::Work;
use crate::machine::state::{CompensationReason, StepState, ThreadState};
use crate::machine::{Actor, Phase, Track};
use crate::model::{
    CompensationFailed, CompensationStart, Failure, OnStep, ThreadStatus, Timestamp, codes,
};

impl ThreadState {
    pub(super) fn undo_started(&mut self, fact: &OnStep<CompensationStart>, at: Timestamp) {
        self.unwind(&fact.data);
        self.on(&fact.step, |step| step.compensation.begin(fact.attempt, at));
    }

    /// Turns the thread to compensation at its first `compensation_start`: nothing else goes on,
    /// and compensations that failed before are tried anew.
    fn unwind(&mut self, data: &CompensationStart) {
        if self.compensation_reason.is_some() {
            return;
        }
        // The thread's own error outlives every later try to undo it; an error of compensation does
        // not.
        let gave_up = |error: &Failure| error.code == codes::COMPENSATION_FAILED;
        if self.error.as_ref().is_some_and(gave_up) {
            self.error = None;
        }
        let failed = self.status == ThreadStatus::Failed && self.error.is_some();
        self.compensation_reason = Some(match &data.by {
            Some(by) if !failed => CompensationReason::Abort(Actor {
                by: by.clone(),
                reason: data.reason.clone(),
                ..Actor::default()
            }),
            Some(_) | None => CompensationReason::Failure,
        });
        if let Some(error) = &data.error {
            self.error = Some(error.clone());
        }
        self.status = ThreadStatus::Compensating;
        self.completed_at = None;
        self.paused_by = None;
        self.stop();
        for Track { failures, phase, .. } in
            self.steps.iter_mut().map(|step| &mut step.compensation)
        {
            *failures = 0;
            if matches!(phase, Phase::Failed { .. }) {
                *phase = Phase::Idle;
            }
        }
    }
}

impl StepState {
    pub(super) fn not_undone(&mut self, data: &CompensationFailed) {
        let phase = data.retry_at.map_or(Phase::Failed { continued: false }, Phase::Backoff);
        self.compensation.fail(&data.error, phase, true);
    }

    /// Returns the attempts that an event is about: those at the compensation or at the step
    /// itself.
    pub(super) const fn told(&mut self, compensation: bool) -> &mut Track {
        self.track_mut(if compensation { Work::Compensation } else { Work::Own })
    }
}
