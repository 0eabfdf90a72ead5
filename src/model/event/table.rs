//! The one table of events: whatever differs by an event's kind alone stands in its row.

use super::wire::{Frame, Head};
use super::{
    CompensationComplete, CompensationFailed, CompensationStart, EventFault, InterventionEscalated,
    InterventionOpened, InterventionResolved, OnStep, SignalReceived, StepComplete, StepEdited,
    StepFailed, StepRetry, StepSkipped, StepStale, StepStart, StepTimeoutWarning, StepWaiting,
    WorkflowAborted, WorkflowComplete, WorkflowFailed, WorkflowForked, WorkflowPaused,
    WorkflowRecovered, WorkflowResumed, WorkflowStart,
};
use crate::model::{StepId, StepStatus, ThreadStatus};

/// A kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventType {
    /// Its name as clients see it: the frame's `type`, and the SSE event name.
    pub name: &'static str,
    /// Whether a thread can go on from it: something was completed, decided or ended.
    pub checkpoint: bool,
    /// Whether it clears the thread of its losses; see [`EventBody::is_progress`].
    progress: bool,
    /// Whether it records a failure.
    pub failure: bool,
    /// The status of its step from then on, if it changes that.
    pub step: Option<StepStatus>,
    /// The status of the thread from then on, if the kind alone says it.
    pub thread: Option<ThreadStatus>,
}

impl EventType {
    /// The kind of that name.
    pub fn find(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|one| one.name == name)
    }

    /// Whether the thread has ended with it.
    pub const fn is_terminal(&self) -> bool {
        matches!(self.thread, Some(status) if status.is_terminal())
    }

    const fn new(name: &'static str) -> Self {
        Self { name, checkpoint: false, progress: false, failure: false, step: None, thread: None }
    }

    const fn checkpoint(self) -> Self {
        Self { checkpoint: true, ..self }
    }

    const fn progress(self) -> Self {
        Self { progress: true, ..self }
    }

    const fn failure(self) -> Self {
        Self { failure: true, ..self }
    }

    const fn step(self, status: StepStatus) -> Self {
        Self { step: Some(status), ..self }
    }

    const fn thread(self, status: ThreadStatus) -> Self {
        Self { thread: Some(status), ..self }
    }
}

/// The data of an event about a thread, or about one attempt of a step.
macro_rules! fact {
    (thread $data:ident) => { $data };
    (step $data:ident) => { OnStep<$data> };
}

/// The step and the attempt that a fact is about, and its data.
macro_rules! parts {
    (thread $fact:ident) => {
        (None, $fact)
    };
    (step $fact:ident) => {
        (Some((&$fact.step, $fact.attempt)), &$fact.data)
    };
}

/// Reads a fact from a frame.
macro_rules! read {
    (thread $frame:ident) => {
        $frame.data()
    };
    (step $frame:ident) => {
        $frame.on_step()
    };
}

macro_rules! events {
    ($($scope:ident $event:ident = $name:literal: $($fact:ident $(($status:expr))?),*;)+) => {
        /// The fact that an event records.
        #[derive(Debug, Clone, PartialEq)]
        #[expect(missing_docs, reason = "each data struct documents its event")]
        pub enum EventBody { $($event(fact!($scope $event))),+ }

        impl EventType {
            /// Every kind that this version writes.
            pub const ALL: &'static [Self] = &[$(Self::new($name)$(.$fact($($status)?))*),+];
        }

        impl EventBody {
            /// Its kind.
            pub const fn event_type(&self) -> &'static EventType {
                match self {
                    $(Self::$event(_) => {
                        const { &EventType::new($name)$(.$fact($($status)?))* }
                    })+
                }
            }

            /// The step it is about, if it is about one.
            pub fn step(&self) -> Option<&StepId> {
                let place: Option<(&StepId, u32)> = match self {
                    $(Self::$event(fact) => parts!($scope fact).0,)+
                };
                place.map(|(step, _)| step)
            }

            pub(super) fn encode(&self, head: &Head<'_>) -> String {
                match self {
                    $(Self::$event(fact) => {
                        let (place, data) = parts!($scope fact);
                        head.frame($name, place, data)
                    })+
                }
            }

            pub(super) fn decode(frame: &Frame) -> Result<Self, EventFault> {
                Ok(match frame.kind.as_ref() {
                    $($name => Self::$event(read!($scope frame)?),)+
                    unknown => return Err(EventFault::UnknownKind(unknown.to_owned())),
                })
            }
        }
    };
}

events! {
    thread WorkflowStart = "workflow_start": checkpoint;
    step StepStart = "step_start": step(StepStatus::Running);
    step StepWaiting = "step_waiting": step(StepStatus::Waiting);
    step StepRetry = "step_retry": failure, step(StepStatus::Retrying);
    step StepTimeoutWarning = "step_timeout_warning":;
    step StepStale = "step_stale":;
    step StepComplete = "step_complete": checkpoint, progress, step(StepStatus::Completed);
    step StepFailed = "step_failed": checkpoint, failure, step(StepStatus::Failed);
    step StepSkipped = "step_skipped": checkpoint, step(StepStatus::Skipped);
    step StepEdited = "step_edited": checkpoint;
    step CompensationStart = "compensation_start": thread(ThreadStatus::Compensating);
    step CompensationComplete = "compensation_complete":
        checkpoint, progress, step(StepStatus::Compensated);
    step CompensationFailed = "compensation_failed":;
    thread SignalReceived = "signal_received": checkpoint;
    thread InterventionOpened = "intervention_opened": checkpoint;
    thread InterventionEscalated = "intervention_escalated":;
    thread InterventionResolved = "intervention_resolved": checkpoint;
    thread WorkflowForked = "workflow_forked": checkpoint;
    thread WorkflowPaused = "workflow_paused":
        checkpoint, progress, thread(ThreadStatus::Paused);
    thread WorkflowResumed = "workflow_resumed":
        checkpoint, progress, thread(ThreadStatus::Running);
    thread WorkflowRecovered = "workflow_recovered": checkpoint, thread(ThreadStatus::Running);
    thread WorkflowComplete = "workflow_complete": checkpoint, thread(ThreadStatus::Completed);
    thread WorkflowFailed = "workflow_failed":
        checkpoint, failure, thread(ThreadStatus::Failed);
    thread WorkflowAborted = "workflow_aborted": checkpoint, thread(ThreadStatus::Aborted);
}

impl EventBody {
    /// The name of its kind.
    pub const fn kind(&self) -> &'static str {
        self.event_type().name
    }

    /// Whether the thread has ended with this event.
    pub const fn is_terminal(&self) -> bool {
        self.event_type().is_terminal()
    }

    /// Whether the thread got on, or a person or a policy decided about it: its losses before say
    /// nothing about it now.
    pub const fn is_progress(&self) -> bool {
        let decided = matches!(self, Self::CompensationStart(fact) if fact.data.by.is_some());
        decided || self.event_type().progress
    }
}
