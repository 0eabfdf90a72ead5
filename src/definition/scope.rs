//! What templates, conditions and filters can see of a thread.

use crate::model::{Failure, Json, StepStatus, ThreadId};

/// A step as other steps see it.
#[derive(Debug, Clone, Copy)]
pub struct StepView<'a> {
    /// Where it stands.
    pub status: StepStatus,
    /// Its output, once completed; absent for a skipped or failed one (which reads as `null`).
    pub output: Option<&'a Json>,
    /// Its last failure.
    pub error: Option<&'a Failure>,
    /// The agent session it ran in.
    pub session_id: Option<&'a str>,
}

/// A thread's data, as templates, conditions and filters read it.
pub trait Scope {
    /// `thread.id`
    fn thread_id(&self) -> &ThreadId;
    /// `input`
    fn input(&self) -> &Json;
    /// The step of that id; `None` if the plan has none.
    fn step(&self, id: &str) -> Option<StepView<'_>>;
    /// The ids of all steps, in the order of the plan.
    fn step_ids(&self) -> Vec<&str>;
    /// `secrets.NAME`; `None` wherever secrets are not put in.
    fn secret(&self, name: &str) -> Option<&str>;
}
