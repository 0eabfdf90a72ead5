//! An attempt of a step, and the trait of executors, which perform attempts.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Pulse, Room};
use crate::definition::{Action, Work};
use crate::model::{Failure, Json, StepId, ThreadId};

/// One attempt of one step, ready to be performed. `Debug` leaves `with` out: it holds secrets.
#[derive(Clone)]
pub struct Attempt {
    /// The thread.
    pub thread_id: ThreadId,
    /// The step.
    pub step_id: StepId,
    /// The number of the attempt, from 1; attempts of a compensation are counted by themselves.
    pub number: u32,
    /// The work of the step that it is an attempt at.
    pub work: Work,
    /// The number of times the step was undone and begun again before it.
    pub compensation_epoch: u32,
    /// The action of the step; its executor takes from it what templates cannot hold.
    pub action: Arc<Action>,
    /// The step's `with`, with templates and secrets filled in. It is never journalled and never
    /// logged.
    pub with: Json,
    /// Whether its template names secrets: the request that it describes then stays with the target
    /// it names.
    pub holds_secrets: bool,
    /// W3C trace context of the invoke, if there was one.
    pub traceparent: Option<String>,
    /// The record of the executor's signs of life: every piece of output that arrives is one.
    pub pulse: Pulse,
    /// The memory for what the executor receives.
    pub room: Room,
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt")
            .field("thread_id", &self.thread_id)
            .field("step_id", &self.step_id)
            .field("number", &self.number)
            .field("action", &self.action)
            .finish_non_exhaustive()
    }
}

impl Attempt {
    /// Returns the idempotency key. It is the same for every attempt of this step, and another one
    /// for attempts of its fallback or its compensation, which do something else. A run after the
    /// step was undone is another effect as well: a target that remembers the first one must not
    /// answer from memory. The key begins with the namespace, unless that is `default`: threads of
    /// two namespaces may have one id and call one target.
    pub fn idempotency_key(&self) -> String {
        let round = match self.compensation_epoch {
            0 => String::new(),
            undone => format!("/{}", undone.saturating_add(1)),
        };
        let which = match self.work {
            Work::Own => "",
            Work::Fallback => "/fallback",
            Work::Compensation => "/compensate",
        };
        format!("{}/{}{round}{which}", self.thread_id.as_str(), self.step_id)
    }
}

/// The error of an attempt that ended without an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptError {
    /// The failure to record.
    pub failure: Failure,
    /// The time that the other side asked to wait (`Retry-After`).
    pub retry_after: Option<Duration>,
}

impl From<Failure> for AttemptError {
    fn from(failure: Failure) -> Self {
        Self { failure, retry_after: None }
    }
}

/// Performs attempts of one kind of step.
#[async_trait]
pub trait StepExecutor: Send + Sync + std::fmt::Debug {
    /// Performs one attempt and returns its output.
    async fn execute(&self, attempt: Attempt) -> Result<Json, AttemptError>;

    /// Returns the target of the attempt outside this process: the key of its circuit breaker,
    /// unless the step names one. `None`: it has none, or none that can be read.
    fn target(&self, _attempt: &Attempt) -> Option<String> {
        None
    }

    /// Returns the outcome of an attempt that needs no waiting and little time; `None`: use
    /// [`StepExecutor::execute`]. It saves a task for steps that only compute.
    fn execute_now(&self, _attempt: &Attempt) -> Option<Result<Json, AttemptError>> {
        None
    }
}
