//! Plain data that every layer shares: ids, time, hosts, JSON text, events, failures, retry policies.
//!
//! Nothing here does I/O, reads a clock or draws a random number; [`Clock`] and [`Entropy`] are
//! traits whose ambient implementations live in `app`. This layer imports nothing of ours.

mod access;
mod backoff;
mod breaker;
mod canonical;
mod clock;
mod duration;
mod event;
mod failure;
mod fault;
mod hex;
mod host;
mod ids;
mod json;
mod lock;
mod members;
mod millis;
mod named;
mod node;
mod retry;
mod status;
mod time;
mod timeout;
pub mod verbatim;

pub use access::{Namespace, Role};
pub use backoff::Backoff;
pub use breaker::BreakerPolicy;
pub use canonical::{canonical_digest, canonical_text};
pub use clock::{Clock, Entropy};
pub use duration::{duration_from_node, parse_duration};
pub use event::{
    Compensation, CompensationComplete, CompensationFailed, CompensationStart, Event, EventBody,
    EventFault, EventType, ForkPoint, ForkedFrom, InterventionEscalated, InterventionKind,
    InterventionOpened, InterventionResolved, NotCompensated, OnStep, RecoveryCause,
    RecoveryStrategy, SignalReceived, StepComplete, StepEdited, StepFailed, StepRetry, StepSkipped,
    StepStale, StepStart, StepTimeoutWarning, StepWaiting, WorkflowAborted, WorkflowComplete,
    WorkflowFailed, WorkflowForked, WorkflowPaused, WorkflowRecovered, WorkflowRef,
    WorkflowResumed, WorkflowStart,
};
pub use failure::{Category, Failure, codes};
pub use fault::{Fault, Faults, Pointer};
pub use hex::hex;
pub use host::HostPort;
pub use ids::{
    Epoch, IdFault, Incarnation, MAX_STEPS, Seq, StepId, ThreadId, is_signal_name, thread_key,
};
pub use json::{Json, JsonFault, MAX_JSON_DEPTH, quote};
pub use lock::lock;
pub use members::Members;
pub use millis::{millis, signed_millis};
pub(crate) use named::named;
pub use node::Node;
pub use retry::RetryPolicy;
pub use status::{StepStatus, ThreadStatus};
pub use time::Timestamp;
pub use timeout::{StaleAction, TimeoutMultiplier, Timeouts};

#[cfg(test)]
mod fuzz;
