//! Requests of people and clients to a thread. The same type is stored as a message in the thread's
//! inbox, where it names steps by their ids, and is decided by the machine, where it names them by
//! their places in the plan.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rejection::Rejection;
use crate::definition::{Plan, StepIx};
use crate::model::{Json, Role, StepId};

/// A request of a person or a client to a thread, which names steps by `S`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request<S = StepIx> {
    /// Let running attempts end, and start nothing more.
    Pause,
    /// Continue a failed, aborted or paused thread.
    Resume(Resume<S>),
    /// Stop the thread for good.
    Abort(Abort),
    /// Start the next attempt of a step now.
    Retry {
        /// The step.
        step: S,
    },
    /// Skip a step.
    Skip {
        /// The step.
        step: S,
        /// The output that dependent steps see; `null` if absent.
        output: Option<Json>,
    },
    /// Replace the output of a completed step, while the thread is paused.
    Edit {
        /// The step.
        step: S,
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume<S = StepIx> {
    /// The step to run again, with all steps after it.
    pub from_step: Option<S>,
    /// The steps to skip.
    pub skip: Vec<S>,
    /// The new input, for steps that still have to run.
    pub input: Option<Json>,
}

impl<S> Default for Resume<S> {
    fn default() -> Self {
        Self { from_step: None, skip: Vec::new(), input: None }
    }
}

/// The options of an abort.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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

impl<S> Request<S> {
    /// Returns the request's name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume(_) => "resume",
            Self::Abort(_) => "abort",
            Self::Retry { .. } => "retry",
            Self::Skip { .. } => "skip",
            Self::Edit { .. } => "edit",
            Self::Signal { .. } => "signal",
            Self::Resolve { .. } => "resolve",
        }
    }

    /// Returns the request as a participle, for sentences about a refusal.
    pub const fn participle(&self) -> &'static str {
        match self {
            Self::Pause => "paused",
            Self::Resume(_) => "resumed",
            Self::Abort(Abort { compensate: true, .. }) => "compensated",
            Self::Abort(_) => "aborted",
            Self::Retry { .. } => "retried",
            Self::Skip { .. } => "skipped",
            Self::Edit { .. } => "edited",
            Self::Signal { .. } => "signalled",
            Self::Resolve { .. } => "resolved",
        }
    }
}

impl Request<StepId> {
    /// Finds the steps of the request in a plan; refuses a request that names another.
    pub fn placed(self, plan: &Plan) -> Result<Request, Rejection> {
        let place = |step: StepId| plan.find(step.as_str()).ok_or(Rejection::NoStep(step));
        Ok(match self {
            Self::Pause => Request::Pause,
            Self::Resume(Resume { from_step, skip, input }) => Request::Resume(Resume {
                from_step: from_step.map(place).transpose()?,
                skip: skip.into_iter().map(place).collect::<Result<_, _>>()?,
                input,
            }),
            Self::Abort(how) => Request::Abort(how),
            Self::Retry { step } => Request::Retry { step: place(step)? },
            Self::Skip { step, output } => Request::Skip { step: place(step)?, output },
            Self::Edit { step, output } => Request::Edit { step: place(step)?, output },
            Self::Signal { name, payload } => Request::Signal { name, payload },
            Self::Resolve { id, choice, digest } => Request::Resolve { id, choice, digest },
        })
    }
}
