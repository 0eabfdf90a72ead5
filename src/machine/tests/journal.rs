//! What every journal must look like, told by the journal and the plan alone: a second, plain
//! account of the rules, independent of the state's fold.

use crate::definition::{Fallback, Plan, PlanStep};
use crate::model::{
    Event, EventBody, OnStep, StepComplete, StepFailed, StepId, StepRetry, Timestamp,
    WorkflowForked,
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
}

impl Place {
    const fn has_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed { .. } | Self::Skipped | Self::Bypassed)
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
}

impl Step {
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
            let most = planned.phase(self.fallback).retry.max_attempts;
            need(self.failures < most, "attempts are bounded")?;
        }
        self.place = Place::Retrying;
        Ok(())
    }

    fn complete(
        &mut self,
        fact: &OnStep<StepComplete>,
        planned: &PlanStep,
    ) -> Result<(), &'static str> {
        let under_way = matches!(self.place, Place::Running | Place::Waiting);
        need(under_way && fact.attempt == self.attempts, "the current attempt completes")?;
        let stands_in = matches!(planned.fallback, Some(Fallback::Output(_)));
        let by_output = fact.data.error.is_some();
        need(!by_output || stands_in, "an output stands in where the plan has one")?;
        let by_fallback = self.fallback || by_output;
        need(fact.data.fallback == by_fallback, "it says whose output it is")?;
        self.place = Place::Completed;
        Ok(())
    }

    fn fail(&mut self, fact: &OnStep<StepFailed>, planned: &PlanStep) -> Result<(), &'static str> {
        let asked = self.place == Place::Pending && !self.admitted;
        let under_way = matches!(self.place, Place::Running | Place::Waiting);
        need(asked || under_way, "an attempt or the condition fails")?;
        need(fact.attempt == self.attempts, "the current attempt fails")?;
        need(fact.data.continued == planned.continue_on_error, "as the plan has it")?;
        self.failures += 1;
        let most = planned.phase(self.fallback).retry.max_attempts;
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
pub(super) struct Reader<'a> {
    plan: &'a Plan,
    steps: Vec<Step>,
    seen: Vec<&'a Event>,
    ended: bool,
    failing: bool,
    paused: bool,
    /// Interventions that wait for a decision.
    open: Vec<&'a str>,
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
    };
    let steps = vec![step; plan.steps.len()];
    let mut reader = Reader {
        plan,
        steps,
        seen: Vec::new(),
        ended: false,
        failing: false,
        paused: false,
        open: Vec::new(),
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
        let is_fork = matches!(event.body, EventBody::WorkflowForked(_));
        need(!self.ended || is_resume || is_fork, "an ended thread is silent until it goes on")?;
        need(self.ended || self.paused || !is_resume, "what goes on is not resumed")?;
        match &event.body {
            EventBody::WorkflowStart(_) | EventBody::SignalReceived(_) => {}
            EventBody::WorkflowForked(data) => self.fork(data)?,
            EventBody::WorkflowResumed(data) => {
                self.again(data.from_step.as_ref())?;
                self.resume();
            }
            EventBody::WorkflowPaused(_) => {
                need(!self.paused, "a paused thread is not paused again")?;
                self.paused = true;
            }
            EventBody::InterventionOpened(data) => {
                need(!self.open.contains(&data.id.as_str()), "an id of its own")?;
                self.open.push(&data.id);
            }
            EventBody::InterventionResolved(data) => {
                need(self.open.contains(&data.id.as_str()), "what is resolved was open")?;
                self.open.retain(|id| *id != data.id);
            }
            EventBody::WorkflowRecovered(data) => {
                let lost: Vec<StepId> = self.at(Place::Running);
                need(data.steps == lost, "exactly the running attempts are lost")?;
                need(data.from_seq + 1 == event.seq, "a takeover names the head before it")?;
                self.put(Place::Running, Place::Pending);
            }
            EventBody::WorkflowComplete(_) => {
                need(!self.failing, "a failing thread does not complete")?;
                need(self.steps.iter().all(|step| step.place.has_ended()), "every step has ended")?;
                self.ended = true;
            }
            EventBody::WorkflowFailed(_) => {
                let all = self.steps.iter().all(|step| step.place.has_ended());
                need(self.failing || all, "a thread fails by a step, or by its output")?;
                need(self.at(Place::Running).is_empty(), "running attempts are waited for")?;
                self.end();
            }
            EventBody::WorkflowAborted(_) => self.end(),
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

    fn on_step(&mut self, body: &EventBody, event: &Event) -> Result<(), &'static str> {
        let at = body.step().and_then(|id| self.plan.position(id.as_str()));
        let at = at.ok_or("a step of the plan")?;
        let planned = &self.plan.steps[at];
        let needs = self.places(&planned.depends_on);
        let (failing, still) = (self.failing, self.failing || self.paused);
        let step = &mut self.steps[at];
        if let EventBody::StepEdited(_) = body {
            let last = self.seen.last().map(|last| &last.body);
            let forked =
                matches!(last, Some(EventBody::WorkflowForked(_) | EventBody::StepEdited(_)));
            need(self.paused || forked, "edited while paused, or by a fork")?;
            return need(step.place == Place::Completed, "only an output that is there is edited");
        }
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
                let kind = planned.phase(step.fallback).action.kind();
                need(fact.data.kind == kind, "of the kind of what is attempted")?;
                (step.place, step.attempts) = (Place::Running, fact.attempt);
                step.admitted = true;
            }
            EventBody::StepWaiting(fact) => {
                need(step.place == Place::Running && fact.attempt == step.attempts, "current")?;
                step.place = Place::Waiting;
            }
            EventBody::StepRetry(fact) => step.retry(fact, planned, event.at)?,
            EventBody::StepTimeoutWarning(fact) => {
                need(step.place == Place::Running && fact.attempt == step.attempts, "current")?;
                need(step.warned < fact.attempt, "one warning for each attempt")?;
                step.warned = fact.attempt;
            }
            EventBody::StepComplete(fact) => step.complete(fact, planned)?,
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
            | EventBody::WorkflowStart(_)
            | EventBody::SignalReceived(_)
            | EventBody::InterventionOpened(_)
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

    fn places(&self, steps: &[usize]) -> Vec<Place> {
        steps.iter().map(|&step| self.steps[step].place).collect()
    }

    fn at(&self, place: Place) -> Vec<StepId> {
        let steps = self.plan.steps.iter().zip(&self.steps);
        steps
            .filter(|(_, step)| step.place == place)
            .map(|(planned, _)| planned.id.clone())
            .collect()
    }

    fn put(&mut self, from: Place, to: Place) {
        for step in self.steps.iter_mut().filter(|step| step.place == from) {
            step.place = to;
        }
    }

    fn end(&mut self) {
        self.ended = true;
        for place in [Place::Running, Place::Waiting, Place::Retrying] {
            self.put(place, Place::Pending);
        }
    }

    /// A step and all after it stand before their first attempt.
    fn again(&mut self, from: Option<&StepId>) -> Result<(), &'static str> {
        let Some(from) = from else { return Ok(()) };
        let from = self.plan.position(from.as_str()).ok_or("a step of the plan")?;
        for at in self.plan.after(from) {
            let step = &mut self.steps[at];
            need(step.place != Place::Running, "what runs is not run beside itself")?;
            (step.place, step.failures, step.admitted) = (Place::Pending, 0, false);
        }
        Ok(())
    }

    /// What was under way elsewhere begins anew; what had ended goes on.
    fn fork(&mut self, data: &WorkflowForked) -> Result<(), &'static str> {
        for running in self.at(Place::Running) {
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
            self.resume();
        }
        Ok(())
    }

    fn resume(&mut self) {
        (self.ended, self.failing, self.paused) = (false, false, false);
        self.put(Place::Failed { continued: false }, Place::Pending);
        for step in self.steps.iter_mut().filter(|step| step.place == Place::Pending) {
            step.failures = 0;
            step.fallback = false;
        }
    }
}
