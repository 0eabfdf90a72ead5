//! Commands to the machine, and the reasons for which it refuses them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::definition::{StepIx, Work};
use crate::model::{
    Failure, Incarnation, Json, RecoveryCause, RecoveryStrategy, Role, StepId, StepStatus,
    ThreadStatus, Timeouts, Timestamp,
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

/// A request of a person or a client to a thread.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Let running attempts end, and start nothing more.
    Pause,
    /// Continue a failed, aborted or paused thread.
    Resume(Resume),
    /// Stop the thread for good.
    Abort(Abort),
    /// Start the next attempt of a step now.
    Retry {
        /// The step.
        step: StepIx,
    },
    /// Skip a step.
    Skip {
        /// The step.
        step: StepIx,
        /// The output that dependent steps see; `null` if absent.
        output: Option<Json>,
    },
    /// Replace the output of a completed step, while the thread is paused.
    Edit {
        /// The step.
        step: StepIx,
        /// The output from now on.
        output: Json,
    },
    /// Receive a signal that somebody sends.
    Signal {
        /// The signal's name.
        name: String,
        /// Its payload.
        payload: Json,
    },
    /// Decide an intervention.
    Resolve {
        /// The id of the intervention.
        id: String,
        /// The decision, one of those that it offers.
        choice: String,
        /// The digest of the question that was seen; `None` if the request does not say.
        digest: Option<String>,
    },
}

/// The options of a resume.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resume {
    /// The step to run again, with all steps after it.
    pub from_step: Option<StepIx>,
    /// The steps to skip.
    pub skip: Vec<StepIx>,
    /// The new input, for steps that still have to run.
    pub input: Option<Json>,
}

/// The options of an abort.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Abort {
    /// The time that attempts under way have to end by themselves.
    pub grace: Duration,
    /// Whether completed steps are undone; of a thread that has ended, those that are left.
    pub compensate: bool,
}

/// The actor of a request, and the reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Actor {
    /// The name of the API key; on a server without keys, the name that the request gives, or
    /// `anonymous`.
    pub by: String,
    /// The reason, as the request gives it.
    pub reason: Option<String>,
    /// The person on whose behalf it is asked, as the request says.
    pub on_behalf_of: Option<String>,
    /// The role of the key; `None` on a server without keys, where no name is proven.
    pub role: Option<Role>,
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

/// The reason for which a command was refused. A refused command changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The attempt of a report is not the current one: the report is a duplicate, or too late.
    #[error("the attempt is not current any more")]
    Stale,
    /// The thread's status does not allow it.
    #[error("the thread is {}", .0.as_str())]
    WrongState(ThreadStatus),
    /// The step's status does not allow it.
    #[error("step {0} is {status}", status = .1.as_str())]
    WrongStep(StepId, StepStatus),
    /// The thread has no such intervention.
    #[error("there is no such intervention")]
    NoIntervention,
    /// The intervention was decided already.
    #[error("it was decided already: {choice} by {by}")]
    Resolved {
        /// The choice.
        choice: String,
        /// The name of the actor who made it.
        by: String,
    },
    /// The thread has completed no step that is still to be undone.
    #[error("there is nothing to compensate")]
    NothingToCompensate,
    /// The thread was paused while it was being undone.
    #[error("the thread was paused while its steps were being undone")]
    Compensating,
    /// The intervention's digest is not that of the question that was seen.
    #[error("it is about something else: its digest is {}", .0.as_deref().unwrap_or("none"))]
    OtherDigest(Option<String>),
    /// The thread has as many untaken signals as it may.
    #[error("too many signals wait to be taken")]
    TooManySignals,
    /// The intervention does not offer this choice.
    #[error("it offers {}", .0.join(", "))]
    NoSuchChoice(Vec<String>),
    /// The request would answer an approval that somebody else has to answer.
    #[error("{0}")]
    NotAnApprover(String),
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
