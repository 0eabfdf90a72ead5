//! The operation that would end a cause.

use serde_json::Value;

use crate::model::StepId;

/// A request that works when it is made as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// The operation.
    pub operation: Operation,
    /// What it does, in words.
    pub does: String,
}

/// An operation on the thread that is explained. Where an argument is a person's to choose, it is an
/// example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Resumes it.
    Resume,
    /// Aborts it; `compensate` is left out where the server's default is meant.
    Abort {
        /// Whether its completed steps are undone.
        compensate: Option<bool>,
    },
    /// Makes the next attempt of a step now.
    Retry {
        /// The step.
        step: StepId,
    },
    /// Goes on without a step.
    Skip {
        /// The step.
        step: StepId,
        /// The output that it gets, if not `null`.
        output: Option<Value>,
    },
    /// Sends it a signal, with any payload.
    Signal {
        /// The signal's name.
        name: String,
    },
    /// Decides one of its interventions.
    Resolve {
        /// The intervention.
        id: String,
        /// The choice.
        choice: String,
        /// The digest that binds the decision to the question that was seen.
        digest: Option<String>,
    },
}

impl Advice {
    pub(super) fn new(operation: Operation, does: impl Into<String>) -> Self {
        Self { operation, does: does.into() }
    }
}
