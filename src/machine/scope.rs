//! A thread's data with one step shown in another status than its state has.

use super::ThreadState;
use crate::definition::{Scope, StepView};
use crate::model::{Failure, Json, StepStatus, ThreadId};

/// The data of a thread as if one of its steps had this status.
pub(super) struct AsIf<'a> {
    pub(super) state: &'a ThreadState,
    /// The id of the step.
    pub(super) id: &'a str,
    pub(super) status: StepStatus,
    /// The failure of the step; `None` if it is the last one in the state.
    pub(super) error: Option<&'a Failure>,
}

impl Scope for AsIf<'_> {
    fn thread_id(&self) -> &ThreadId {
        &self.state.thread_id
    }

    fn input(&self) -> &Json {
        &self.state.input
    }

    fn step(&self, id: &str) -> Option<StepView<'_>> {
        let view = Scope::step(self.state, id)?;
        let changed = StepView { status: self.status, error: self.error.or(view.error), ..view };
        Some(if id == self.id { changed } else { view })
    }

    fn step_ids(&self) -> Vec<&str> {
        self.state.step_ids()
    }

    fn secret(&self, _name: &str) -> Option<&str> {
        None
    }
}
