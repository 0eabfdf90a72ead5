//! The journal's records: one per state change, and the very frames that clients see.
//!
//! An event is encoded once, when it is decided; those bytes are stored, streamed and read back
//! for ever after. Adding a kind: a variant here, its data struct in `facts` or beside it, a line in
//! [`EventBody::kind`] and in the tables of `wire`; the compiler then asks for its `apply` in
//! `machine`.

mod content;
mod facts;
mod interventions;
mod steps;
mod undo;
mod wire;

use std::time::Duration;

use super::{Seq, StepId, Timestamp};

pub use facts::{
    ForkPoint, ForkedFrom, RecoveryCause, RecoveryStrategy, SignalReceived, WorkflowAborted,
    WorkflowComplete, WorkflowFailed, WorkflowForked, WorkflowPaused, WorkflowRecovered,
    WorkflowRef, WorkflowResumed, WorkflowStart,
};
pub use interventions::{
    InterventionEscalated, InterventionKind, InterventionOpened, InterventionResolved,
};
pub use steps::{
    StepComplete, StepEdited, StepFailed, StepRetry, StepSkipped, StepStale, StepStart,
    StepTimeoutWarning, StepWaiting,
};
pub use undo::{
    Compensation, CompensationComplete, CompensationFailed, CompensationStart, NotCompensated,
};

/// A past fact about one thread.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its number within the thread.
    pub seq: Seq,
    /// When it was decided.
    pub at: Timestamp,
    /// What happened.
    pub body: EventBody,
}

/// A fact about one attempt of one step.
#[derive(Debug, Clone, PartialEq)]
pub struct OnStep<T> {
    /// The step.
    pub step: StepId,
    /// The number of the attempt; 0 where none was made.
    pub attempt: u32,
    /// The rest of it.
    pub data: T,
}

impl<T> OnStep<T> {
    #[expect(clippy::unnecessary_wraps, reason = "beside `None` for events of no step")]
    const fn place(&self) -> Option<(&StepId, u32)> {
        Some((&self.step, self.attempt))
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each data struct documents its event")]
pub enum EventBody {
    WorkflowStart(WorkflowStart),
    StepStart(OnStep<StepStart>),
    StepWaiting(OnStep<StepWaiting>),
    StepRetry(OnStep<StepRetry>),
    StepTimeoutWarning(OnStep<StepTimeoutWarning>),
    StepStale(OnStep<StepStale>),
    StepComplete(OnStep<StepComplete>),
    StepFailed(OnStep<StepFailed>),
    StepSkipped(OnStep<StepSkipped>),
    StepEdited(OnStep<StepEdited>),
    CompensationStart(OnStep<CompensationStart>),
    CompensationComplete(OnStep<CompensationComplete>),
    CompensationFailed(OnStep<CompensationFailed>),
    SignalReceived(SignalReceived),
    InterventionOpened(InterventionOpened),
    InterventionEscalated(InterventionEscalated),
    InterventionResolved(InterventionResolved),
    WorkflowPaused(WorkflowPaused),
    WorkflowForked(WorkflowForked),
    WorkflowResumed(WorkflowResumed),
    WorkflowRecovered(WorkflowRecovered),
    WorkflowComplete(WorkflowComplete),
    WorkflowFailed(WorkflowFailed),
    WorkflowAborted(WorkflowAborted),
}

/// A record that cannot be read as an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventFault {
    /// A kind this version does not know: a newer server wrote it, and must read it.
    #[error("event kind {0:?} is not known to this version")]
    UnknownKind(String),
    /// The record is damaged.
    #[error("record cannot be read: {0}")]
    Malformed(String),
}

impl Event {
    /// How long after the thread's `start` this happened.
    pub fn since(&self, start: Timestamp) -> Duration {
        self.at.since(start)
    }
}

impl EventBody {
    /// The event's type as clients see it: also the SSE event name.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::WorkflowStart(_) => "workflow_start",
            Self::StepStart(_) => "step_start",
            Self::StepWaiting(_) => "step_waiting",
            Self::StepRetry(_) => "step_retry",
            Self::StepTimeoutWarning(_) => "step_timeout_warning",
            Self::StepStale(_) => "step_stale",
            Self::StepComplete(_) => "step_complete",
            Self::StepFailed(_) => "step_failed",
            Self::StepSkipped(_) => "step_skipped",
            Self::StepEdited(_) => "step_edited",
            Self::CompensationStart(_) => "compensation_start",
            Self::CompensationComplete(_) => "compensation_complete",
            Self::CompensationFailed(_) => "compensation_failed",
            Self::SignalReceived(_) => "signal_received",
            Self::InterventionOpened(_) => "intervention_opened",
            Self::InterventionEscalated(_) => "intervention_escalated",
            Self::InterventionResolved(_) => "intervention_resolved",
            Self::WorkflowPaused(_) => "workflow_paused",
            Self::WorkflowForked(_) => "workflow_forked",
            Self::WorkflowResumed(_) => "workflow_resumed",
            Self::WorkflowRecovered(_) => "workflow_recovered",
            Self::WorkflowComplete(_) => "workflow_complete",
            Self::WorkflowFailed(_) => "workflow_failed",
            Self::WorkflowAborted(_) => "workflow_aborted",
        }
    }

    /// Whether the thread has ended with this event.
    pub const fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::WorkflowComplete(_) | Self::WorkflowFailed(_) | Self::WorkflowAborted(_)
        )
    }

    /// Whether the thread got on, or a person or a policy decided about it: what it was lost by
    /// before says nothing about it now.
    pub const fn is_progress(&self) -> bool {
        match self {
            Self::StepComplete(_)
            | Self::CompensationComplete(_)
            | Self::WorkflowPaused(_)
            | Self::WorkflowResumed(_) => true,
            Self::CompensationStart(fact) => fact.data.by.is_some(),
            Self::WorkflowStart(_)
            | Self::StepStart(_)
            | Self::StepWaiting(_)
            | Self::StepRetry(_)
            | Self::StepTimeoutWarning(_)
            | Self::StepStale(_)
            | Self::StepFailed(_)
            | Self::StepSkipped(_)
            | Self::StepEdited(_)
            | Self::CompensationFailed(_)
            | Self::SignalReceived(_)
            | Self::InterventionOpened(_)
            | Self::InterventionEscalated(_)
            | Self::InterventionResolved(_)
            | Self::WorkflowForked(_)
            | Self::WorkflowRecovered(_)
            | Self::WorkflowComplete(_)
            | Self::WorkflowFailed(_)
            | Self::WorkflowAborted(_) => false,
        }
    }

    /// The step it is about, if it is about one.
    pub const fn step(&self) -> Option<&StepId> {
        match self {
            Self::StepStart(fact) => Some(&fact.step),
            Self::StepWaiting(fact) => Some(&fact.step),
            Self::StepRetry(fact) => Some(&fact.step),
            Self::StepTimeoutWarning(fact) => Some(&fact.step),
            Self::StepStale(fact) => Some(&fact.step),
            Self::StepComplete(fact) => Some(&fact.step),
            Self::StepFailed(fact) => Some(&fact.step),
            Self::StepSkipped(fact) => Some(&fact.step),
            Self::StepEdited(fact) => Some(&fact.step),
            Self::CompensationStart(fact) => Some(&fact.step),
            Self::CompensationComplete(fact) => Some(&fact.step),
            Self::CompensationFailed(fact) => Some(&fact.step),
            Self::WorkflowStart(_)
            | Self::SignalReceived(_)
            | Self::InterventionOpened(_)
            | Self::InterventionEscalated(_)
            | Self::InterventionResolved(_)
            | Self::WorkflowPaused(_)
            | Self::WorkflowForked(_)
            | Self::WorkflowResumed(_)
            | Self::WorkflowRecovered(_)
            | Self::WorkflowComplete(_)
            | Self::WorkflowFailed(_)
            | Self::WorkflowAborted(_) => None,
        }
    }
}
