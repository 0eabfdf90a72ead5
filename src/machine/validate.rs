//! Rejects impossible states: those that no history of decisions leads to.
//!
//! Every state that was loaded is checked before anything is decided from it: a thread whose
//! records contradict each other, or its plan, must be set aside and not be driven on by guesses.
//! Pure; the rules hold after every single event, also within one append. The properties in `tests`
//! show that every decision passes.

use super::{StepState, ThreadState, Undoing};
use crate::definition::{Action, PlanStep, Work};
use crate::model::{StepStatus, ThreadStatus};

/// A contradiction in a state, for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Inconsistency(String);

impl ThreadState {
    /// Looks for a contradiction within the state, or between it and its plan.
    pub fn validate(&self) -> Result<(), Inconsistency> {
        self.check_whole().map_err(|rule| Inconsistency(rule.to_owned()))?;
        for (_, planned, step) in self.placed() {
            let kept = check_step(step, planned).and_then(|()| self.check_among(step, planned));
            kept.map_err(|rule| Inconsistency(format!("step {}: {rule}", planned.id)))?;
        }
        Ok(())
    }

    fn check_whole(&self) -> Result<(), &'static str> {
        let ended = self.status.is_terminal();
        need(self.workflow.hash == self.plan.hash, "its plan is that of its workflow")?;
        need(self.last_seq > 0, "its journal has a first event")?;
        let older = self.forked_from.is_some() || self.created_at <= self.updated_at;
        need(older, "it was made before it was changed")?;
        need(ended == self.completed_at.is_some(), "it has a time of its end if it has ended")?;
        let waits = self.open_interventions().next().is_some();
        need(!ended || !waits, "what has ended waits for nobody")?;
        let completed = self.status == ThreadStatus::Completed;
        need(completed == self.output.is_some(), "it has an output if it has completed")?;
        need(!completed || self.error.is_none(), "what has completed has not failed")?;
        let paused = self.status == ThreadStatus::Paused;
        need(paused || self.ending().is_none(), "only what is paused is about to be aborted")?;
        let failed = self.status == ThreadStatus::Failed;
        need(!failed || self.error.is_some(), "what has failed says why")?;
        // Every attempt and every takeover is an event of its own.
        let attempts =
            |step: &StepState| u64::from(step.own.attempts) + u64::from(step.compensation.attempts);
        let attempts: u64 = self.steps.iter().map(attempts).sum();
        let counted = attempts.saturating_add(u64::from(self.recoveries));
        need(counted < self.last_seq, "it has no more attempts and recoveries than events")?;
        need(self.interrupted <= self.recoveries, "no more takeovers count than there were")?;
        let compensating = self.status == ThreadStatus::Compensating;
        let undoing = self.undoing.is_some();
        need(undoing || !compensating, "what is undone says why")?;
        let may = compensating || self.status == ThreadStatus::Paused;
        need(may || !undoing, "it says why only while it is undone")?;
        let failed = matches!(self.undoing, Some(Undoing::Failure));
        need(!failed || self.error.is_some(), "what is undone since it failed says why it did")?;
        let under_way = self
            .steps
            .iter()
            .filter(|step| matches!(step.undo, Some(StepStatus::Running | StepStatus::Retrying)));
        need(under_way.count() <= usize::from(undoing), "steps are undone one at a time")
    }

    /// Checks a step against the thread and the steps it depends on.
    fn check_among(&self, step: &StepState, planned: &PlanStep) -> Result<(), &'static str> {
        let untouched = step.status == StepStatus::Pending && !step.admitted;
        let under_way =
            matches!(step.status, StepStatus::Running | StepStatus::Retrying | StepStatus::Waiting);
        need(!(under_way && self.status.is_terminal()), "no step is under way in an ended thread")?;
        need(!under_way || self.undoing.is_none(), "no step is under way while others are undone")?;
        let completed = self.status == ThreadStatus::Completed;
        need(!completed || step.status.is_terminal(), "each step of a completed thread has ended")?;
        let queued = self.status == ThreadStatus::Queued;
        need(!queued || untouched || step.bypassed, "no step of a queued thread has begun")?;
        let fatal = step.status == StepStatus::Failed && !step.continued;
        need(!fatal || self.error.is_some(), "a thread says why its step has failed")?;
        need(
            untouched || step.bypassed || self.has_all_of(planned),
            "a step begins once all it depends on has ended",
        )
    }
}

/// Checks a step by itself.
fn check_step(step: &StepState, planned: &PlanStep) -> Result<(), &'static str> {
    need(!step.fallback || planned.fallback.is_some(), "only a planned fallback takes over")?;
    need(!step.fallback || step.own.attempts > 0, "a fallback takes over from an attempt")?;
    check_undo(step, planned)?;
    let planned = planned.work(step.work());
    let tried = step.own.attempts > 0 && step.started_at.is_some() && step.own.attempt_at.is_some();
    need(!step.admitted || tried, "an attempt has a time")?;
    let skipped = step.status == StepStatus::Skipped;
    need(skipped || !step.bypassed, "only a skipped step was bypassed")?;
    need(
        step.own.failures <= planned.retry.max_attempts,
        "it fails no more often than its policy has",
    )?;
    // A condition may fail before the first attempt.
    need(step.own.failures <= step.own.attempts.max(1), "it fails no more often than it is tried")?;
    let ended = step.status.is_terminal();
    need(ended == step.completed_at.is_some(), "it has a time of its end if it has ended")?;
    let wakes = step.own.wake_at.is_some();
    let waits = step.status == StepStatus::Waiting;
    need(waits || step.held.is_none(), "only what waits keeps an output that was blocked")?;
    match step.status {
        StepStatus::Pending | StepStatus::Skipped => {
            need(!wakes, "only what waits has a time to wake")
        }
        StepStatus::Running => need(tried && !wakes, "what runs has an attempt and waits for none"),
        StepStatus::Retrying => {
            need(wakes, "a retry has a time")?;
            need(tried && step.own.error.is_some(), "a retry follows a failed attempt")?;
            need(step.own.failures < planned.retry.max_attempts, "a retry is one its policy allows")
        }
        StepStatus::Waiting => {
            let ends = wakes || !matches!(*planned.action, Action::Sleep);
            need(tried && ends, "a wait has an attempt, and a sleep has a time")?;
            let held = step.held.is_some();
            need(held != planned.action.waits(), "an output is kept by what was attempted")?;
            need(!held || planned.check.is_some(), "an output is kept by a check")
        }
        StepStatus::Completed | StepStatus::Compensated => {
            need(step.completed_seq > 0, "an event completed it")?;
            need(tried && !wakes, "what has completed was tried and waits for nothing")?;
            need(
                step.output.is_some() && step.own.error.is_none(),
                "a completed step has an output",
            )
        }
        StepStatus::Failed => need(!wakes && step.own.error.is_some(), "a failed step says why"),
    }
}

/// Checks the compensation of a step.
fn check_undo(step: &StepState, planned: &PlanStep) -> Result<(), &'static str> {
    let undone = step.status == StepStatus::Compensated;
    need(undone == (step.undo == Some(StepStatus::Compensated)), "it is undone once")?;
    let (Some(status), track) = (step.undo, &step.compensation) else { return Ok(()) };
    need(undone || step.status == StepStatus::Completed, "only what has completed is undone")?;
    need(planned.compensate.is_some(), "only a planned compensation undoes it")?;
    need(track.attempts > 0 && track.attempt_at.is_some(), "a compensation has an attempt")?;
    let policy = &planned.work(Work::Compensation).retry;
    need(track.failures <= policy.max_attempts, "it fails no more often than its policy has")?;
    need(track.failures <= track.attempts, "it fails no more often than it is tried")?;
    let wakes = track.wake_at.is_some();
    match status {
        StepStatus::Retrying => need(wakes && track.error.is_some(), "its retry has a time"),
        StepStatus::Failed => {
            need(!wakes && track.error.is_some(), "it says why it was not undone")
        }
        StepStatus::Pending | StepStatus::Running | StepStatus::Compensated => {
            need(!wakes, "only its retry has a time")
        }
        StepStatus::Waiting | StepStatus::Completed | StepStatus::Skipped => {
            Err("a compensation is attempted, and does not wait")
        }
    }
}

const fn need(kept: bool, rule: &'static str) -> Result<(), &'static str> {
    if kept { Ok(()) } else { Err(rule) }
}
