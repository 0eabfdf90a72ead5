//! Lets a test make any task of the roster panic.

use std::sync::Mutex;
use std::task::{Context, Waker};

use crate::model::lock;

/// Whether a task is to panic.
#[derive(Debug, Default)]
pub(super) struct Sabotage(Mutex<(bool, Option<Waker>)>);

impl Sabotage {
    /// Panics if that was told; to be called at each poll of the task.
    pub(super) fn polled(&self, context: &Context<'_>) {
        let mut state = lock(&self.0);
        assert!(!state.0, "a test told this task to panic");
        state.1 = Some(context.waker().clone());
    }

    /// Makes the task panic at its next poll, which is now.
    pub(super) fn tell(&self) {
        let mut state = lock(&self.0);
        state.0 = true;
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    }
}
