//! What every journal must look like, told by the journal and the plan alone: a second, plain
//! account of the rules, independent of the state's fold.

mod undo;

use crate::definition::{Fallback, Phase, Plan, PlanStep};
use crate::model::{
    Event, EventBody, InterventionKind, InterventionOpened, Json, OnStep, Seq, StepComplete,
    StepFailed, StepId, StepRetry, StepWaiting, Timestamp, WorkflowFailed, WorkflowForked,
};

/// Where a step stands by the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Pending,
    Running,
    Waiting,
    Retrying,
    Completed,
    Failed {
        continued: bool,
    },
    Skipped,
    /// Skipped by a person: what depends on it runs.
    Bypassed,
    /// Completed, and undone since.
    Compensated,
}

/// Where a step's compensation stands by the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Undo {
    /// Never tried, or its attempt was lost.
    Open,
    Running,
    Retrying,
    Failed,
}

impl Place {
    const fn has_ended(self) -> bool {
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
struct Step {
    place: Place,
    attempts: u32,
    failures: u32,
    warned: u32,
    /// Its condition was asked and true.
    admitted: bool,
    /// Whether its fallback has taken over.
    fallback: bool,
    /// Whether its output only stands in for it.
    stood_in: bool,
    /// Which event completed it.
    completed: Seq,
    undo: Undo,
    /// When its retry is due.
    undo_due: Option<Timestamp>,
    undo_attempts: u32,
    undo_failures: u32,
    undo_warned: u32,
    /// The output that its check has blocked.
    blocked: Option<Json>,
}

impl Step {
    const fn phase(&self) -> Phase {
        if self.fallback { Phase::Fallback } else { Phase::Own }
    }

    fn lose_undo(&mut self) {
        if matches!(self.undo, Undo::Running | Undo::Retrying) {
            self.undo = Undo::Open;
        }
    }

    fn wait(&mut self, fact: &OnStep<StepWaiting>, planned: &PlanStep) -> Result<(), &'static str> {
        let planned = planned.phase(self.phase());
        // What is asked about something else by now is asked anew.
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

    fn retry(
        &mut self,
        fact: &OnStep<StepRetry>,
        planned: &PlanStep,
        at: Timestamp,
    ) -> Result<(), &'static str> {
        let waited = self.place == Place::Waiting && fact.data.fallback;
        let under_way = self.place == Place::Running || waited;
        need(under_way && fact.attempt == self.attempts, "current")?;
        self.failures += 1;
        if fact.data.fallback {
            let follows = matches!(planned.fallback, Some(Fallback::Step(_)));
            need(follows && !self.fallback, "a fallback takes over once")?;
            need(fact.data.retry_at == at, "a fallback takes over at once")?;
            (self.fallback, self.failures) = (true, 0);
        } else {
            let most = planned.phase(self.phase()).retry.max_attempts;
            need(self.failures < most, "attempts are bounded")?;
        }
        self.place = Place::Retrying;
        Ok(())
    }

    fn complete(
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

    fn fail(&mut self, fact: &OnStep<StepFailed>, planned: &PlanStep) -> Result<(), &'static str> {
        let asked = self.place == Place::Pending && !self.admitted;
        let under_way = matches!(self.place, Place::Running | Place::Waiting);
        need(asked || under_way, "an attempt or the condition fails")?;
        need(fact.attempt == self.attempts, "the current attempt fails")?;
        need(fact.data.continued == planned.continue_on_error, "as the plan has it")?;
        self.failures += 1;
        let most = planned.phase(self.phase()).retry.max_attempts;
        need(self.failures <= most, "attempts are bounded")?;
        // An output that cannot be made is the one way past a fallback.
        let unmade = matches!(planned.fallback, Some(Fallback::Output(_)))
            && fact.data.error.code == "template_unresolved";
        let past = planned.fallback.is_some() && !self.fallback;
        need(asked || !past || unmade, "a fallback is used if there is one")?;
        self.place = Place::Failed { continued: fact.data.continued };
        Ok(())
    }
}

/// Reads a journal from its start.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Reader<'a> {
    plan: &'a Plan,
    steps: Vec<Step>,
    seen: Vec<&'a Event>,
    ended: bool,
    failing: bool,
    paused: bool,
    /// When it has had its time.
    deadline: Option<Timestamp>,
    /// Whether it has ended well.
    completed: bool,
    undoing: bool,
    /// Interventions that wait for a decision.
    open: Vec<&'a InterventionOpened>,
    /// Those that were escalated.
    escalated: Vec<&'a str>,
}

/// Checks a whole journal.
#[track_caller]
pub(super) fn check(plan: &Plan, journal: &[Event]) {
    let step = Step {
        place: Place::Pending,
        attempts: 0,
        failures: 0,
        warned: 0,
        admitted: false,
        fallback: false,
        stood_in: false,
        completed: 0,
        undo: Undo::Open,
        undo_due: None,
        undo_attempts: 0,
        undo_failures: 0,
        undo_warned: 0,
        blocked: None,
    };
    let steps = vec![step; plan.steps.len()];
    let mut reader = Reader {
        plan,
        steps,
        seen: Vec::new(),
        ended: false,
        failing: false,
        paused: false,
        deadline: None,
        completed: false,
        undoing: false,
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
                self.paused = true;
            }
            EventBody::InterventionOpened(data) => {
                need(self.open.iter().all(|one| one.id != data.id), "an id of its own")?;
                self.open.push(data);
            }
            EventBody::InterventionEscalated(data) => {
                let open = self.open.iter().find(|one| one.id == data.id);
                let due = open.ok_or("what is escalated is open")?.escalates_at;
                need(due.is_some_and(|due| due <= event.at), "escalated when it is due")?;
                need(!self.escalated.contains(&data.id.as_str()), "escalated once")?;
                self.escalated.push(&data.id);
            }
            EventBody::InterventionResolved(data) => {
                let open = self.open.iter().position(|one| one.id == data.id);
                let open = self.open.remove(open.ok_or("what is resolved was open")?);
                need(open.digest == data.digest, "a decision names what it is about")?;
                if open.kind == InterventionKind::Blocked && data.choice == "retry" {
                    self.try_again(&open.steps)?;
                }
            }
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
                let step = self.undone(&fact.step, fact.attempt)?;
                need(step.undo_warned < fact.attempt, "one warning for each attempt")?;
                step.undo_warned = fact.attempt;
            }
            body @ (EventBody::StepStart(_)
            | EventBody::StepWaiting(_)
            | EventBody::StepRetry(_)
            | EventBody::StepTimeoutWarning(_)
            | EventBody::StepComplete(_)
            | EventBody::StepFailed(_)
            | EventBody::StepSkipped(_)
            | EventBody::StepEdited(_)) => self.on_step(body, event)?,
        }
        Ok(())
    }

    fn fails(&mut self, data: &WorkflowFailed, at: Timestamp) -> Result<(), &'static str> {
        let all = self.steps.iter().all(|step| step.place.has_ended());
        let late = self.deadline.is_some_and(|deadline| deadline <= at);
        let why = self.failing || all || self.undoing || late;
        need(why, "by a step, its output, the time, or undoing it")?;
        let still = !self.running().is_empty();
        need(!still || late, "running attempts are waited for, until the deadline")?;
        let gave_up = self.undoing || self.plan.pauses_on_failure;
        need(gave_up || self.to_undo().is_empty(), "what it has done is undone first")?;
        need(!self.undoing || self.to_undo().is_empty(), "all is tried")?;
        self.tells(data.compensation.as_ref())?;
        self.end();
        Ok(())
    }

    fn on_step(&mut self, body: &EventBody, event: &Event) -> Result<(), &'static str> {
        let at = body.step().and_then(|id| self.plan.position(id.as_str()));
        let at = at.ok_or("a step of the plan")?;
        let planned = &self.plan.steps[at];
        let needs = self.places(&planned.depends_on);
        let (failing, still) = (self.failing, self.failing || self.paused);
        let undoing = self.undoing;
        let step = &mut self.steps[at];
        if let EventBody::StepEdited(_) = body {
            let last = self.seen.last().map(|last| &last.body);
            let forked =
                matches!(last, Some(EventBody::WorkflowForked(_) | EventBody::StepEdited(_)));
            need(self.paused || forked, "edited while paused, or by a fork")?;
            return need(step.place == Place::Completed, "only an output that is there is edited");
        }
        need(!undoing, "nothing goes on while steps are undone")?;
        need(!step.place.has_ended(), "nothing happens to a step that has ended")?;
        match body {
            EventBody::StepStart(fact) => {
                need(!still, "a failing or paused thread starts nothing")?;
                need(needs.iter().all(|need| need.has_ended()), "dependencies have ended")?;
                let blocked = |need: &Place| *need == Place::Failed { continued: false };
                need(!needs.iter().any(blocked), "no dependency has failed the thread")?;
                let all_skipped = needs.iter().all(|need| *need == Place::Skipped);
                need(needs.is_empty() || !all_skipped, "not all dependencies were skipped")?;
                need(matches!(step.place, Place::Pending | Place::Retrying), "it does not run")?;
                need(fact.attempt == step.attempts + 1, "attempts are numbered from 1")?;
                need(fact.data.fallback == step.fallback, "of the step, or of its fallback")?;
                let kind = planned.phase(step.phase()).action.kind();
                need(fact.data.kind == kind, "of the kind of what is attempted")?;
                (step.place, step.attempts) = (Place::Running, fact.attempt);
                step.admitted = true;
            }
            EventBody::StepWaiting(fact) => step.wait(fact, planned)?,
            EventBody::StepRetry(fact) => step.retry(fact, planned, event.at)?,
            EventBody::StepTimeoutWarning(fact) => {
                need(step.place == Place::Running && fact.attempt == step.attempts, "current")?;
                need(step.warned < fact.attempt, "one warning for each attempt")?;
                step.warned = fact.attempt;
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

    /// Another attempt follows an output that was blocked.
    fn try_again(&mut self, steps: &[StepId]) -> Result<(), &'static str> {
        for id in steps {
            let at = self.plan.position(id.as_str()).ok_or("a step of the plan")?;
            let step = &mut self.steps[at];
            need(step.place == Place::Waiting && step.blocked.is_some(), "it was blocked")?;
            (step.place, step.failures) = (Place::Pending, 0);
        }
        Ok(())
    }

    fn places(&self, steps: &[usize]) -> Vec<Place> {
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
        (self.ended, self.undoing) = (true, false);
        self.stop();
    }

    /// Whatever is under way stands before its next attempt again.
    fn stop(&mut self) {
        self.steps.iter_mut().for_each(Step::lose_undo);
        for place in [Place::Running, Place::Waiting, Place::Retrying] {
            self.put(place, Place::Pending);
        }
    }

    /// A step and all after it stand before their first attempt.
    fn again(&mut self, from: Option<&StepId>) -> Result<(), &'static str> {
        if self.undoing {
            return need(from.is_none(), "it goes on undoing");
        }
        let from = from.map(|id| self.plan.position(id.as_str()).ok_or("a step of the plan"));
        let undone = |at: &usize| self.steps[*at].place == Place::Compensated;
        let begun = from.transpose()?.into_iter().chain((0..self.steps.len()).filter(undone));
        let again: Vec<usize> = begun.flat_map(|step| self.plan.after(step)).collect();
        for at in again {
            let step = &mut self.steps[at];
            need(step.place != Place::Running, "what runs is not run beside itself")?;
            (step.place, step.failures, step.admitted) = (Place::Pending, 0, false);
        }
        Ok(())
    }

    /// What was under way elsewhere begins anew; what had ended goes on.
    fn fork(&mut self, data: &WorkflowForked) -> Result<(), &'static str> {
        need(!self.undoing, "what is being undone is not forked")?;
        self.deadline = data.deadline;
        for running in self.running() {
            let told = data.steps.contains(&running) || data.again.contains(&running);
            need(told, "what ran elsewhere is made again")?;
        }
        for (ids, anew) in [(&data.steps, false), (&data.again, true)] {
            for id in ids {
                let at = self.plan.position(id.as_str()).ok_or("a step of the plan")?;
                let step = &mut self.steps[at];
                step.place = Place::Pending;
                if anew {
                    (step.failures, step.admitted, step.fallback) = (0, false, false);
                }
            }
        }
        if self.ended || (self.failing && !self.paused) {
            self.again(None)?;
            self.resume();
        }
        Ok(())
    }

    fn resume(&mut self) {
        if std::mem::take(&mut self.paused) && self.undoing {
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
