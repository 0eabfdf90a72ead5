//! Rejects impossible states: those that no history of decisions leads to.
//!
//! Every state that was loaded is checked before anything is decided from it: a thread whose
//! records contradict each other, or its plan, must be set aside and not be driven on by guesses.
//! Pure; the rules hold after every single event, also within one append. The properties in `tests`
//! show that every decision passes.

use super::{CompensationReason, Holder, Phase, StepState, ThreadState, Track, Wants};
use crate::definition::{PlanStep, Work};
use crate::model::{RetryPolicy, StepStatus, ThreadStatus};

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
        need(
            paused || self.abort_deadline().is_none(),
            "only what is paused is about to be aborted",
        )?;
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
        let compensation_reason = self.compensation_reason.is_some();
        need(compensation_reason || !compensating, "what is undone says why")?;
        let may = compensating || self.status == ThreadStatus::Paused;
        need(may || !compensation_reason, "it says why only while it is undone")?;
        let failed = matches!(self.compensation_reason, Some(CompensationReason::Failure));
        need(!failed || self.error.is_some(), "what is undone since it failed says why it did")?;
        let under_way = self.steps.iter().map(|step| &step.compensation);
        let under_way = under_way.filter(|track| track.is_running() || track.is_retrying());
        need(
            under_way.count() <= usize::from(compensation_reason),
            "steps are undone one at a time",
        )
    }

    /// Checks a step against the thread and the steps it depends on.
    fn check_among(&self, step: &StepState, planned: &PlanStep) -> Result<(), &'static str> {
        let status = step.status();
        let untouched = status == StepStatus::Pending && !step.admitted;
        let under_way =
            matches!(status, StepStatus::Running | StepStatus::Retrying | StepStatus::Waiting);
        need(!(under_way && self.status.is_terminal()), "no step is under way in an ended thread")?;
        need(
            !under_way || self.compensation_reason.is_none(),
            "no step is under way while others are undone",
        )?;
        let completed = self.status == ThreadStatus::Completed;
        need(!completed || status.is_terminal(), "each step of a completed thread has ended")?;
        let queued = self.status == ThreadStatus::Queued;
        need(!queued || untouched || step.is_bypassed(), "no step of a queued thread has begun")?;
        need(!step.is_fatal() || self.error.is_some(), "a thread says why its step has failed")?;
        need(
            untouched || step.is_bypassed() || self.has_all_of(planned),
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
    let tried = step.own.attempt_at.is_some() && step.started_at.is_some();
    need(!step.admitted || tried, "an attempt has a time")?;
    let ended = step.status().is_terminal();
    need(ended == step.completed_at.is_some(), "it has a time of its end if it has ended")?;
    check_track(&step.own, &planned.retry)?;
    match &step.own.phase {
        Phase::Running { holder: Holder::Nobody { until, wants }, .. } => {
            need(planned.action.waits(), "an attempt that somebody works at has a holder")?;
            need(until.is_some() || *wants != Wants::Time, "a sleep has a time")
        }
        Phase::Blocked(_) => need(planned.check.is_some(), "an output is blocked by a check"),
        Phase::Done { .. } => need(step.output.is_some(), "a completed step has an output"),
        Phase::Idle
        | Phase::Running { holder: Holder::Replica, .. }
        | Phase::Backoff(_)
        | Phase::Failed { .. }
        | Phase::Skipped { .. } => Ok(()),
    }
}

/// Checks the compensation of a step.
fn check_undo(step: &StepState, planned: &PlanStep) -> Result<(), &'static str> {
    let track = &step.compensation;
    if track.phase == Phase::Idle && track.attempt_at.is_none() {
        return Ok(());
    }
    need(step.own.completed_seq().is_some(), "only what has completed is undone")?;
    need(planned.compensate.is_some(), "only a planned compensation undoes it")?;
    let waits = matches!(track.phase.status(), StepStatus::Waiting | StepStatus::Skipped);
    need(!waits, "a compensation is attempted, and does not wait")?;
    need(track.attempt_at.is_some(), "a compensation has an attempt")?;
    check_track(track, &planned.work(Work::Compensation).retry)
}

/// Checks the attempts at a work.
fn check_track(track: &Track, policy: &RetryPolicy) -> Result<(), &'static str> {
    let tried = track.attempts > 0 && track.attempt_at.is_some();
    need(track.failures <= policy.max_attempts, "it fails no more often than its policy has")?;
    // A condition may fail before the first attempt.
    need(track.failures <= track.attempts.max(1), "it fails no more often than it is tried")?;
    match &track.phase {
        Phase::Idle | Phase::Skipped { .. } => Ok(()),
        Phase::Running { .. } | Phase::Blocked(_) => need(tried, "what runs has an attempt"),
        Phase::Backoff(_) => {
            need(tried && track.error.is_some(), "a retry follows a failed attempt")?;
            need(track.failures < policy.max_attempts, "a retry is one its policy allows")
        }
        Phase::Done { seq } => {
            let told = tried && *seq > 0 && track.error.is_none();
            need(told, "what has completed was tried, and an event completed it")
        }
        Phase::Failed { .. } => need(track.error.is_some(), "a failed step says why"),
    }
}

const fn need(kept: bool, rule: &'static str) -> Result<(), &'static str> {
    if kept { Ok(()) } else { Err(rule) }
}
