//! A driver's decisions that are not yet appended, and the form in which the store keeps them.

use crate::machine::{Decided, Effect, ThreadState};
use crate::model::{Event, EventBody, Json, Node, ThreadId};
use crate::store::{FORK_LABEL, Records, Side, Summary};

/// Decided events and taken messages that are not yet durable.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Commit {
    pub(in crate::runtime) events: Vec<Event>,
    /// The bytes of the outputs and the questions in the events.
    pub(in crate::runtime) output_bytes: usize,
    /// To be carried out once the events are durable.
    pub(in crate::runtime) effects: Vec<Effect>,
    /// Changes beside the events that go with them.
    pub(in crate::runtime) sides: Vec<Side>,
}

impl Commit {
    pub(in crate::runtime) fn add(&mut self, decided: Decided) {
        let authored = decided.events.iter().map(|event| authored(&event.body));
        self.output_bytes = authored.fold(self.output_bytes, usize::saturating_add);
        self.events.extend(decided.events);
        self.effects.extend(decided.effects);
    }

    /// Takes a message with this append, and answers it.
    pub(in crate::runtime) fn answer(&mut self, key: String, answer: Json) {
        self.sides.push(Side::Take { key, answer });
    }

    /// Returns whether a message is taken with this append.
    pub(in crate::runtime) fn takes(&self, key: &str) -> bool {
        self.sides.iter().any(|side| matches!(side, Side::Take { key: taken, .. } if taken == key))
    }

    pub(in crate::runtime) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.sides.is_empty()
    }
}

/// Returns the bytes of an event that authors or targets of steps choose.
fn authored(body: &EventBody) -> usize {
    if let EventBody::StepComplete(fact) = body {
        return fact.data.output.as_str().len();
    }
    if let EventBody::StepWaiting(fact) = body {
        return fact.data.output.as_ref().map_or(0, |output| output.as_str().len());
    }
    if let EventBody::InterventionOpened(opened) = body { opened.prompt.len() } else { 0 }
}

/// Encodes the events as one record; `None` if there are none.
pub(in crate::runtime) fn records(thread: &ThreadId, events: &[Event]) -> Option<Records> {
    let first = events.first()?;
    Some(Records {
        first: first.seq,
        events: events.iter().map(|event| event.encode(thread)).collect(),
        at: events.last().unwrap_or(first).at,
    })
}

/// Returns what lists show of a state.
pub(in crate::runtime) fn summary(state: &ThreadState) -> Summary {
    let (completed, total) = state.progress();
    Summary {
        status: state.status,
        completed: u32::try_from(completed).unwrap_or(u32::MAX),
        total: u32::try_from(total).unwrap_or(u32::MAX),
        current_steps: state.current_steps(),
        stale_steps: state.stale_steps(),
        recoveries: state.recoveries,
        error_code: state.error.as_ref().map(|failure| failure.code.clone()),
        completed_at: state.completed_at,
        forked_from: state.forked_from.clone(),
    }
}

/// Returns the scalar members of the metadata as text, which `?metadata.KEY=` is compared with.
pub(in crate::runtime) fn labels(metadata: &Json) -> Vec<(String, String)> {
    let Ok(Node::Object(members)) = Node::parse(metadata) else { return Vec::new() };
    let scalar = |value: Node| match value {
        Node::String(text) | Node::Number(text) => Some(text),
        Node::Bool(value) => Some(value.to_string()),
        Node::Null | Node::Array(_) | Node::Object(_) => None,
    };
    let named = members.into_iter().filter(|(key, _)| key != FORK_LABEL);
    named.filter_map(|(key, value)| Some((key, scalar(value)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::tests::theatre::Stage;

    #[test]
    fn outputs_and_questions_count_in_a_commit() {
        let with = serde_json::json!({ "prompt": "x".repeat(500) });
        let step = serde_json::json!({ "id": "a", "kind": "approval", "with": with });
        let mut stage = Stage::new(serde_json::json!([step]));
        stage.advance();
        let mut commit = Commit::default();
        commit.add(Decided { events: stage.journal, ..Decided::default() });
        assert_eq!(commit.output_bytes, 500);
    }
}
