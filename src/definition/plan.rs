//! A checked workflow.

use std::sync::Arc;
use std::time::Duration;

use super::{Condition, Filter, InputSchema, Template};
use crate::model::{RetryPolicy, StepId};

/// What a step does, as far as it is known before its templates are filled in.
#[derive(Debug)]
pub enum Action {
    /// An HTTP request.
    Http,
    /// A program. Its name is literal: never from a template.
    Exec {
        /// The program's name, as the allow-list has it.
        program: String,
    },
    /// A jq filter over the step's `with` (its `from`, or the whole scope).
    Transform {
        /// The compiled filter.
        filter: Filter,
    },
    /// A wait.
    Sleep,
}

impl Action {
    /// The name of the kind, as workflows write it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Exec { .. } => "exec",
            Self::Transform { .. } => "transform",
            Self::Sleep => "sleep",
        }
    }
}

/// A checked step.
#[derive(Debug)]
pub struct PlanStep {
    /// Its id.
    pub id: StepId,
    /// What it does.
    pub action: Arc<Action>,
    /// Its `with`; for a `transform` the value its filter reads.
    pub with: Template,
    /// Positions in [`Plan::steps`] of the steps it depends on.
    pub depends_on: Vec<usize>,
    /// Positions of the steps that depend on it.
    pub dependents: Vec<usize>,
    /// Its `when`.
    pub when: Option<Condition>,
    /// Its retry policy, defaults filled in.
    pub retry: RetryPolicy,
    /// Bound of one attempt, if any.
    pub timeout: Option<Duration>,
    /// After how long an attempt is worth a warning.
    pub warn_after: Option<Duration>,
    /// Whether the thread goes on when this step has used its attempts.
    pub continue_on_error: bool,
}

/// A checked workflow: what a thread executes.
#[derive(Debug)]
pub struct Plan {
    /// The workflow's name.
    pub name: String,
    /// SHA-256 of its text, in hex.
    pub hash: String,
    /// Its text: compact JSON as it came.
    pub text: String,
    /// Its steps, in the order they were written.
    pub steps: Vec<PlanStep>,
    /// Schema of the input.
    pub input_schema: Option<InputSchema>,
    /// Template of the output; absent: the outputs of the steps nothing depends on, by id.
    pub output: Option<Template>,
}

impl Plan {
    /// The position of the step of that id.
    pub fn position(&self, id: &str) -> Option<usize> {
        self.steps.iter().position(|step| step.id.as_str() == id)
    }
}
