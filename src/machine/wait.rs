//! Steps that wait without an attempt under way: for a time, a signal or a person.
//!
//! What a step waits for is read from its filled-in `with` once, when it begins; the events hold
//! it from then on.

use sha2::{Digest, Sha256};

use super::draft::Draft;
use super::give_up::give_up;
use super::ready::POLICY;
use crate::definition::{Action, PlanStep};
use crate::model::{
    Category, EventBody, Failure, InterventionKind, InterventionOpened, InterventionResolved, Json,
    Node, StepComplete, StepWaiting, Timestamp, codes, duration_from_node, hex, is_signal_name,
};

/// What an approval offers where it says nothing.
const CHOICES: [&str; 2] = ["approve", "reject"];

/// Whether steps of this kind wait instead of being attempted.
pub(super) const fn waits(action: &Action) -> bool {
    match action {
        Action::Sleep | Action::Signal | Action::Approval => true,
        Action::Http | Action::Exec { .. } | Action::Transform { .. } => false,
    }
}

/// Begins to wait. What is there already is taken at once.
pub(super) fn begin(draft: &mut Draft<'_>, step: usize, planned: &PlanStep) {
    let rendered = planned.with.render(&*draft.state).map_err(|unresolved| {
        Failure::permanent(codes::TEMPLATE_UNRESOLVED, Category::Validation, unresolved.to_string())
    });
    let begun = rendered.and_then(|with| match &*planned.action {
        Action::Sleep => fall_asleep(draft, step, &with),
        Action::Signal => listen(draft, step, &with),
        Action::Approval => ask(draft, step, planned, &with),
        Action::Http | Action::Exec { .. } | Action::Transform { .. } => Ok(()),
    });
    if let Err(failure) = begun {
        let attempt = draft.state.steps.get(step).map_or(0, |state| state.attempts);
        give_up(draft, step, failure.at(&planned.id, attempt), 0);
    }
}

/// Ends a wait whose time has come. The steps that depend on it are looked at by whoever called.
pub(super) fn time_is_up(draft: &mut Draft<'_>, step: usize, planned: &PlanStep) {
    match &*planned.action {
        Action::Sleep => wake(draft, step),
        Action::Signal => {
            let name = draft.state.steps.get(step).and_then(|state| state.signal.clone());
            let message = format!("nobody sent the signal {}", name.unwrap_or_default());
            in_vain(draft, step, planned, message);
        }
        Action::Approval => expire(draft, step, planned),
        Action::Http | Action::Exec { .. } | Action::Transform { .. } => {}
    }
}

fn fall_asleep(draft: &mut Draft<'_>, step: usize, with: &Json) -> Result<(), Failure> {
    let until = wake_time(with, draft.moment.now)?;
    let data = StepWaiting { reason: "timer".to_owned(), until: Some(until), name: None };
    draft.emit_on(step, EventBody::StepWaiting, data);
    if until <= draft.moment.now {
        wake(draft, step);
    }
    Ok(())
}

/// Ends a sleep.
fn wake(draft: &mut Draft<'_>, step: usize) {
    let slept_ms = waited_ms(draft, step);
    let output =
        Json::trusted(format!("{{\"sleptMs\":{slept_ms}}}")).unwrap_or_else(|_| Json::null());
    complete(draft, step, output);
}

fn listen(draft: &mut Draft<'_>, step: usize, with: &Json) -> Result<(), Failure> {
    let node = read(with)?;
    let name = match node.get("name") {
        Some(Node::String(name)) if is_signal_name(name) => name.clone(),
        _ => return Err(fault("a signal needs a `name` of letters, digits, '.', '_' and '-'")),
    };
    let until = limit(draft, &node)?;
    let data = StepWaiting { reason: "signal".to_owned(), until, name: Some(name.clone()) };
    draft.emit_on(step, EventBody::StepWaiting, data);
    deliver(draft, &name);
    Ok(())
}

/// Gives what was sent under this name to the steps that wait for it, oldest first; the steps that
/// ended with it.
pub(super) fn deliver(draft: &mut Draft<'_>, name: &str) -> Vec<usize> {
    let mut ended = Vec::new();
    loop {
        let sent = draft.state.signals.iter().find(|signal| signal.name == name);
        let Some(payload) = sent.map(|signal| signal.payload.clone()) else { return ended };
        let waits = |step: &super::StepState| step.signal.as_deref() == Some(name);
        let Some(step) = draft.state.steps.iter().position(waits) else { return ended };
        complete(draft, step, payload);
        ended.push(step);
    }
}

fn ask(draft: &mut Draft<'_>, step: usize, planned: &PlanStep, with: &Json) -> Result<(), Failure> {
    let node = read(with)?;
    let prompt = match node.get("prompt") {
        Some(Node::String(prompt)) => prompt.clone(),
        Some(Node::Null | Node::Bool(_) | Node::Number(_) | Node::Array(_) | Node::Object(_))
        | None => return Err(fault("an approval needs a `prompt`")),
    };
    let choices = choices(&node)?;
    let on_timeout = match node.get("onTimeout") {
        Some(Node::String(choice)) if choices.contains(choice) => Some(choice.clone()),
        None => None,
        Some(_) => return Err(fault("`onTimeout` is one of the choices")),
    };
    let until = limit(draft, &node)?;
    let data = StepWaiting { reason: "approval".to_owned(), until, name: None };
    draft.emit_on(step, EventBody::StepWaiting, data);
    let id = draft.state.next_intervention();
    draft.emit(EventBody::InterventionOpened(InterventionOpened {
        id,
        kind: InterventionKind::Approval,
        steps: vec![planned.id.clone()],
        prompt,
        choices,
        digest: Some(hex(&Sha256::digest(with.as_str().as_bytes()))),
        expires_at: until,
        on_timeout,
    }));
    Ok(())
}

fn choices(node: &Node) -> Result<Vec<String>, Failure> {
    let texts = match node.get("choices") {
        None => return Ok(CHOICES.map(str::to_owned).into()),
        Some(Node::Array(items)) => items.iter().map(|item| match item {
            Node::String(text) if !text.is_empty() => Some(text.clone()),
            Node::String(_)
            | Node::Null
            | Node::Bool(_)
            | Node::Number(_)
            | Node::Array(_)
            | Node::Object(_) => None,
        }),
        Some(_) => return Err(fault("`choices` is a list of texts")),
    };
    let choices: Option<Vec<String>> = texts.collect();
    choices.filter(|all| !all.is_empty()).ok_or_else(|| fault("`choices` is a list of texts"))
}

/// Ends an approval with what was chosen.
pub(super) fn decided(draft: &mut Draft<'_>, step: usize, decision: &InterventionResolved) {
    let output = Json::of(&serde_json::json!({
        "choice": decision.choice, "comment": decision.comment, "by": decision.by
    }));
    complete(draft, step, output.unwrap_or_else(|_| Json::null()));
}

/// Nobody has decided in time.
fn expire(draft: &mut Draft<'_>, step: usize, planned: &PlanStep) {
    let open = draft.state.open_interventions().find(|one| one.opened.steps.contains(&planned.id));
    let open = open.map(|one| (one.opened.id.clone(), one.opened.on_timeout.clone()));
    let Some((id, on_timeout)) = open else { return };
    let chosen = on_timeout.is_some();
    let decision = InterventionResolved {
        id,
        choice: on_timeout.unwrap_or_else(|| "expired".to_owned()),
        by: POLICY.to_owned(),
        comment: Some("nobody decided in time".to_owned()),
    };
    draft.emit(EventBody::InterventionResolved(decision.clone()));
    if chosen {
        decided(draft, step, &decision);
    } else {
        in_vain(draft, step, planned, "nobody decided in time".to_owned());
    }
}

/// Ends a wait that brought nothing.
fn in_vain(draft: &mut Draft<'_>, step: usize, planned: &PlanStep, message: String) {
    let attempt = draft.state.steps.get(step).map_or(0, |state| state.attempts);
    let failure = Failure::permanent(codes::WAIT_TIMEOUT, Category::Timeout, message);
    let waited = waited_ms(draft, step);
    give_up(draft, step, failure.at(&planned.id, attempt), waited);
}

fn complete(draft: &mut Draft<'_>, step: usize, output: Json) {
    let duration_ms = waited_ms(draft, step);
    let fallback = draft.state.steps.get(step).is_some_and(|state| state.fallback);
    let data = StepComplete { output, duration_ms, session_id: None, fallback, error: None };
    draft.emit_on(step, EventBody::StepComplete, data);
}

fn waited_ms(draft: &Draft<'_>, step: usize) -> u64 {
    let began = draft.state.steps.get(step).and_then(|state| state.attempt_at);
    let waited = draft.moment.now.since(began.unwrap_or(draft.moment.now));
    u64::try_from(waited.as_millis()).unwrap_or(u64::MAX)
}

fn read(with: &Json) -> Result<Node, Failure> {
    Node::parse(with).map_err(|broken| fault(&broken.to_string()))
}

/// When the member `timeout` is over, if there is one.
fn limit(draft: &Draft<'_>, node: &Node) -> Result<Option<Timestamp>, Failure> {
    let Some(length) = node.get("timeout") else { return Ok(None) };
    let length = duration_from_node(length).map_err(|detail| fault(&detail))?;
    Ok(Some(draft.moment.now.plus(length)))
}

fn fault(detail: &str) -> Failure {
    Failure::permanent(codes::INVALID_CONFIGURATION, Category::Validation, detail)
}

/// The moment a sleep ends, from its filled-in `with`: `for` counts from `now`, `until` is a time.
fn wake_time(with: &Json, now: Timestamp) -> Result<Timestamp, Failure> {
    let node = read(with)?;
    if let Some(length) = node.get("for") {
        let length = duration_from_node(length).map_err(|detail| fault(&detail))?;
        return Ok(now.plus(length));
    }
    match node.get("until") {
        Some(Node::String(text)) => Timestamp::parse(text)
            .ok_or_else(|| fault(&format!("until: {text:?} is not an RFC 3339 time"))),
        _ => Err(fault("a sleep needs `for` (a duration) or `until` (an RFC 3339 time)")),
    }
}
