//! The thread that is explained, and facts that hold whatever it waits for.

use super::Facts;
use crate::machine::ThreadState;
use crate::model::ThreadStatus;

/// A thread and all that is known about its situation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) state: &'a ThreadState,
    pub(super) facts: &'a Facts,
}

impl Case<'_> {
    /// Returns whether the machine has something to do at once, without waiting for anything: steps
    /// whose dependencies have ended.
    pub(super) fn is_ready(&self) -> bool {
        let state = self.state;
        if !matches!(state.status, ThreadStatus::Queued | ThreadStatus::Running)
            || state.is_failing()
        {
            return false;
        }
        !state.next_steps().is_empty()
    }
}
