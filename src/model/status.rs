//! The states a thread and a step can be in, by the names clients see.

use super::named::named;

named!(
    /// Where a thread stands.
    ThreadStatus {
        /// Accepted; no step has started.
        Queued = "queued",
        /// Steps run, wait or are about to.
        Running = "running",
        /// Stopped by a person or a policy until resumed.
        Paused = "paused",
        /// Undoing completed steps.
        Compensating = "compensating",
        /// Every step ended well.
        Completed = "completed",
        /// A step used up its attempts.
        Failed = "failed",
        /// Stopped for good by a person.
        Aborted = "aborted",
    }
);

named!(
    /// Where a step stands.
    StepStatus {
        /// Its dependencies have not ended yet.
        Pending = "pending",
        /// An attempt is under way.
        Running = "running",
        /// Waits for its next attempt.
        Retrying = "retrying",
        /// Waits for time, a signal, a person or a worker.
        Waiting = "waiting",
        /// Ended with an output.
        Completed = "completed",
        /// Used up its attempts.
        Failed = "failed",
        /// Not run: its condition was false, or all it depends on was skipped.
        Skipped = "skipped",
        /// Completed, and undone since.
        Compensated = "compensated",
    }
);

impl ThreadStatus {
    /// Whether the thread has ended (until somebody resumes it).
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Aborted)
    }
}

impl StepStatus {
    /// Whether the step has ended (until the thread is resumed).
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Skipped | Self::Compensated)
    }
}
