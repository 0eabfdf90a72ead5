//! Builds causes.

use serde_json::Value;

use crate::contract::{Advice, Cause, CauseKind};
use crate::model::{StepId, Timestamp};

impl Cause {
    /// Makes a cause that does not end by itself and that no operation ends, unless the methods below
    /// say more.
    pub(super) fn new(kind: CauseKind, sentence: String, ends_with: &str) -> Self {
        Self {
            kind,
            step_id: None,
            sentence,
            since: None,
            until: None,
            by_itself: false,
            ends_with: ends_with.to_owned(),
            advice: None,
            detail: Value::Object(serde_json::Map::new()),
        }
    }

    pub(super) fn about(self, step: &StepId) -> Self {
        Self { step_id: Some(step.clone()), ..self }
    }

    pub(super) fn since(self, since: Option<Timestamp>) -> Self {
        Self { since, ..self }
    }

    /// Sets that the cause ends by itself, at this time if one is given.
    pub(super) fn by_itself(self, until: Option<Timestamp>) -> Self {
        Self { by_itself: true, until, ..self }
    }

    pub(super) fn advice(self, advice: Option<Advice>) -> Self {
        Self { advice, ..self }
    }

    pub(super) fn detail(self, detail: Value) -> Self {
        Self { detail, ..self }
    }
}
