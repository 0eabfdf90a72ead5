//! A checked workflow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::template::Bounded;
use super::{Action, Check, Condition, InputSchema, Scope, StepIx, Steps, Template, Unfilled};
use crate::model::{BreakerPolicy, Faults, Json, Pointer, RetryPolicy, StepId};

/// The circuit breaker that a step's attempts pass.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StepBreaker {
    /// Its key; absent: that of what the attempt is aimed at.
    pub key: Option<String>,
    /// When it opens, and for how long.
    pub policy: BreakerPolicy,
}

/// The stand-in for a step that has used its attempts.
#[derive(Debug)]
pub enum Fallback {
    /// An output, which completes the step.
    Output(Template),
    /// Another way to do it, whose attempts follow those of the step. It has the step's id, and
    /// neither dependencies nor a fallback of its own.
    Step(Box<PlanStep>),
}

/// Which of a step's works an attempt is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// The step's own work.
    Own,
    /// The work that stands in for it once its attempts are used up.
    Fallback,
    /// The work that undoes it.
    Compensation,
}

impl Work {
    /// Every work.
    pub const ALL: [Self; 3] = [Self::Own, Self::Fallback, Self::Compensation];
}

/// A checked step.
#[derive(Debug)]
pub struct PlanStep {
    /// Its id.
    pub id: StepId,
    /// The work.
    pub action: Arc<Action>,
    /// Its `with`; for a `transform` the value its filter reads.
    pub with: Template,
    /// The steps it depends on.
    pub depends_on: Vec<StepIx>,
    /// The steps that depend on it.
    pub dependents: Vec<StepIx>,
    /// Its `when`.
    pub when: Option<Condition>,
    /// The check of an output of its attempts before it completes.
    pub check: Option<Check>,
    /// Its retry policy, defaults filled in.
    pub retry: RetryPolicy,
    /// Bound of one attempt, if any.
    pub timeout: Option<Duration>,
    /// After how long an attempt is worth a warning.
    pub warn_after: Option<Duration>,
    /// After how long without a sign of life an attempt has failed.
    pub heartbeat_timeout: Option<Duration>,
    /// Whether the thread goes on when this step has used its attempts.
    pub continue_on_error: bool,
    /// The circuit breaker before its attempts.
    pub breaker: StepBreaker,
    /// The fallback for when it has used its attempts.
    pub fallback: Option<Fallback>,
    /// The step that undoes it once it has completed. It has the step's id, and nothing that
    /// places it among the others.
    pub compensate: Option<Box<PlanStep>>,
}

impl PlanStep {
    /// How the attempts at a work are made; as the step itself says where it says nothing else.
    pub fn work(&self, work: Work) -> &Self {
        match (work, &self.fallback, &self.compensate) {
            (Work::Fallback, Some(Fallback::Step(step)), _)
            | (Work::Compensation, _, Some(step)) => step,
            (Work::Own | Work::Fallback | Work::Compensation, _, _) => self,
        }
    }

    /// The program it starts, if it starts one.
    fn started(&self, place: &Pointer) -> Option<Started<'_>> {
        let Action::Exec { program, variables } = &*self.action else { return None };
        Some(Started { with: place.key("with"), program, variables })
    }
}

/// A program that a step starts.
struct Started<'a> {
    /// Where the step's `with` stands in the workflow.
    with: Pointer,
    program: &'a str,
    variables: &'a [String],
}

/// A checked workflow: what a thread executes.
#[derive(Debug, Default)]
pub struct Plan {
    /// The workflow's name.
    pub name: String,
    /// SHA-256 of its text, in hex.
    pub hash: String,
    /// SHA-256 of what its text means, in hex: the same however its members are ordered.
    pub meaning: String,
    /// Its text: compact JSON as it came.
    pub text: String,
    /// Its steps, in the order they were written.
    pub steps: Steps<PlanStep>,
    /// Schema of the input.
    pub input_schema: Option<InputSchema>,
    /// Whether a thread that would fail is paused instead, and a person asked (`onFailure`).
    pub pauses_on_failure: bool,
    /// Bound of a thread, from its start or its last resume.
    pub timeout: Option<Duration>,
    /// After how long nobody has decided what is asked about a thread, that is escalated
    /// (`escalateAfter`); an approval may have its own.
    pub escalate_after: Option<Duration>,
    /// Template of the output; absent: the outputs of the steps nothing depends on, by id.
    pub output: Option<Template>,
    /// The places of the steps by id: every event of a thread is looked up here.
    pub(super) places: BTreeMap<StepId, StepIx>,
}

impl Plan {
    /// The step of that id.
    pub fn find(&self, id: &str) -> Option<StepIx> {
        self.places.get(id).copied()
    }

    /// A step and all that depend on it, directly or not, in the order of the plan.
    pub fn after(&self, step: StepIx) -> BTreeSet<StepIx> {
        self.after_all([step])
    }

    /// These steps and all that depend on them, for the work of one search.
    pub fn after_all(&self, steps: impl IntoIterator<Item = StepIx>) -> BTreeSet<StepIx> {
        self.reached(steps.into_iter().collect(), |planned| &planned.dependents)
    }

    /// These steps, all that go by what they gave, and all that those depend on beside them, in the
    /// order of the plan. One that is changed and that no other goes by stands alone.
    pub fn entangled(&self, changed: &BTreeSet<StepIx>) -> BTreeSet<StepIx> {
        let next = changed.iter().flat_map(|&at| &self.steps[at].dependents).copied();
        // A filter that reads the whole scope goes by every step, whatever it depends on.
        let readers =
            self.matching(|step| step.with.reads_whole_scope() && !step.dependents.is_empty());
        let readers = readers.filter(|at| !changed.contains(at));
        let go_by = self.reached(next.chain(readers).collect(), |planned| &planned.dependents);
        let mut found = self.reached(go_by.into_iter().collect(), |planned| &planned.depends_on);
        found.extend(changed);
        found
    }

    /// The steps that can be reached from these, and they themselves.
    fn reached(&self, mut open: Vec<StepIx>, ways: fn(&PlanStep) -> &[StepIx]) -> BTreeSet<StepIx> {
        let mut found = BTreeSet::new();
        while let Some(step) = open.pop() {
            if found.insert(step) {
                open.extend(ways(&self.steps[step]));
            }
        }
        found
    }

    /// Whether a thread of it may ask a person before any attempt of it was made. (A `check` asks
    /// about what an attempt gave, `onFailure` also about a condition.)
    pub fn may_ask(&self) -> bool {
        let asks = |step: &PlanStep| Work::ALL.iter().any(|work| step.work(*work).action.asks());
        self.pauses_on_failure || self.steps.iter().any(asks)
    }

    /// The steps that nothing depends on.
    pub fn leaves(&self) -> impl Iterator<Item = StepIx> {
        self.matching(|step| step.dependents.is_empty())
    }

    fn matching(&self, wanted: fn(&PlanStep) -> bool) -> impl Iterator<Item = StepIx> {
        self.steps.placed().filter(move |(_, step)| wanted(step)).map(|(at, _)| at)
    }

    /// The programs its steps start, each with its place (`/steps/2/with/program` below that of the
    /// workflow), for the caller to hold against the allow-list.
    pub fn programs(&self, at: &Pointer) -> impl Iterator<Item = (Pointer, &str)> {
        self.started(at).map(|started| (started.with.key("program"), started.program))
    }

    /// The variables its steps give their programs by name, each with its place
    /// (`/steps/2/with/env/NAME` below that of the workflow) and its program, for the caller to hold
    /// against the policy.
    pub fn variables(&self, at: &Pointer) -> impl Iterator<Item = (Pointer, &str, &str)> {
        self.started(at).flat_map(|started| {
            let (env, program) = (started.with.key("env"), started.program);
            started.variables.iter().map(move |name| (env.key(name), program, name.as_str()))
        })
    }

    fn started(&self, at: &Pointer) -> impl Iterator<Item = Started<'_>> {
        let steps = at.key("steps");
        self.steps.iter().enumerate().flat_map(move |(at, step)| {
            let place = steps.index(at);
            let fallback = match &step.fallback {
                Some(Fallback::Step(step)) => step.started(&place.key("fallback")),
                Some(Fallback::Output(_)) | None => None,
            };
            let compensate = step.compensate.as_ref();
            let compensate = compensate.and_then(|step| step.started(&place.key("compensate")));
            step.started(&place).into_iter().chain(fallback).chain(compensate)
        })
    }

    /// Holds an input against the workflow's `inputSchema`, if it has one. `at` is where the
    /// input stands in the request's body.
    pub fn check_input(&self, input: &Json, at: &Pointer, faults: &mut Faults) {
        if let Some(schema) = &self.input_schema {
            schema.check(input, at, faults);
        }
    }

    /// The thread's output once its steps have ended, of at most `limit` bytes: the `output`
    /// template, or an object of the outputs of the steps that nothing depends on (`null` for a
    /// skipped or failed one).
    pub fn render_output(&self, scope: &dyn Scope, limit: usize) -> Result<Json, Unfilled> {
        if let Some(template) = &self.output {
            return template.render(scope, limit);
        }
        let mut out = Bounded::new(limit);
        out.push("{")?;
        for (index, step) in self.leaves().map(|at| &self.steps[at]).enumerate() {
            if index > 0 {
                out.push(",")?;
            }
            out.quote(step.id.as_str())?;
            out.push(":")?;
            let output = scope.step(step.id.as_str()).and_then(|view| view.output);
            out.push(output.map_or("null", Json::as_str))?;
        }
        out.push("}")?;
        out.finish()
    }
}
