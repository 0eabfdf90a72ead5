//! Commands to the machine.

use std::time::Duration;

use super::request::{Actor, Request};
use crate::definition::{StepIx, Work};
use crate::model::{
    Failure, Incarnation, Json, RecoveryCause, RecoveryStrategy, Timeouts, Timestamp,
};

/// A command to the machine.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Do the work that is due: time has passed, or the thread has just been claimed.
    Advance,
    /// The thread was taken over; attempts that were under way are lost and made again.
    Recover(Takeover),
    /// As [`Self::Recover`], but nothing is started: the thread was lost with its replica so often
    /// that it may be the cause. It is paused, and a person is asked; a paused thread stays paused.
    Quarantine {
        /// The takeover.
        takeover: Takeover,
        /// The number of losses since its last completed step.
        losses: u32,
    },
    /// As [`Self::Quarantine`], but the cause is known: the thread kept a worker of its server from
    /// going on for so long that the process was ended. It is paused whatever it was doing.
    Condemn {
        /// The takeover; `None` if the thread is still driven.
        takeover: Option<Takeover>,
        /// The time for which the worker did not go on.
        stood: Duration,
    },
    /// An attempt of a step, or of its compensation, has ended or is worth a warning.
    Attempt {
        /// The attempt.
        attempt: AttemptId,
        /// The report about it.
        report: Report,
    },
    /// A request of a person or a client.
    Request(Request, Actor),
}

/// Names an attempt within its thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// The step.
    pub step: StepIx,
    /// The work of the step that it is an attempt at.
    pub work: Work,
    /// Its number, from 1. A step and its fallback are numbered together, a compensation by itself.
    pub number: u32,
}

/// An action that a decision asks for. It is carried out once the events of the decision are
/// durable, after the effects before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Run an attempt, unless it has ended by then.
    Run(AttemptId),
    /// Cancel an attempt that was given up.
    Cancel(AttemptId),
    /// Cancel every attempt under way.
    CancelAll,
}

/// A report about an attempt: its result, or a warning.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// The attempt succeeded. The output of a compensation is not kept.
    Done {
        /// The output.
        output: Json,
        /// The agent session it ran in.
        session_id: Option<String>,
    },
    /// The attempt failed.
    Failed {
        /// The failure.
        failure: Failure,
        /// The time that the other side asked to wait.
        retry_after: Option<Duration>,
    },
    /// The attempt has run for longer than its `warnAfter`.
    Slow,
    /// The attempt has shown no sign of life for long.
    Stale {
        /// The time since its last sign of life.
        silent: Duration,
    },
}

/// The takeover of a thread by another incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Takeover {
    /// The cause.
    pub cause: RecoveryCause,
    /// The way in which the thread was rebuilt.
    pub strategy: RecoveryStrategy,
    /// The incarnation that drove it before.
    pub previous_owner: Incarnation,
}

/// The inputs of a decision besides the state and the command.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DecisionContext {
    /// The time.
    pub now: Timestamp,
    /// A random number in `[0, 1)`, for jitter.
    pub unit: f64,
    /// The largest output of a thread, in bytes (`RETHREAD_MAX_EVENT`).
    pub max_event: usize,
    /// The most bytes that a thread may take in memory, a part of `RETHREAD_MEMORY_LIMIT`.
    pub max_thread: usize,
    /// Whether anything may start by itself: not while the server shuts down. Another attempt or a
    /// compensation that a person asks for is begun all the same: its start is the record of the
    /// request.
    pub may_start: bool,
    /// The timeouts of work on this server.
    pub timeouts: Timeouts,
}

#[cfg(test)]
impl AttemptId {
    /// Names an attempt at a step's own work.
    pub fn own(step: impl Into<StepIx>, number: u32) -> Self {
        Self { step: step.into(), work: Work::Own, number }
    }

    /// Names an attempt at a step's compensation.
    pub fn undo(step: impl Into<StepIx>, number: u32) -> Self {
        Self { step: step.into(), work: Work::Compensation, number }
    }
}
