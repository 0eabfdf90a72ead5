//! A thread's durable journal, and the facts that follow from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rethread::definition::Plan as CheckedPlan;
use rethread::machine::ThreadState;
use rethread::model::{
    Epoch, Event, EventBody, Incarnation, InterventionKind, RecoveryCause, Seq, StepId, StepStatus,
    ThreadId,
};
use rethread::store::Summary;

/// The rules that journals are checked against.
#[derive(Debug)]
pub(super) struct Rules {
    /// The plans of all workflows, by name.
    pub(super) plans: BTreeMap<String, Arc<CheckedPlan>>,
    /// By workflow, the step that ends the replica that performs it.
    pub(super) poison: BTreeMap<String, usize>,
}

/// The compensations that were started or completed.
#[derive(Debug, Default)]
pub(super) struct Undoing {
    pub(super) started: BTreeSet<(StepId, u32)>,
    pub(super) completed: BTreeSet<StepId>,
    /// The failures of each compensation since it was last started anew.
    pub(super) failures: BTreeMap<StepId, u32>,
}

/// A thread's journal, and the facts that follow from it.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// The exact bytes of the events.
    pub(super) events: Vec<String>,
    pub(super) workflow: String,
    pub(super) epoch: Epoch,
    /// The fold of the events.
    pub(super) state: Option<ThreadState>,
    pub(super) started: BTreeSet<(StepId, u32)>,
    pub(super) completed: BTreeSet<StepId>,
    pub(super) undoing: Undoing,
    /// The failures of each step since the thread was last resumed.
    pub(super) failures: BTreeMap<StepId, u32>,
    pub(super) resumes: u32,
    pub(super) ended: bool,
    pub(super) paused: bool,
    /// The step that ends its replica, if it has one.
    pub(super) poison: Option<StepId>,
    /// The incarnation that wrote last.
    pub(super) driven_by: Incarnation,
    /// The epoch of the last append.
    pub(super) appended_in: Option<Epoch>,
    /// The incarnations that were lost while they performed an attempt of the thread, since it last
    /// made progress.
    pub(super) losses: Vec<Incarnation>,
    /// The number of handovers with attempts under way since the thread last made progress. It
    /// includes losses that the journal takes for handovers, because the answer to the claim was
    /// lost.
    pub(super) handovers: u32,
    /// How often the thread was taken from a lost replica since it last got on, at its last claim.
    pub(super) claims: u32,
    /// The steps that had an attempt under way when the thread last changed hands.
    pub(super) under_way: Vec<StepId>,
    /// Every takeover that was recorded.
    pub(super) recovered: Vec<(RecoveryCause, Incarnation)>,
}

impl Journal {
    /// Notes that the thread is taken from `lost`; 0 means from nobody.
    pub(super) fn changes_hands(&mut self, lost: Incarnation) {
        self.under_way = self.running();
        // A thread without a running attempt cannot be what ended any replica.
        if self.under_way.is_empty() {
            return;
        }
        if lost != 0 && lost == self.driven_by {
            self.losses.push(lost);
        } else if lost == 0 && !self.losses.contains(&self.driven_by) {
            self.handovers += 1;
        }
    }

    /// Notes an append. Only the first append of a claim may take the thread over: the replica that
    /// has written since drives the thread, and has lost nothing.
    pub(super) fn appended(&mut self, epoch: Epoch, events: &[String]) -> Result<(), &'static str> {
        let goes_on = self.appended_in.replace(epoch) == Some(epoch);
        let taken_over = events.iter().any(|text| Event::kind_of(text) == "workflow_recovered");
        let rule = "it is taken over by who drives it: a write that has landed was not recognised";
        if goes_on && taken_over { Err(rule) } else { Ok(()) }
    }

    fn got_on(&mut self) {
        self.losses.clear();
        self.handovers = 0;
    }

    fn running(&self) -> Vec<StepId> {
        let Some(state) = &self.state else { return Vec::new() };
        let steps = state.plan.steps.iter().zip(&state.steps);
        let running = steps.filter(|(_, state)| state.is_running());
        running.map(|(step, _)| step.id.clone()).collect()
    }

    /// Returns the state after an event.
    pub(super) fn fold(&self, id: &ThreadId, until: Seq) -> Option<ThreadState> {
        if let Some(state) = self.state.as_ref().filter(|state| state.last_seq == until) {
            return Some(state.clone());
        }
        let plan = Arc::clone(&self.state.as_ref()?.plan);
        let mut events = self.events.iter().map(|text| Event::decode(text).unwrap());
        let mut state = ThreadState::first(id.clone(), plan, &events.next()?)?;
        for event in events.take_while(|event| event.seq <= until) {
            state.apply(&event);
        }
        Some(state)
    }

    /// Adds one event, and returns its body, or the violation in it.
    pub(super) fn push(
        &mut self,
        id: &ThreadId,
        text: &str,
        rules: &Rules,
    ) -> Result<EventBody, String> {
        let event = Event::decode(text).map_err(|fault| fault.to_string())?;
        let gapless = usize::try_from(event.seq) == Ok(self.events.len() + 1);
        self.events.push(text.to_owned());
        let is_resume = matches!(event.body, EventBody::WorkflowResumed(_));
        let undoes = matches!(event.body, EventBody::CompensationStart(_));
        let asked =
            matches!(&event.body, EventBody::CompensationStart(fact) if fact.data.by.is_some());
        let holds = [
            (gapless, "numbers are gapless"),
            (event.encode(id) == text, "what is read is what was written"),
            (!self.ended || is_resume || asked, "an ended thread is silent until it is resumed"),
            (asked || !undoes || self.running().is_empty(), "running attempts are waited for"),
            (self.may_be_undone(&event.body), "what has completed is undone, and once"),
            (self.ended || self.paused || !is_resume, "what goes on is not resumed"),
            (self.names_suspects(&event.body), "a person is told what ran at the last loss"),
            (self.escalates_once(&event.body), "what waits is escalated once"),
        ];
        self.ended = event.body.is_terminal();
        let forwards = goes_forwards(&event.body);
        let known = forwards && event.body.step().is_some_and(|step| self.completed.contains(step));
        self.take_in(&event.body, rules);
        match &mut self.state {
            Some(state) => state.apply(&event),
            none => {
                let plan = rules.plans.get(&self.workflow).ok_or("an unknown workflow")?;
                *none = ThreadState::first(id.clone(), Arc::clone(plan), &event);
            }
        }
        if known {
            return Err("nothing happens to a step that has completed".to_owned());
        }
        match holds.iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err((*rule).to_owned()),
            None => Ok(event.body),
        }
    }

    fn may_be_undone(&self, body: &EventBody) -> bool {
        let Some(step) = body.step().filter(|_| !goes_forwards(body)) else { return true };
        self.completed.contains(step) && !self.undoing.completed.contains(step)
    }

    /// Forgets the compensated steps, and all steps after them: they run again.
    fn begin_again(&mut self) {
        let Some(state) = &self.state else { return };
        for undone in std::mem::take(&mut self.undoing.completed) {
            let from = state.plan.find(undone.as_str()).unwrap();
            for after in state.plan.after(from) {
                self.completed.remove(&state.plan.steps[after].id);
            }
        }
        self.undoing.failures.clear();
    }

    fn names_suspects(&self, body: &EventBody) -> bool {
        let EventBody::InterventionOpened(fact) = body else { return true };
        fact.kind != InterventionKind::Poison || fact.steps == self.under_way
    }

    /// Returns whether an escalation is the first of its intervention and comes before the
    /// decision.
    fn escalates_once(&self, body: &EventBody) -> bool {
        let EventBody::InterventionEscalated(fact) = body else { return true };
        let asked = self.state.iter().flat_map(|state| &state.interventions);
        let mut asked = asked.filter(|one| one.opened.id == fact.id);
        asked.any(|one| one.resolved.is_none() && one.escalated.is_none())
    }

    fn take_in(&mut self, body: &EventBody, rules: &Rules) {
        match body {
            EventBody::WorkflowStart(start) => {
                self.workflow.clone_from(&start.workflow.name);
                let poison = rules.poison.get(&self.workflow);
                self.poison = poison.map(|at| StepId::parse(&format!("s{at}")).unwrap());
            }
            EventBody::StepStart(fact) => {
                self.started.insert((fact.step.clone(), fact.attempt));
            }
            EventBody::CompensationStart(fact) => {
                self.undoing.started.insert((fact.step.clone(), fact.attempt));
                if fact.data.by.is_some() {
                    self.undoing.failures.clear();
                    self.paused = false;
                    self.got_on();
                }
            }
            EventBody::CompensationFailed(fact) => {
                *self.undoing.failures.entry(fact.step.clone()).or_default() += 1;
            }
            EventBody::CompensationComplete(fact) => {
                self.undoing.completed.insert(fact.step.clone());
                self.got_on();
            }
            EventBody::WorkflowResumed(_) => {
                self.resumes += 1;
                self.paused = false;
                self.failures.clear();
                if self.state.as_ref().is_none_or(|state| state.compensation_reason.is_none()) {
                    self.begin_again();
                }
                self.got_on();
            }
            EventBody::StepRetry(fact) => *self.failures.entry(fact.step.clone()).or_default() += 1,
            EventBody::StepFailed(fact) => {
                *self.failures.entry(fact.step.clone()).or_default() += 1;
            }
            EventBody::StepComplete(fact) => {
                self.completed.insert(fact.step.clone());
                self.got_on();
            }
            EventBody::WorkflowPaused(_) => self.paused = true,
            EventBody::WorkflowRecovered(fact) => {
                self.recovered.push((fact.cause, fact.previous_owner));
                let was_lost = self.losses.contains(&self.driven_by);
                self.handovers += u32::from(was_lost && !fact.cause.is_loss());
            }
            EventBody::StepEdited(_)
            | EventBody::WorkflowForked(_)
            | EventBody::SignalReceived(_)
            | EventBody::InterventionOpened(_)
            | EventBody::InterventionEscalated(_)
            | EventBody::InterventionResolved(_)
            | EventBody::StepWaiting(_)
            | EventBody::StepTimeoutWarning(_)
            | EventBody::StepStale(_)
            | EventBody::StepSkipped(_)
            | EventBody::WorkflowComplete(_)
            | EventBody::WorkflowFailed(_)
            | EventBody::WorkflowAborted(_) => {}
        }
    }
}

/// Returns whether an event is about a step's own work, not about its compensation.
fn goes_forwards(body: &EventBody) -> bool {
    let backwards = matches!(
        body,
        EventBody::CompensationStart(_)
            | EventBody::CompensationComplete(_)
            | EventBody::CompensationFailed(_)
    );
    let told = matches!(body, EventBody::StepTimeoutWarning(on) if on.data.compensation)
        || matches!(body, EventBody::StepStale(on) if on.data.compensation);
    !backwards && !told
}

/// Returns the summary that the thread's row must have.
pub(super) fn summary(state: &ThreadState) -> Summary {
    let ended = |status: StepStatus| status.is_terminal();
    Summary {
        status: state.status,
        completed: count(state.steps.iter().filter(|step| ended(step.status())).count()),
        total: count(state.steps.len()),
        current_steps: state.current_steps(),
        stale_steps: state.stale_steps(),
        recoveries: state.recoveries,
        error_code: state.error.as_ref().map(|failure| failure.code.clone()),
        completed_at: state.completed_at,
        forked_from: None,
    }
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap()
}
