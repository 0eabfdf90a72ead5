//! What the machine can be asked to do, and why it may refuse.

use std::time::Duration;

use crate::model::{
    Failure, Incarnation, Json, RecoveryCause, RecoveryStrategy, ThreadStatus, Timestamp,
};

/// A request to the machine. Steps are named by their position in the plan.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Time has passed, or the thread has just been claimed: do what is due.
    Advance,
    /// The thread was taken over; attempts that were under way are lost and made again.
    Recover(Takeover),
    /// As [`Self::Recover`], but nothing is started: the thread was lost with its replica so often
    /// that it may be what kills them. It is paused, and a person is asked.
    Quarantine {
        /// The takeover.
        takeover: Takeover,
        /// How often it was lost since its last completed step.
        losses: u32,
    },
    /// An attempt ended with an output.
    Complete {
        /// The step.
        step: usize,
        /// The number of the attempt.
        attempt: u32,
        /// The output.
        output: Json,
        /// The agent session it ran in.
        session_id: Option<String>,
    },
    /// An attempt failed.
    Fail {
        /// The step.
        step: usize,
        /// The number of the attempt.
        attempt: u32,
        /// Why.
        failure: Failure,
        /// How long the other side asked to wait.
        retry_after: Option<Duration>,
    },
    /// An attempt has run for longer than the step's `warnAfter`.
    Warn {
        /// The step.
        step: usize,
        /// The number of the attempt.
        attempt: u32,
    },
    /// Continue an ended or paused thread.
    Resume {
        /// Who asks.
        by: String,
        /// Why.
        reason: Option<String>,
    },
    /// Stop the thread for good.
    Abort {
        /// Who asks.
        by: String,
        /// Why.
        reason: Option<String>,
    },
}

/// A thread changes hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Takeover {
    /// Why.
    pub cause: RecoveryCause,
    /// How it was rebuilt.
    pub strategy: RecoveryStrategy,
    /// Who drove it before.
    pub previous_owner: Incarnation,
}

impl Command {
    /// Whether deciding it uses [`Moment::unit`].
    pub const fn draws(&self) -> bool {
        matches!(self, Self::Fail { .. })
    }
}

/// What a decision may depend on besides the state and the command.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// The time.
    pub now: Timestamp,
    /// A random number in `[0, 1)`, for jitter.
    pub unit: f64,
    /// Largest output of a thread, in bytes (`RETHREAD_MAX_EVENT`).
    pub max_event: usize,
    /// Whether steps may start: not while the server shuts down.
    pub may_start: bool,
}

/// Why a command was refused. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// A result of an attempt that is not the current one: a duplicate, or too late.
    #[error("the attempt is not current any more")]
    Stale,
    /// The thread's status does not allow it.
    #[error("the thread is {}", .0.as_str())]
    WrongState(ThreadStatus),
}
