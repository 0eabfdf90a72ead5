//! The rules that a journal keeps where a thread is undone.

use super::{Place, Reader, Step, Undo, need};
use crate::definition::{StepIx, Work};
use crate::model::{
    Compensation, CompensationFailed, CompensationStart, OnStep, StepId, Timestamp,
};

impl Reader<'_> {
    /// Returns the completed steps that have a compensation, the last one first.
    fn undoable(&self, places: &[Place]) -> Vec<StepIx> {
        let mut found: Vec<StepIx> = self
            .steps
            .places()
            .filter(|&at| {
                let step = &self.steps[at];
                let planned = self.plan.steps[at].compensate.is_some();
                let own = step.completed > self.inherited;
                planned && own && places.contains(&step.place) && !step.stood_in
            })
            .collect();
        found.sort_by_key(|&at| std::cmp::Reverse(self.steps[at].completed));
        found
    }

    /// Returns those of them that are still to be tried.
    pub(super) fn to_undo(&self) -> Vec<StepIx> {
        let mut found = self.undoable(&[Place::Completed]);
        found.retain(|&at| self.steps[at].undo != Undo::Failed);
        found
    }

    pub(super) fn undo_start(
        &mut self,
        fact: &OnStep<CompensationStart>,
        at: Timestamp,
    ) -> Result<(), &'static str> {
        if !self.compensation_reason {
            self.turn(fact, at)?;
        }
        need(!self.paused && !self.ended, "a paused thread undoes nothing")?;
        let step = self.plan.find(fact.step.as_str()).ok_or("a step of the plan")?;
        let retries = self.steps[step].undo == Undo::Retrying;
        let busy = self.steps.iter().filter(|step| step.undo == Undo::Retrying).count();
        need(self.running().is_empty(), "all that ran has ended, and they are undone one by one")?;
        need(busy == usize::from(retries), "whoever waits for a retry is the next one")?;
        need(self.to_undo().first() == Some(&step), "the one that completed last is undone first")?;
        let seen = self.steps[step].undo_due.is_none_or(|due| due <= at);
        need(!retries || seen || fact.data.by.is_some(), "a retry is due, or a person wants it")?;
        let kind = self.plan.steps[step].work(Work::Compensation).action.kind();
        need(fact.data.kind == kind, "of the kind of the compensation")?;
        let step = &mut self.steps[step];
        need(fact.attempt == step.undo_attempts + 1, "attempts are numbered from 1")?;
        (step.undo, step.undo_attempts) = (Undo::Running, fact.attempt);
        Ok(())
    }

    /// Turns the thread at its first compensation: from here on nothing else goes on.
    fn turn(
        &mut self,
        fact: &OnStep<CompensationStart>,
        at: Timestamp,
    ) -> Result<(), &'static str> {
        if fact.data.by.is_none() {
            let all = self.steps.iter().all(|step| step.place.has_ended());
            need(!self.ended && !self.paused, "only a person has an ended thread undone")?;
            need(!self.plan.pauses_on_failure, "a person is asked first")?;
            let late = self.deadline.is_some_and(|deadline| deadline <= at);
            need(self.failing || all || late, "it failed by a step, its output, or the time")?;
            need(self.failing != fact.data.error.is_some(), "it says why if no step has")?;
            let still = !self.running().is_empty();
            need(!still || late, "running attempts are waited for, until the deadline")?;
        }
        need(self.open.is_empty(), "whoever was asked need not answer any more")?;
        (self.ended, self.paused, self.compensation_reason) = (false, false, true);
        self.stopping = false;
        self.stop();
        for step in &mut self.steps {
            (step.undo, step.undo_failures) = (Undo::Open, 0);
        }
        Ok(())
    }

    /// Returns the step whose compensation has this attempt under way.
    pub(super) fn undone(&mut self, id: &StepId, attempt: u32) -> Result<&mut Step, &'static str> {
        let at = self.plan.find(id.as_str()).ok_or("a step of the plan")?;
        let step = &mut self.steps[at];
        need(
            self.compensation_reason && step.place == Place::Completed,
            "it completed, and is not undone",
        )?;
        let current = step.undo == Undo::Running && step.undo_attempts == attempt;
        need(current, "the current attempt of the compensation")?;
        Ok(step)
    }

    pub(super) fn undo_failed(
        &mut self,
        fact: &OnStep<CompensationFailed>,
    ) -> Result<(), &'static str> {
        let plan = self.plan;
        let step = self.undone(&fact.step, fact.attempt)?;
        step.undo_failures += 1;
        let planned = plan.find(fact.step.as_str()).map(|at| &plan.steps[at]);
        let most = planned.map_or(0, |step| step.work(Work::Compensation).retry.max_attempts);
        need(step.undo_failures <= most, "attempts are bounded")?;
        let again = fact.data.retry_at.is_some();
        need(again != fact.data.is_final, "the last one has no next one")?;
        need(again == fact.data.delay_ms.is_some(), "a retry has a delay")?;
        need(!again || step.undo_failures < most, "attempts are bounded")?;
        step.undo = if again { Undo::Retrying } else { Undo::Failed };
        step.undo_due = fact.data.retry_at;
        Ok(())
    }

    /// Checks that the end names exactly the steps that were undone.
    pub(super) fn tells(&self, told: Option<&Compensation>) -> Result<(), &'static str> {
        let Some(told) = told else {
            let none = self.undoable(&[Place::Compensated]).is_empty();
            return need(none && !self.compensation_reason, "it says what was undone");
        };
        let ids = |places: &[Place]| {
            let found = self.undoable(places).into_iter();
            found.map(|at| self.plan.steps[at].id.clone()).collect::<Vec<_>>()
        };
        let left: Vec<StepId> = told.left.iter().map(|one| one.step_id.clone()).collect();
        need(told.completed == ids(&[Place::Compensated]), "all that was undone")?;
        need(left == ids(&[Place::Completed]), "all that is left")
    }
}
