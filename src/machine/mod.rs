//! One thread as a state machine, without I/O.
//!
//! [`ThreadState`] is the fold of a thread's journal; [`decide()`] answers a [`Command`] with the
//! events that follow from it, already folded in, and the effects to carry out once they are durable. Nothing here awaits, reads a clock or draws a
//! random number: values that are not deterministic come in through [`Moment`] and go out in an
//! event. The driver in `runtime` is the only caller that appends the events.

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
mod four_eyes;
mod interventions;
mod ready;
pub mod snapshot;
mod state;
mod track;
mod undo;
mod validate;
mod wait;
mod weight;

#[cfg(test)]
pub(crate) mod tests;

pub use attempt::too_much;
pub use choices::POLICY;
pub use command::{
    Abort, Ask, AttemptId, Command, Effect, Moment, Rejection, Report, Resume, Takeover, Who,
};
pub use decide::{Fork, ForkRejection, decide, fork, start};
pub use decision::Decided;
pub use snapshot::{EncodedSnapshot, SNAPSHOT_VERSION, SnapshotFault};
pub use state::{Ending, Held, Intervention, Signal, StepState, Stopped, ThreadState, Undoing};
pub use track::Track;
pub use validate::Inconsistency;

#[cfg(test)]
mod fuzz;
