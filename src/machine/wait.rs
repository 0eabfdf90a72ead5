//! Steps that wait for a time or a signal, and the common parts of all waits.
//!
//! The filled-in `with` of a step is read once, when its wait begins; the events hold its values
//! from then on. [`super::attempt`] begins and ends waits.

use super::Moment;
use super::decision::Decision;
use crate::definition::{PlanStep, Scope, StepIx};
use crate::model::{
    Category, EventBody, Failure, Json, Node, StepComplete, StepWaiting, Timestamp, codes,
    duration_from_node, is_signal_name, millis,
};

/// The most bytes of the filled-in `with` of a step that waits: a time, a name, or a question that a
/// person reads. All of it is parsed in the decision that begins the wait.
pub(super) const MAX_WITH: usize = 64 << 10;

/// The most characters of a wrong value that a message quotes.
const QUOTED: usize = 100;

/// Fills in the `with` of a step that waits.
pub(super) fn filled_in(
    planned: &PlanStep,
    scope: &dyn Scope,
    moment: &Moment,
) -> Result<Json, Failure> {
    let with = planned.with.render(scope, moment.max_event.min(MAX_WITH));
    with.map_err(|unfilled| unfilled.failure(""))
}

/// Sleeps until the time that the filled-in `with` says.
pub(super) fn fall_asleep(
    decision: &mut Decision<'_>,
    step: StepIx,
    with: &Json,
) -> Result<(), Failure> {
    let until = wake_time(with, decision.moment.now)?;
    let data =
        StepWaiting { reason: "timer".to_owned(), until: Some(until), ..StepWaiting::default() };
    decision.emit_on(step, EventBody::StepWaiting, data);
    if until <= decision.moment.now {
        wake(decision, step);
    }
    Ok(())
}

/// Ends a sleep.
pub(super) fn wake(decision: &mut Decision<'_>, step: StepIx) {
    let slept_ms = waited_ms(decision, step);
    let output =
        Json::trusted(format!("{{\"sleptMs\":{slept_ms}}}")).unwrap_or_else(|_| Json::null());
    complete(decision, step, output);
}

/// Waits for a signal; a signal that is there already is taken at once.
pub(super) fn listen(
    decision: &mut Decision<'_>,
    step: StepIx,
    with: &Json,
) -> Result<(), Failure> {
    let node = read(with)?;
    let name = match node.get("name") {
        Some(Node::String(name)) if is_signal_name(name) => name.clone(),
        _ => return Err(fault("a signal needs a `name` of letters, digits, '.', '_' and '-'")),
    };
    let until = limit(decision, &node, "timeout")?;
    let data = StepWaiting {
        reason: "signal".to_owned(),
        until,
        name: Some(name.clone()),
        ..StepWaiting::default()
    };
    decision.emit_on(step, EventBody::StepWaiting, data);
    deliver(decision, &name);
    Ok(())
}

/// Delivers signals of this name to the steps that wait for them, oldest first; returns the steps
/// that ended with one.
pub(super) fn deliver(decision: &mut Decision<'_>, name: &str) -> Vec<StepIx> {
    let mut ended = Vec::new();
    loop {
        let sent = decision.state.signals.iter().find(|signal| signal.name == name);
        let Some(payload) = sent.map(|signal| signal.payload.clone()) else { return ended };
        let waits = |step: &super::StepState| step.signal.as_deref() == Some(name);
        let Some(step) = decision.state.steps.find(waits) else { return ended };
        complete(decision, step, payload);
        ended.push(step);
    }
}

pub(super) fn complete(decision: &mut Decision<'_>, step: StepIx, output: Json) {
    let duration_ms = waited_ms(decision, step);
    let fallback = decision.state.steps[step].fallback;
    let data = StepComplete { output, duration_ms, session_id: None, fallback, error: None };
    decision.emit_on(step, EventBody::StepComplete, data);
}

pub(super) fn waited_ms(decision: &Decision<'_>, step: StepIx) -> u64 {
    let began = decision.state.steps[step].own.attempt_at;
    let waited = decision.moment.now.since(began.unwrap_or(decision.moment.now));
    millis(waited)
}

pub(super) fn read(with: &Json) -> Result<Node, Failure> {
    Node::parse(with).map_err(|broken| fault(&broken.to_string()))
}

/// Returns the time at which the duration in a member is over, if there is a member of that name.
pub(super) fn limit(
    decision: &Decision<'_>,
    node: &Node,
    name: &str,
) -> Result<Option<Timestamp>, Failure> {
    let Some(length) = node.get(name) else { return Ok(None) };
    let length = duration_from_node(length).map_err(|detail| fault(&detail))?;
    Ok(Some(decision.moment.now.plus(length)))
}

pub(super) fn fault(detail: &str) -> Failure {
    Failure::permanent(codes::INVALID_CONFIGURATION, Category::Validation, detail)
}

/// Returns the moment a sleep ends, from its filled-in `with`: `for` counts from `now`, `until` is
/// a time.
fn wake_time(with: &Json, now: Timestamp) -> Result<Timestamp, Failure> {
    let node = read(with)?;
    if let Some(length) = node.get("for") {
        let length = duration_from_node(length).map_err(|detail| fault(&detail))?;
        return Ok(now.plus(length));
    }
    match node.get("until") {
        Some(Node::String(text)) => Timestamp::parse(text)
            .ok_or_else(|| fault(&format!("until: {:?} is not an RFC 3339 time", start_of(text)))),
        _ => Err(fault("a sleep needs `for` (a duration) or `until` (an RFC 3339 time)")),
    }
}

/// Returns the start of a text, for a message that quotes it.
fn start_of(text: &str) -> String {
    text.chars().take(QUOTED).collect()
}
