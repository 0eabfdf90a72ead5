//! The rules that every journal keeps, checked by the journal and the plan alone: a second, plain
//! account of the rules, independent of the state's fold.

mod step;
mod undo;

use self::step::{Place, Step, Undo};
use crate::definition::{Plan, StepIx, Steps};
use crate::model::{
    Event, EventBody, InterventionEscalated, InterventionKind, InterventionOpened,
    InterventionResolved, Seq, StepId, Timestamp, WorkflowFailed, WorkflowForked,
};

/// Reads a journal from its start.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Reader<'a> {
    plan: &'a Plan,
    steps: Steps<Step>,
    seen: Vec<&'a Event>,
    ended: bool,
    failing: bool,
    paused: bool,
    /// The deadline of the thread.
    deadline: Option<Timestamp>,
    /// Whether the thread has completed.
    completed: bool,
    compensation_reason: bool,
    /// Whether it is being aborted with a grace, in which attempts may end.
    stopping: bool,
    /// The last event that comes from another thread.
    inherited: Seq,
    /// Interventions that wait for a decision.
    open: Vec<&'a InterventionOpened>,
    /// The ids of interventions that were escalated.
    escalated: Vec<&'a str>,
}

/// Checks a whole journal.
#[track_caller]
pub(super) fn check(plan: &Plan, journal: &[Event]) {
    let steps = Steps::new(vec![Step::new(); plan.steps.len()]);
    let mut reader = Reader {
        plan,
        steps,
        seen: Vec::new(),
        ended: false,
        failing: false,
        paused: false,
        deadline: None,
        completed: false,
        compensation_reason: false,
        stopping: false,
        inherited: 0,
        open: Vec::new(),
        escalated: Vec::new(),
    };
    for event in journal {
        if let Err(fault) = reader.read(event) {
            panic!("{fault}: {event:#?}\nafter {:#?}", reader.seen);
        }
        reader.seen.push(event);
    }
}

fn need(holds: bool, rule: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(rule) }
}

impl<'a> Reader<'a> {
    fn read(&mut self, event: &'a Event) -> Result<(), &'static str> {
        let numbered = usize::try_from(event.seq) == Ok(self.seen.len() + 1);
        need(numbered, "numbers are gapless from 1")?;
        need(self.seen.last().is_none_or(|last| last.at <= event.at), "times do not step back")?;
        let is_start = matches!(event.body, EventBody::WorkflowStart(_));
        need(is_start == self.seen.is_empty(), "a start, and only the first event is one")?;
        let is_resume = matches!(event.body, EventBody::WorkflowResumed(_));
        let undoes =
            matches!(&event.body, EventBody::CompensationStart(fact) if fact.data.by.is_some());
        let is_fork = matches!(event.body, EventBody::WorkflowForked(_));
        let again = is_resume || is_fork || undoes && !self.completed;
        need(!self.ended || again, "an ended thread is silent until it is resumed or undone")?;
        need(self.ended || self.paused || !is_resume, "what goes on is not resumed")?;
        match &event.body {
            EventBody::WorkflowStart(data) => self.deadline = data.deadline,
            EventBody::SignalReceived(_) => {}
            EventBody::WorkflowForked(data) => self.fork(data)?,
            EventBody::WorkflowResumed(data) => {
                self.deadline = data.deadline;
                self.again(data.from_step.as_ref())?;
                self.resume();
            }
            EventBody::WorkflowPaused(data) => {
                let stops = data.aborts_at.is_some();
                need(!self.paused || stops, "a paused thread is not paused again")?;
                (self.paused, self.stopping) = (true, stops);
            }
            EventBody::InterventionOpened(data) => self.opened(data)?,
            EventBody::InterventionEscalated(data) => self.escalated(data, event.at)?,
            EventBody::InterventionResolved(data) => self.resolved(data)?,
            EventBody::WorkflowRecovered(data) => {
                let lost: Vec<StepId> = self.running();
                need(data.steps == lost, "exactly the running attempts are lost")?;
                need(data.from_seq + 1 == event.seq, "a takeover names the head before it")?;
                self.put(Place::Running, Place::Pending);
                self.steps.iter_mut().for_each(Step::lose_undo);
            }
            EventBody::WorkflowComplete(_) => {
                need(!self.failing, "a failing thread does not complete")?;
                need(self.steps.iter().all(|step| step.place.has_ended()), "every step has ended")?;
                (self.ended, self.completed) = (true, true);
            }
            EventBody::WorkflowFailed(data) => self.fails(data, event.at)?,
            EventBody::WorkflowAborted(data) => {
                self.tells(data.compensation.as_ref())?;
                self.end();
            }
            EventBody::CompensationStart(fact) => self.undo_start(fact, event.at)?,
            EventBody::CompensationComplete(fact) => {
                let step = self.undone(&fact.step, fact.attempt)?;
                (step.place, step.undo) = (Place::Compensated, Undo::Open);
            }
            EventBody::CompensationFailed(fact) => self.undo_failed(fact)?,
            EventBody::StepTimeoutWarning(fact) if fact.data.compensation => {
                self.undone(&fact.step, fact.attempt)?.undo_warned_at(fact.attempt)?;
            }
            EventBody::StepStale(fact) if fact.data.compensation => {
                self.undone(&fact.step, fact.attempt)?.undo_silent_at(fact.attempt)?;
            }
            body @ (EventBody::StepStart(_)
            | EventBody::StepWaiting(_)
            | EventBody::StepRetry(_)
            | EventBody::StepTimeoutWarning(_)
            | EventBody::StepStale(_)
            | EventBody::StepComplete(_)
            | EventBody::StepFailed(_)
            | EventBody::StepSkipped(_)
            | EventBody::StepEdited(_)) => self.on_step(body, event)?,
        }
        Ok(())
    }

    fn opened(&mut self, data: &'a InterventionOpened) -> Result<(), &'static str> {
        need(self.open.iter().all(|one| one.id != data.id), "an id of its own")?;
        self.open.push(data);
        Ok(())
    }

    fn escalated(
        &mut self,
        data: &'a InterventionEscalated,
        at: Timestamp,
    ) -> Result<(), &'static str> {
        let open = self.open.iter().find(|one| one.id == data.id);
        let due = open.ok_or("what is escalated is open")?.escalates_at;
        need(due.is_some_and(|due| due <= at), "escalated when it is due")?;
        need(!self.escalated.contains(&data.id.as_str()), "escalated once")?;
        self.escalated.push(&data.id);
        Ok(())
    }

    fn resolved(&mut self, data: &InterventionResolved) -> Result<(), &'static str> {
        let open = self.open.iter().position(|one| one.id == data.id);
        let open = self.open.remove(open.ok_or("what is resolved was open")?);
        need(open.digest == data.digest, "a decision names what it is about")?;
        if open.kind == InterventionKind::Blocked && data.choice == "retry" {
            self.try_again(&open.steps)?;
        }
        Ok(())
    }

    fn fails(&mut self, data: &WorkflowFailed, at: Timestamp) -> Result<(), &'static str> {
        let all = self.steps.iter().all(|step| step.place.has_ended());
        let late = self.deadline.is_some_and(|deadline| deadline <= at);
        let why = self.failing || all || self.compensation_reason || late;
        need(why, "by a step, its output, the time, or undoing it")?;
        let still = !self.running().is_empty();
        need(!still || late, "running attempts are waited for, until the deadline")?;
        let gave_up = self.compensation_reason || self.plan.pauses_on_failure;
        need(gave_up || self.to_undo().is_empty(), "what it has done is undone first")?;
        need(!self.compensation_reason || self.to_undo().is_empty(), "all is tried")?;
        self.tells(data.compensation.as_ref())?;
        self.end();
        Ok(())
    }

    fn on_step(&mut self, body: &EventBody, event: &Event) -> Result<(), &'static str> {
        let at = body.step().and_then(|id| self.plan.find(id.as_str()));
        let at = at.ok_or("a step of the plan")?;
        let planned = &self.plan.steps[at];
        let needs = self.places(&planned.depends_on);
        let (failing, still) = (self.failing, self.failing || self.paused);
        let compensation_reason = self.compensation_reason;
        let step = &mut self.steps[at];
        if let EventBody::StepEdited(_) = body {
            let last = self.seen.last().map(|last| &last.body);
            let forked =
                matches!(last, Some(EventBody::WorkflowForked(_) | EventBody::StepEdited(_)));
            need(self.paused || forked, "edited while paused, or by a fork")?;
            return need(step.place == Place::Completed, "only an output that is there is edited");
        }
        need(!compensation_reason, "nothing goes on while steps are undone")?;
        need(!step.place.has_ended(), "nothing happens to a step that has ended")?;
        match body {
            EventBody::StepStart(fact) => {
                need(!still, "a failing or paused thread starts nothing")?;
                step.start(fact, planned, &needs)?;
            }
            EventBody::StepWaiting(fact) => step.wait(fact, planned)?,
            EventBody::StepRetry(fact) => step.retry(fact, planned, event.at)?,
            EventBody::StepTimeoutWarning(fact) => {
                need(step.place == Place::Running && fact.attempt == step.attempts, "current")?;
                need(step.warned < fact.attempt, "one warning for each attempt")?;
                step.warned = fact.attempt;
            }
            EventBody::StepStale(fact) => {
                need(step.place == Place::Running && fact.attempt == step.attempts, "current")?;
                need(step.stale < fact.attempt, "found silent once for each attempt")?;
                step.stale = fact.attempt;
            }
            EventBody::StepComplete(fact) => step.complete(fact, planned, event.seq)?,
            EventBody::StepFailed(fact) => {
                step.fail(fact, planned)?;
                self.failing |= !fact.data.continued;
            }
            EventBody::StepSkipped(fact) if fact.data.by.is_some() => step.place = Place::Bypassed,
            EventBody::StepSkipped(fact) => {
                let all_skipped = needs.iter().all(|need| *need == Place::Skipped);
                let reason =
                    if all_skipped && !needs.is_empty() { "dependencies" } else { "condition" };
                need(fact.data.reason == reason, "skipped for the right reason")?;
                need(step.place == Place::Pending && !step.admitted, "it was not admitted")?;
                need(!failing && needs.iter().all(|need| need.has_ended()), "it was its turn")?;
                step.place = Place::Skipped;
            }
            EventBody::StepEdited(_)
            | EventBody::CompensationStart(_)
            | EventBody::CompensationComplete(_)
            | EventBody::CompensationFailed(_)
            | EventBody::WorkflowStart(_)
            | EventBody::SignalReceived(_)
            | EventBody::InterventionOpened(_)
            | EventBody::InterventionEscalated(_)
            | EventBody::InterventionResolved(_)
            | EventBody::WorkflowPaused(_)
            | EventBody::WorkflowForked(_)
            | EventBody::WorkflowResumed(_)
            | EventBody::WorkflowRecovered(_)
            | EventBody::WorkflowComplete(_)
            | EventBody::WorkflowFailed(_)
            | EventBody::WorkflowAborted(_) => return Err("an event about a step"),
        }
        Ok(())
    }

    /// Lets another attempt follow a blocked output.
    fn try_again(&mut self, steps: &[StepId]) -> Result<(), &'static str> {
        for id in steps {
            let at = self.plan.find(id.as_str()).ok_or("a step of the plan")?;
            let step = &mut self.steps[at];
            need(step.place == Place::Waiting && step.blocked.is_some(), "it was blocked")?;
            (step.place, step.failures) = (Place::Pending, 0);
        }
        Ok(())
    }

    fn places(&self, steps: &[StepIx]) -> Vec<Place> {
        steps.iter().map(|&step| self.steps[step].place).collect()
    }

    fn running(&self) -> Vec<StepId> {
        let steps = self.plan.steps.iter().zip(&self.steps);
        steps
            .filter(|(_, step)| step.place == Place::Running || step.undo == Undo::Running)
            .map(|(planned, _)| planned.id.clone())
            .collect()
    }

    fn put(&mut self, from: Place, to: Place) {
        for step in self.steps.iter_mut().filter(|step| step.place == from) {
            step.place = to;
        }
    }

    fn end(&mut self) {
        (self.ended, self.compensation_reason, self.stopping) = (true, false, false);
        self.stop();
    }

    /// Returns every step with an attempt, a wait or a retry under way to before its next attempt.
    fn stop(&mut self) {
        self.steps.iter_mut().for_each(Step::lose_undo);
        for place in [Place::Running, Place::Waiting, Place::Retrying] {
            self.put(place, Place::Pending);
        }
    }

    /// Returns a step and all steps after it to before their first attempt.
    fn again(&mut self, from: Option<&StepId>) -> Result<(), &'static str> {
        if self.compensation_reason {
            return need(from.is_none(), "it goes on undoing");
        }
        let from = from.map(|id| self.plan.find(id.as_str()).ok_or("a step of the plan"));
        let undone = |at: &StepIx| self.steps[*at].place == Place::Compensated;
        let begun = from.transpose()?.into_iter().chain(self.steps.places().filter(undone));
        let again: Vec<StepIx> = begun.flat_map(|step| self.plan.after(step)).collect();
        for at in again {
            let step = &mut self.steps[at];
            need(step.place != Place::Running, "what runs is not run beside itself")?;
            (step.place, step.failures, step.admitted) = (Place::Pending, 0, false);
        }
        Ok(())
    }

    /// Folds in a fork: attempts that were under way in the other thread begin anew; an ended
    /// thread goes on.
    fn fork(&mut self, data: &WorkflowForked) -> Result<(), &'static str> {
        need(!self.compensation_reason, "what is being undone is not forked")?;
        self.deadline = data.deadline;
        self.inherited = self.seen.last().map_or(0, |last| last.seq);
        for running in self.running() {
            let told = data.steps.contains(&running) || data.again.contains(&running);
            need(told, "what ran elsewhere is made again")?;
        }
        for (ids, anew) in [(&data.steps, false), (&data.again, true)] {
            for id in ids {
                let at = self.plan.find(id.as_str()).ok_or("a step of the plan")?;
                let step = &mut self.steps[at];
                step.place = Place::Pending;
                if anew {
                    (step.failures, step.admitted, step.fallback) = (0, false, false);
                }
            }
        }
        if self.ended || self.stopping || (self.failing && !self.paused) {
            self.again(None)?;
            self.resume();
        }
        Ok(())
    }

    fn resume(&mut self) {
        self.stopping = false;
        if std::mem::take(&mut self.paused) && self.compensation_reason {
            return;
        }
        (self.ended, self.failing) = (false, false);
        for step in &mut self.steps {
            (step.undo, step.undo_failures) = (Undo::Open, 0);
        }
        self.put(Place::Failed { continued: false }, Place::Pending);
        for step in self.steps.iter_mut().filter(|step| step.place == Place::Pending) {
            step.failures = 0;
            step.fallback = false;
        }
    }
}
