//! Attempts that wait for a time or a signal, and the common parts of all waits.
//!
//! The filled-in `with` of a step is read once, when its wait begins; the events hold its values
//! from then on. [`super::attempt`] begins the attempts and ends them.

use super::decision::Decision;
use super::{AttemptId, DecisionContext, ThreadState};
use crate::definition::{PlanStep, Scope};
use crate::model::{
    Category, EventBody, Failure, Json, Node, StepWaiting, Timestamp, codes, duration_from_node,
    is_signal_name,
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
    context: &DecisionContext,
) -> Result<Json, Failure> {
    let with = planned.with.render(scope, context.max_event.min(MAX_WITH));
    with.map_err(|unfilled| unfilled.failure(""))
}

/// Sleeps until the time that the filled-in `with` says; returns the output if that has come.
pub(super) fn fall_asleep(
    decision: &mut Decision<'_>,
    attempt: AttemptId,
    with: &Json,
) -> Result<Option<Json>, Failure> {
    let until = wake_time(with, decision.context.now)?;
    let reason = StepWaiting::TIMER.to_owned();
    let data = StepWaiting { reason, until: Some(until), ..StepWaiting::default() };
    decision.emit_of(attempt, EventBody::StepWaiting, data);
    Ok((until <= decision.context.now).then(|| slept(decision, attempt)))
}

/// Returns the output of a sleep that ends now.
pub(super) fn slept(decision: &Decision<'_>, attempt: AttemptId) -> Json {
    let slept_ms = decision.elapsed_ms(attempt);
    Json::trusted(format!("{{\"sleptMs\":{slept_ms}}}")).unwrap_or_else(|_| Json::null())
}

/// Waits for a signal; returns its payload if it is there already.
pub(super) fn listen(
    decision: &mut Decision<'_>,
    attempt: AttemptId,
    with: &Json,
) -> Result<Option<Json>, Failure> {
    let node = read(with)?;
    let name = match node.get("name") {
        Some(Node::String(name)) if is_signal_name(name) => name.clone(),
        _ => return Err(fault("a signal needs a `name` of letters, digits, '.', '_' and '-'")),
    };
    let until = limit(decision, &node, "timeout")?;
    let reason = StepWaiting::SIGNAL.to_owned();
    let data = StepWaiting { reason, until, name: Some(name.clone()), ..StepWaiting::default() };
    decision.emit_of(attempt, EventBody::StepWaiting, data);
    Ok(sent(decision.state, &name))
}

/// Returns the payload of the oldest signal of this name that no step has taken yet.
pub(super) fn sent(state: &ThreadState, name: &str) -> Option<Json> {
    let sent = state.signals.iter().find(|signal| signal.name == name);
    sent.map(|signal| signal.payload.clone())
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
    Ok(Some(decision.context.now.plus(length)))
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
