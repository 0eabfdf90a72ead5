//! One thread as a state machine, without I/O.
//!
//! [`ThreadState`] is the fold of a thread's journal; [`decide()`] answers a [`Command`] with the
//! events that follow from it, already folded in, and the effects to carry out once they are
//! durable. Nothing here awaits, reads a clock or draws a random number: values that are not
//! deterministic come in through [`DecisionContext`] and go out in an event. The driver in `runtime` is the
//! only caller that appends the events.
//!
//! Every transition stands in one of these tables, and the tests hold the code to them.
//!
//! # States of a step
//!
//! | from | event | to |
//! | --- | --- | --- |
//! | pending, retrying | `step_start` | running |
//! | running | `step_waiting` | waiting |
//! | running, waiting | `step_retry` | retrying |
//! | running, waiting | `step_complete` | completed |
//! | pending, running, waiting | `step_failed` | failed |
//! | pending, running, waiting, retrying | `step_skipped` | skipped |
//! | completed | `compensation_complete` | compensated |
//! | waiting | `intervention_resolved` | pending |
//! | running | `workflow_recovered` | pending |
//! | running, waiting, retrying | `compensation_start`, `workflow_failed`, `workflow_aborted` | pending |
//! | waiting, retrying, completed, failed, skipped, compensated | `workflow_resumed` | pending |
//! | running, waiting, retrying, completed, failed, skipped, compensated | `workflow_forked` | pending |
//!
//! # States of a thread
//!
//! | from | event | to |
//! | --- | --- | --- |
//! | queued | `step_start`, `step_failed`, `step_skipped` | running |
//! | queued, running, compensating | `workflow_paused` | paused |
//! | paused, failed, aborted | `workflow_resumed` | running |
//! | paused | `workflow_resumed` | compensating |
//! | paused, completed, failed, aborted | `workflow_forked` | running |
//! | running, paused, failed, aborted | `compensation_start` | compensating |
//! | running | `workflow_complete` | completed |
//! | queued, running, compensating | `workflow_failed` | failed |
//! | queued, running, paused, compensating | `workflow_aborted` | aborted |

mod abort;
mod apply;
mod approval;
mod attempt;
mod bounds;
pub mod breaker;
mod check;
mod choices;
mod command;
mod decide;
mod decision;
mod document;
mod effort;
mod fail;
mod fallback;
mod four_eyes;
mod interventions;
mod ready;
mod rejection;
mod request;
mod scope;
pub mod snapshot;
mod state;
mod track;
mod undo;
mod validate;
mod wait;
mod weight;

#[cfg(test)]
pub(crate) mod tests;

pub use choices::POLICY;
pub use command::{AttemptId, Command, DecisionContext, Effect, Report, Takeover};
pub use decide::{Fork, ForkRejection, decide, fork, pause_unread, start};
pub use decision::Decided;
pub use fallback::too_much;
pub use rejection::Rejection;
pub use request::{Abort, Actor, Request, Resume};
pub use snapshot::{EncodedSnapshot, SNAPSHOT_VERSION, SnapshotFault};
pub use state::{
    AbortDeadline, CompensationReason, Intervention, PausedBy, Signal, StepState, ThreadState,
};
pub use track::{BlockedOutput, Holder, Phase, Track, Wants};
pub use validate::Inconsistency;

#[cfg(test)]
mod fuzz;
