//! A thread that is looked at, and what can be said of it whatever it waits for.

use super::Facts;
use crate::machine::ThreadState;
use crate::model::ThreadStatus;

/// A thread, and all that is known about why it stands where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) state: &'a ThreadState,
    pub(super) facts: &'a Facts,
}

impl Case<'_> {
    /// Whether the machine has something to do at once, without waiting for anything: steps whose
    /// dependencies have ended, or timers that are due.
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
