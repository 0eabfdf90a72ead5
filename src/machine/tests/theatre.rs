//! A thread on a stage: commands go in by the names of steps, and events come out as short lines
//! such as `step_start a 1`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::definition::Plan;
use crate::machine::{
    Abort, Actor, AttemptId, Command, DecisionContext, Intervention, Rejection, Report, Request,
    Resume, Takeover, ThreadState, decide, start,
};
use crate::model::{
    Category, Event, EventBody, Failure, Json, Pointer, RecoveryCause, RecoveryStrategy, StepId,
    StepStatus, ThreadId, Timeouts, Timestamp, WorkflowRef, WorkflowStart,
};

/// The time at which every test begins, in milliseconds.
pub(crate) const DAWN: i64 = 1_700_000_000_000;
/// A takeover from `previous_owner`.
pub(crate) const fn takeover(cause: RecoveryCause, previous_owner: i64) -> Takeover {
    Takeover { cause, strategy: RecoveryStrategy::FullRebuild, previous_owner }
}

/// Returns a request of Ann's as a command.
pub(crate) fn asked(ask: Request) -> Command {
    Command::Request(ask, Actor { by: "ann".to_owned(), ..Actor::default() })
}

/// The largest output in bytes: larger than any that is not meant to be too large.
const MAX_EVENT: usize = 1_000;

/// A thread, its journal and the time.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    pub(crate) state: ThreadState,
    pub(crate) journal: Vec<Event>,
    pub(crate) context: DecisionContext,
}

impl Stage {
    /// A thread of these steps that has been accepted and not advanced.
    #[track_caller]
    pub(crate) fn new(steps: Value) -> Self {
        Self::with(json!({ "name": "w", "steps": steps }), json!({}))
    }

    /// A thread of this workflow and input.
    #[track_caller]
    pub(crate) fn with(workflow: Value, input: Value) -> Self {
        Self::of(plan(&workflow), &input)
    }

    pub(crate) fn of(plan: Arc<Plan>, input: &Value) -> Self {
        let context = DecisionContext {
            now: Timestamp::from_millis(DAWN),
            unit: 0.5,
            max_event: MAX_EVENT,
            max_thread: 1 << 30,
            may_start: true,
            timeouts: Timeouts::AS_WRITTEN,
        };
        let body = WorkflowStart {
            workflow: WorkflowRef { name: "w".to_owned(), version: None, hash: plan.hash.clone() },
            input: json_of(input),
            metadata: json_of(&json!({})),
            by: "tests".to_owned(),
            queue: None,
            priority: None,
            traceparent: None,
            deadline: None,
            forked_from: None,
        };
        let (state, first) = start(thread(), plan, body, context).unwrap();
        Self { state, journal: vec![first], context }
    }

    /// Moves the time on.
    pub(crate) fn pass(&mut self, millis: i64) -> &mut Self {
        self.context.now = Timestamp::from_millis(self.context.now.millis() + millis);
        self
    }

    /// Decides a command; returns the lines of the events that followed.
    pub(crate) fn decide(&mut self, command: Command) -> Result<Vec<String>, Rejection> {
        let events = decide(&mut self.state, command, self.context)?.events;
        let lines = events.iter().map(line).collect();
        self.journal.extend(events);
        Ok(lines)
    }

    #[track_caller]
    pub(crate) fn advance(&mut self) -> Vec<String> {
        self.decide(Command::Advance).unwrap()
    }

    /// Completes the current attempt of a step.
    #[track_caller]
    pub(crate) fn complete(&mut self, id: &str, output: Value) -> Vec<String> {
        let attempt = self.current(id);
        let output = json_of(&output);
        self.decide(Command::Attempt { attempt, report: Report::Done { output, session_id: None } })
            .unwrap()
    }

    /// Fails the current attempt of a step.
    #[track_caller]
    pub(crate) fn fail(&mut self, id: &str, failure: Failure) -> Vec<String> {
        self.fail_asking(id, failure, None)
    }

    /// Fails the current attempt with a `Retry-After`.
    #[track_caller]
    pub(crate) fn fail_asking(
        &mut self,
        id: &str,
        failure: Failure,
        retry_after: Option<Duration>,
    ) -> Vec<String> {
        let attempt = self.current(id);
        self.decide(Command::Attempt { attempt, report: Report::Failed { failure, retry_after } })
            .unwrap()
    }

    #[track_caller]
    pub(crate) fn recover(&mut self, cause: RecoveryCause) -> Vec<String> {
        self.decide(Command::Recover(takeover(cause, 7))).unwrap()
    }

    #[track_caller]
    pub(crate) fn resume(&mut self) -> Vec<String> {
        self.decide(asked(Request::Resume(Resume::default()))).unwrap()
    }

    #[track_caller]
    pub(crate) fn abort(&mut self) -> Vec<String> {
        self.decide(asked(Request::Abort(Abort::default()))).unwrap()
    }

    /// Reports the current attempt of a step's compensation.
    #[track_caller]
    pub(crate) fn undo(&mut self, id: &str, what: Report) -> Vec<String> {
        let at = self.current(id).step;
        let attempt = self.state.steps[at].compensation.attempts;
        self.decide(Command::Attempt { attempt: AttemptId::undo(at, attempt), report: what })
            .unwrap()
    }

    /// Returns the newest intervention.
    #[track_caller]
    pub(crate) fn asked(&self) -> &Intervention {
        self.state.interventions.last().unwrap()
    }

    /// Decides the newest intervention as Ann.
    #[track_caller]
    pub(crate) fn resolve(&mut self, choice: &str) -> Vec<String> {
        let (id, choice) = (self.asked().opened.id.clone(), choice.to_owned());
        self.decide(asked(Request::Resolve { id, choice, digest: None })).unwrap()
    }

    /// Returns the position and the current attempt of a step.
    #[track_caller]
    pub(crate) fn current(&self, id: &str) -> AttemptId {
        let at = self.state.plan.find(id).unwrap();
        let step = &self.state.steps[at];
        AttemptId { step: at, work: step.work(), number: step.own.attempts }
    }

    #[track_caller]
    pub(crate) fn status(&self, id: &str) -> StepStatus {
        self.state.steps[self.current(id).step].status()
    }

    /// Returns the last event.
    #[track_caller]
    pub(crate) fn last(&self) -> &EventBody {
        &self.journal.last().unwrap().body
    }

    /// Returns the thread's output as JSON text.
    #[track_caller]
    pub(crate) fn output(&self) -> &str {
        self.state.output.as_ref().unwrap().as_str()
    }
}

/// Returns an event as one line: its kind, and the data that tell it from its neighbours.
pub(crate) fn line(event: &Event) -> String {
    let kind = event.body.kind();
    match &event.body {
        EventBody::StepStart(fact) => format!("{kind} {} {}", fact.step, fact.attempt),
        EventBody::StepWaiting(fact) => format!("{kind} {} {}", fact.step, fact.attempt),
        EventBody::StepRetry(fact) => {
            format!("{kind} {} {} in {}", fact.step, fact.attempt, fact.data.delay_ms)
        }
        EventBody::StepTimeoutWarning(fact) => format!("{kind} {} {}", fact.step, fact.attempt),
        EventBody::StepStale(fact) => format!("{kind} {} {}", fact.step, fact.attempt),
        EventBody::StepComplete(fact) => format!("{kind} {} {}", fact.step, fact.attempt),
        EventBody::StepFailed(fact) => {
            format!("{kind} {} {} {}", fact.step, fact.attempt, fact.data.error.code)
        }
        EventBody::StepSkipped(fact) => format!("{kind} {} {}", fact.step, fact.data.reason),
        EventBody::StepEdited(fact) => format!("{kind} {}", fact.step),
        EventBody::CompensationStart(fact) => format!("{kind} {} {}", fact.step, fact.attempt),
        EventBody::CompensationComplete(fact) => format!("{kind} {} {}", fact.step, fact.attempt),
        EventBody::CompensationFailed(fact) => match fact.data.delay_ms {
            Some(delay) => format!("{kind} {} {} in {delay}", fact.step, fact.attempt),
            None => format!("{kind} {} {} {}", fact.step, fact.attempt, fact.data.error.code),
        },
        EventBody::WorkflowFailed(data) => format!("{kind} {}", data.error.code),
        EventBody::WorkflowRecovered(data) => {
            let steps: Vec<_> = data.steps.iter().map(StepId::as_str).collect();
            format!("{kind} {} [{}]", data.cause.as_str(), steps.join(" "))
        }
        EventBody::InterventionOpened(data) => {
            let steps: Vec<_> = data.steps.iter().map(StepId::as_str).collect();
            format!("{kind} {} [{}]", data.kind.as_str(), steps.join(" "))
        }
        EventBody::InterventionEscalated(data) => format!("{kind} {}", data.kind.as_str()),
        EventBody::InterventionResolved(data) => format!("{kind} {}", data.choice),
        EventBody::SignalReceived(data) => format!("{kind} {}", data.name),
        EventBody::WorkflowStart(_)
        | EventBody::WorkflowPaused(_)
        | EventBody::WorkflowForked(_)
        | EventBody::WorkflowResumed(_)
        | EventBody::WorkflowComplete(_)
        | EventBody::WorkflowAborted(_) => kind.to_owned(),
    }
}

#[track_caller]
pub(crate) fn plan(workflow: &Value) -> Arc<Plan> {
    let parsed = Plan::parse(&json_of(workflow), &Pointer::root());
    Arc::new(parsed.unwrap_or_else(|faults| panic!("{workflow:#}\n{faults:#?}")))
}

/// Returns the report that an attempt of a compensation has succeeded.
pub(crate) fn done() -> Report {
    Report::Done { output: Json::null(), session_id: None }
}

/// An http step that depends on others.
pub(crate) fn http(id: &str, depends_on: &[&str]) -> Value {
    json!({ "id": id, "kind": "http", "with": { "url": "http://h/" }, "dependsOn": depends_on })
}

/// An http step with more members.
pub(crate) fn http_with(id: &str, depends_on: &[&str], more: Value) -> Value {
    let mut step = http(id, depends_on);
    for (key, value) in more.as_object().unwrap() {
        step[key] = value.clone();
    }
    step
}

pub(crate) fn json_of(value: &Value) -> Json {
    Json::parse(&value.to_string()).unwrap()
}

pub(crate) fn thread() -> ThreadId {
    ThreadId::parse("t").unwrap()
}

/// A failure worth another try.
pub(crate) fn broken() -> Failure {
    Failure::recoverable("connection_failed", Category::External, "refused")
}

/// A failure that is not worth another try.
pub(crate) fn refused() -> Failure {
    Failure::permanent("http_status", Category::External, "404")
}
