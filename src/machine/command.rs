//! What the machine can be asked to do, and why it may refuse.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::definition::{StepIx, Work};
use crate::model::{
    Failure, Incarnation, Json, RecoveryCause, RecoveryStrategy, Role, StepId, StepStatus,
    ThreadStatus, Timeouts, Timestamp,
};

/// A request to the machine.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Time has passed, or the thread has just been claimed: do what is due.
    Advance,
    /// The thread was taken over; attempts that were under way are lost and made again.
    Recover(Takeover),
    /// As [`Self::Recover`], but nothing is started: the thread was lost with its replica so often
    /// that it may be what kills them. It is paused, and a person is asked; what is paused stays so.
    Quarantine {
        /// The takeover.
        takeover: Takeover,
        /// How often it was lost since its last completed step.
        losses: u32,
    },
    /// As [`Self::Quarantine`], but it is known: the thread kept a worker of its server from going on
    /// for so long that the process was ended. It is paused whatever it was at.
    Condemn {
        /// The takeover, unless it is driven still.
        takeover: Option<Takeover>,
        /// How long it did so.
        stood: Duration,
    },
    /// An attempt of a step, or of its compensation, has ended or is worth a warning.
    Attempt {
        /// Which.
        attempt: AttemptId,
        /// What became of it.
        report: Report,
    },
    /// What a person or a client asks.
    Ask(Ask, Who),
}

/// Names an attempt within its thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// The step.
    pub step: StepIx,
    /// Which of the step's works it is at.
    pub work: Work,
    /// Its number, from 1. A step and its fallback are numbered together, a compensation by itself.
    pub number: u32,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// It ended well. What a compensation gives is not kept.
    Done {
        /// The output.
        output: Json,
        /// The agent session it ran in.
        session_id: Option<String>,
    },
    /// It failed.
    Failed {
        /// Why.
        failure: Failure,
        /// How long the other side asked to wait.
        retry_after: Option<Duration>,
    },
    /// It has run for longer than its `warnAfter`.
    Slow,
    /// It has shown no sign of life for long.
    Stale {
        /// For how long.
        silent: Duration,
    },
}

/// What people and clients can ask of a thread.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// Let what runs end, and start nothing more.
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
    /// Do without a step.
    Skip {
        /// The step.
        step: StepIx,
        /// What those that depend on it see; `null` if absent.
        output: Option<Json>,
    },
    /// Put another output in the place of a completed step's, while the thread is paused.
    Edit {
        /// The step.
        step: StepIx,
        /// The output from now on.
        output: Json,
    },
    /// Take a payload that somebody sends.
    Signal {
        /// The signal's name.
        name: String,
        /// What is sent with it.
        payload: Json,
    },
    /// Decide an intervention.
    Resolve {
        /// Which.
        id: String,
        /// The decision, one of those that it offers.
        choice: String,
        /// The digest of what was seen; `None` if that was not said.
        digest: Option<String>,
    },
}

/// How a thread is to be continued.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resume {
    /// Run this step and all that comes after it again.
    pub from_step: Option<StepIx>,
    /// Do without these steps.
    pub skip: Vec<StepIx>,
    /// The input of whatever still has to run.
    pub input: Option<Json>,
}

/// How a thread is to be aborted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Abort {
    /// How long attempts under way may still take to end by themselves.
    pub grace: Duration,
    /// Whether what it has done is undone; of a thread that has ended, what is left of it.
    pub compensate: bool,
}

/// Who asks, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Who {
    /// An API key's name; where nobody needs one, whoever was said to ask, or `anonymous`.
    pub by: String,
    /// What was said about it.
    pub reason: Option<String>,
    /// For whom, as it was said.
    pub on_behalf_of: Option<String>,
    /// What the key may do; `None` where nobody needs one, so that no name is proven.
    pub role: Option<Role>,
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

/// What a decision may depend on besides the state and the command.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// The time.
    pub now: Timestamp,
    /// A random number in `[0, 1)`, for jitter.
    pub unit: f64,
    /// Largest output of a thread, in bytes (`RETHREAD_MAX_EVENT`).
    pub max_event: usize,
    /// Whether anything may start by itself: not while the server shuts down. What a person asks for
    /// then, another try or the undoing of a thread, is begun all the same, for that is its record.
    pub may_start: bool,
    /// What bounds work on this server.
    pub timeouts: Timeouts,
}

/// Why a command was refused. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// A result of an attempt that is not the current one: a duplicate, or too late.
    #[error("the attempt is not current any more")]
    Stale,
    /// The thread's status does not allow it.
    #[error("the thread is {}", .0.as_str())]
    WrongState(ThreadStatus),
    /// The step's status does not allow it.
    #[error("step {0} is {status}", status = .1.as_str())]
    WrongStep(StepId, StepStatus),
    /// There is no such intervention of this thread.
    #[error("there is no such intervention")]
    NoIntervention,
    /// Somebody has decided it already.
    #[error("it was decided already: {choice} by {by}")]
    Resolved {
        /// What was decided.
        choice: String,
        /// Who did.
        by: String,
    },
    /// The thread has completed no step that is still to be undone.
    #[error("there is nothing to compensate")]
    NothingToCompensate,
    /// The thread was paused while it was being undone.
    #[error("the thread was paused while its steps were being undone")]
    Undoing,
    /// The intervention is about something else than what was seen.
    #[error("it is about something else: its digest is {}", .0.as_deref().unwrap_or("none"))]
    OtherDigest(Option<String>),
    /// It has as many signals as it may that nobody has taken.
    #[error("too many signals wait to be taken")]
    TooManySignals,
    /// The intervention does not offer this choice.
    #[error("it offers {}", .0.join(", "))]
    NoSuchChoice(Vec<String>),
    /// It would answer an approval that somebody else has to answer.
    #[error("{0}")]
    NotAnApprover(String),
}

#[cfg(test)]
impl AttemptId {
    /// An attempt at a step's own work.
    pub fn own(step: impl Into<StepIx>, number: u32) -> Self {
        Self { step: step.into(), work: Work::Own, number }
    }

    /// An attempt at a step's compensation.
    pub fn undo(step: impl Into<StepIx>, number: u32) -> Self {
        Self { step: step.into(), work: Work::Compensation, number }
    }
}
