//! Steps that wait for a time or a signal, and what all waits have in common.
//!
//! What a step waits for is read from its filled-in `with` once, when it begins; the events hold
//! it from then on. [`super::attempt`] begins and ends waits.

use super::draft::Draft;
use crate::model::{
    Category, EventBody, Failure, Json, Node, StepComplete, StepWaiting, Timestamp, codes,
    duration_from_node, is_signal_name,
};

/// Sleeps until the time that the filled-in `with` says.
pub(super) fn fall_asleep(draft: &mut Draft<'_>, step: usize, with: &Json) -> Result<(), Failure> {
    let until = wake_time(with, draft.moment.now)?;
    let data =
        StepWaiting { reason: "timer".to_owned(), until: Some(until), ..StepWaiting::default() };
    draft.emit_on(step, EventBody::StepWaiting, data);
    if until <= draft.moment.now {
        wake(draft, step);
    }
    Ok(())
}

/// Ends a sleep.
pub(super) fn wake(draft: &mut Draft<'_>, step: usize) {
    let slept_ms = waited_ms(draft, step);
    let output =
        Json::trusted(format!("{{\"sleptMs\":{slept_ms}}}")).unwrap_or_else(|_| Json::null());
    complete(draft, step, output);
}

/// Waits for a signal; one that is there already is taken at once.
pub(super) fn listen(draft: &mut Draft<'_>, step: usize, with: &Json) -> Result<(), Failure> {
    let node = read(with)?;
    let name = match node.get("name") {
        Some(Node::String(name)) if is_signal_name(name) => name.clone(),
        _ => return Err(fault("a signal needs a `name` of letters, digits, '.', '_' and '-'")),
    };
    let until = limit(draft, &node, "timeout")?;
    let data = StepWaiting {
        reason: "signal".to_owned(),
        until,
        name: Some(name.clone()),
        ..StepWaiting::default()
    };
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

pub(super) fn complete(draft: &mut Draft<'_>, step: usize, output: Json) {
    let duration_ms = waited_ms(draft, step);
    let fallback = draft.state.steps.get(step).is_some_and(|state| state.fallback);
    let data = StepComplete { output, duration_ms, session_id: None, fallback, error: None };
    draft.emit_on(step, EventBody::StepComplete, data);
}

pub(super) fn waited_ms(draft: &Draft<'_>, step: usize) -> u64 {
    let began = draft.state.steps.get(step).and_then(|state| state.attempt_at);
    let waited = draft.moment.now.since(began.unwrap_or(draft.moment.now));
    u64::try_from(waited.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn read(with: &Json) -> Result<Node, Failure> {
    Node::parse(with).map_err(|broken| fault(&broken.to_string()))
}

/// When as much time is over as a member says, if there is one of that name.
pub(super) fn limit(
    draft: &Draft<'_>,
    node: &Node,
    name: &str,
) -> Result<Option<Timestamp>, Failure> {
    let Some(length) = node.get(name) else { return Ok(None) };
    let length = duration_from_node(length).map_err(|detail| fault(&detail))?;
    Ok(Some(draft.moment.now.plus(length)))
}

pub(super) fn fault(detail: &str) -> Failure {
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
