//! The rules that a journal keeps for one step.

use super::need;
use crate::definition::{Fallback, PlanStep, Work};
use crate::model::{
    Json, OnStep, Seq, StepComplete, StepFailed, StepRetry, StepStart, StepWaiting, Timestamp,
    codes,
};

/// The state of a step by the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Pending,
    Running,
    Waiting,
    Retrying,
    Completed,
    Failed {
        continued: bool,
    },
    Skipped,
    /// Skipped by a person: steps that depend on it run.
    Bypassed,
    /// Completed, and compensated since.
    Compensated,
}

/// The state of a step's compensation by the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undo {
    /// Never tried, or its attempt was lost.
    Open,
    Running,
    Retrying,
    Failed,
}

impl Place {
    pub(super) const fn has_ended(self) -> bool {
        matches!(
            self,
            Self::Completed
                | Self::Failed { .. }
                | Self::Skipped
                | Self::Bypassed
                | Self::Compensated
        )
    }
}

#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) place: Place,
    pub(super) attempts: u32,
    pub(super) failures: u32,
    pub(super) warned: u32,
    pub(super) stale: u32,
    /// Whether its condition was evaluated and true.
    pub(super) admitted: bool,
    /// Whether its fallback has taken over.
    pub(super) fallback: bool,
    /// Whether its output is that of a fallback in its place.
    pub(super) stood_in: bool,
    /// The `seq` of the event that completed it.
    pub(super) completed: Seq,
    pub(super) undo: Undo,
    /// The time at which the retry of its compensation is due.
    pub(super) undo_due: Option<Timestamp>,
    pub(super) undo_attempts: u32,
    pub(super) undo_failures: u32,
    pub(super) undo_warned: u32,
    pub(super) undo_stale: u32,
    /// The output that its check has blocked.
    pub(super) blocked: Option<Json>,
}

impl Step {
    pub(super) const fn new() -> Self {
        Self {
            place: Place::Pending,
            attempts: 0,
            failures: 0,
            warned: 0,
            stale: 0,
            admitted: false,
            fallback: false,
            stood_in: false,
            completed: 0,
            undo: Undo::Open,
            undo_due: None,
            undo_attempts: 0,
            undo_failures: 0,
            undo_warned: 0,
            undo_stale: 0,
            blocked: None,
        }
    }

    /// Begins an attempt; `needs` are the states of the steps that it depends on.
    pub(super) fn start(
        &mut self,
        fact: &OnStep<StepStart>,
        planned: &PlanStep,
        needs: &[Place],
    ) -> Result<(), &'static str> {
        need(needs.iter().all(|need| need.has_ended()), "dependencies have ended")?;
        let blocked = |need: &Place| *need == Place::Failed { continued: false };
        need(!needs.iter().any(blocked), "no dependency has failed the thread")?;
        let all_skipped = needs.iter().all(|need| *need == Place::Skipped);
        need(needs.is_empty() || !all_skipped, "not all dependencies were skipped")?;
        need(matches!(self.place, Place::Pending | Place::Retrying), "it does not run")?;
        need(fact.attempt == self.attempts + 1, "attempts are numbered from 1")?;
        need(fact.data.fallback == self.fallback, "of the step, or of its fallback")?;
        let kind = planned.work(self.work()).action.kind();
        need(fact.data.kind == kind, "of the kind of what is attempted")?;
        (self.place, self.attempts) = (Place::Running, fact.attempt);
        self.admitted = true;
        Ok(())
    }

    pub(super) const fn work(&self) -> Work {
        if self.fallback { Work::Fallback } else { Work::Own }
    }

    pub(super) fn lose_undo(&mut self) {
        if matches!(self.undo, Undo::Running | Undo::Retrying) {
            self.undo = Undo::Open;
        }
    }

    pub(super) fn wait(
        &mut self,
        fact: &OnStep<StepWaiting>,
        planned: &PlanStep,
    ) -> Result<(), &'static str> {
        let planned = planned.work(self.work());
        // A question whose data have changed is asked anew.
        let again = self.place == Place::Waiting && fact.data.reason == "approval";
        need(self.place == Place::Running || again, "what runs begins to wait")?;
        need(fact.attempt == self.attempts, "current")?;
        let blocked = fact.data.reason == "blocked";
        need(blocked == fact.data.output.is_some(), "what is blocked is kept")?;
        need(!blocked || planned.check.is_some(), "a check blocks")?;
        self.blocked.clone_from(&fact.data.output);
        self.place = Place::Waiting;
        Ok(())
    }

    pub(super) fn undo_warned_at(&mut self, attempt: u32) -> Result<(), &'static str> {
        need(self.undo_warned < attempt, "one warning for each attempt")?;
        self.undo_warned = attempt;
        Ok(())
    }

    pub(super) fn undo_silent_at(&mut self, attempt: u32) -> Result<(), &'static str> {
        need(self.undo_stale < attempt, "found silent once for each attempt")?;
        self.undo_stale = attempt;
        Ok(())
    }

    pub(super) fn retry(
        &mut self,
        fact: &OnStep<StepRetry>,
        planned: &PlanStep,
        at: Timestamp,
    ) -> Result<(), &'static str> {
        let waited = self.place == Place::Waiting && fact.data.fallback;
        let under_way = self.place == Place::Running || waited;
        need(under_way && fact.attempt == self.attempts, "current")?;
        if fact.data.cancelled {
            need(fact.data.error.code == codes::CANCELLED && !fact.data.fallback, "by a person")?;
            need(fact.data.retry_at == at, "the next attempt is made at once")?;
            self.place = Place::Retrying;
            return Ok(());
        }
        self.failures += 1;
        if fact.data.fallback {
            let follows = matches!(planned.fallback, Some(Fallback::Step(_)));
            need(follows && !self.fallback, "a fallback takes over once")?;
            need(fact.data.retry_at == at, "a fallback takes over at once")?;
            (self.fallback, self.failures) = (true, 0);
        } else {
            let most = planned.work(self.work()).retry.max_attempts;
            need(self.failures < most, "attempts are bounded")?;
        }
        self.place = Place::Retrying;
        Ok(())
    }

    pub(super) fn complete(
        &mut self,
        fact: &OnStep<StepComplete>,
        planned: &PlanStep,
        seq: Seq,
    ) -> Result<(), &'static str> {
        let under_way = matches!(self.place, Place::Running | Place::Waiting);
        need(under_way && fact.attempt == self.attempts, "the current attempt completes")?;
        let stands_in = matches!(planned.fallback, Some(Fallback::Output(_)));
        let by_output = fact.data.error.is_some();
        need(!by_output || stands_in, "an output stands in where the plan has one")?;
        let kept = self.blocked.as_ref().is_none_or(|output| *output == fact.data.output);
        need(self.place != Place::Waiting || kept, "what was blocked is what is accepted")?;
        let by_fallback = self.fallback || by_output;
        need(fact.data.fallback == by_fallback, "it says whose output it is")?;
        self.place = Place::Completed;
        (self.stood_in, self.completed) = (by_output, seq);
        Ok(())
    }

    pub(super) fn fail(
        &mut self,
        fact: &OnStep<StepFailed>,
        planned: &PlanStep,
    ) -> Result<(), &'static str> {
        let asked = self.place == Place::Pending && !self.admitted;
        let under_way = matches!(self.place, Place::Running | Place::Waiting);
        need(asked || under_way, "an attempt or the condition fails")?;
        need(fact.attempt == self.attempts, "the current attempt fails")?;
        need(fact.data.continued == planned.continue_on_error, "as the plan has it")?;
        self.failures += 1;
        let most = planned.work(self.work()).retry.max_attempts;
        need(self.failures <= most, "attempts are bounded")?;
        // A fallback's output that cannot be made is the one way past a fallback.
        let unmade = matches!(planned.fallback, Some(Fallback::Output(_)))
            && fact.data.error.code == "template_unresolved";
        let past = planned.fallback.is_some() && !self.fallback;
        need(asked || !past || unmade, "a fallback is used if there is one")?;
        self.place = Place::Failed { continued: fact.data.continued };
        Ok(())
    }
}
