//! Reads how the attempts of a step are made, or those of its fallback or its compensation.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::breaker;
use super::graph::Graph;
use super::policy::{Effective, Policy};
use crate::contract::{Fields, Value};
use crate::definition::template::Names;
use crate::definition::{Action, Check, PlanStep, StepBreaker, Template, Wait, kinds};
use crate::model::{Faults, Pointer, StepId};

/// The parts of a workflow that reading a step needs.
pub(super) struct Surroundings<'a> {
    /// The ids of all steps, by position.
    pub(super) ids: &'a [Option<Cow<'a, str>>],
    /// The same, as a set.
    pub(super) known: &'a BTreeSet<&'a str>,
    /// The dependencies between steps.
    pub(super) graph: &'a Graph,
    /// The workflow's `defaults`.
    pub(super) defaults: &'a Policy,
}

/// How the attempts of a step, or of its fallback, are made.
pub(super) struct Way {
    action: Action,
    with: Template,
    policy: Effective,
    breaker: StepBreaker,
    check: Option<Check>,
}

/// Reads how attempts are made, and what decides about their outputs; `ancestors` are whom a `check`
/// may name.
pub(super) fn way(
    fields: &Fields<'_>,
    names: &Names<'_>,
    ancestors: &BTreeSet<&str>,
    defaults: &Policy,
    faults: &mut Faults,
) -> Option<Way> {
    let work = work(fields, names, faults);
    let mut policy = Policy::read(fields, faults).over(defaults, fields.at(), faults);
    let shows_life = shows_life(fields, faults);
    policy.heartbeat_timeout = policy.heartbeat_timeout.filter(|_| shows_life);
    // What shows signs of life is what happens elsewhere.
    let breaker = breaker::read(fields, shows_life, faults);
    let check = check(fields, ancestors, faults);
    let (action, with) = work?;
    if fields.get("check").is_some() && action.waits() {
        let a_step = kinds::a_step(action.kind());
        let detail =
            format!("{a_step} makes no attempt whose output could be checked; let one after it");
        fields.fault("check", detail, faults);
    }
    Some(Way { action, with, policy, breaker, check })
}

impl Way {
    /// A step of its own that nothing depends on.
    pub(super) fn into_step(self, id: StepId) -> PlanStep {
        let Self { action, with, policy, breaker, check } = self;
        PlanStep {
            id,
            action: Arc::new(action),
            with,
            depends_on: Vec::new(),
            dependents: Vec::new(),
            when: None,
            check,
            retry: policy.retry,
            timeout: policy.timeout,
            warn_after: policy.warn_after,
            heartbeat_timeout: policy.heartbeat_timeout,
            continue_on_error: policy.continue_on_error,
            breaker,
            fallback: None,
            compensate: None,
        }
    }
}

/// Whether the step's kind shows signs of life. If it does not, a `heartbeatTimeout` of its own is a
/// fault; one of `defaults` means the other steps.
fn shows_life(fields: &Fields<'_>, faults: &mut Faults) -> bool {
    let Some(name) = fields.get("kind").and_then(Value::text) else { return true };
    let shows_life = kinds::find(&name).is_none_or(|kind| kind.shows_life);
    if !shows_life && fields.get("heartbeatTimeout").is_some() {
        let a_step = kinds::a_step(&name);
        let detail = format!("{a_step} runs inside the server and shows no sign of life");
        fields.fault("heartbeatTimeout", detail, faults);
    }
    shows_life
}

/// Reads `kind` and `with`.
fn work(fields: &Fields<'_>, names: &Names<'_>, faults: &mut Faults) -> Option<(Action, Template)> {
    fields.require("kind", faults);
    let with = fields.require("with", faults);
    let name = fields.text("kind", faults)?;
    let Some(kind) = kinds::find(&name) else {
        let detail = format!("unknown kind {name:?}; known are {}", kinds::names());
        fields.fault("kind", detail, faults);
        return None;
    };
    let at = fields.at().key("with");
    let raw = with?.raw();
    let with = Fields::of(with?, &at, "with", faults)?;
    let members: Vec<&str> = kind.members.iter().map(|(name, _)| *name).collect();
    with.allow(&members, faults);
    let action = (kind.check)(&with, faults);
    // What a filter reads ends up in its output, which is journalled like what a kind says so of.
    let journalled = Names { secrets: false, ..*names };
    let template = match kind.reads {
        kinds::Reads::With => Template::compile(raw, &at, names, faults),
        kinds::Reads::Url(member) => {
            Template::compile(raw, &at, names, faults).with_url(member, raw, names)
        }
        kinds::Reads::Journalled => Template::compile(raw, &at, &journalled, faults),
        kinds::Reads::From => match with.get("from") {
            Some(from) => Template::compile(from.raw(), &at.key("from"), &journalled, faults),
            None => Template::whole_scope(),
        },
    };
    let mut action = action?;
    if let Action::Wait(Wait::Approval { terms }) = &mut action {
        *terms = Template::of_members(&kinds::TERMS, raw, names);
    }
    Some((action, template))
}

fn check(fields: &Fields<'_>, visible: &BTreeSet<&str>, faults: &mut Faults) -> Option<Check> {
    let text = fields.text("check", faults)?;
    compiled(Check::compile(&text, visible), &fields.at().key("check"), faults)
}

/// The compiled value, if there is one; its faults are added to `faults`.
pub(super) fn compiled<T>(
    expression: Result<T, Vec<String>>,
    at: &Pointer,
    faults: &mut Faults,
) -> Option<T> {
    match expression {
        Ok(expression) => Some(expression),
        Err(details) => {
            for detail in details {
                faults.add(at, detail);
            }
            None
        }
    }
}
