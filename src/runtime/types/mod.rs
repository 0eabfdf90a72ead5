//! The data that faces exchange with the runtime, beside that of the contract.

mod audit;
mod error;
mod event;
mod interventions;
mod invoke;
mod thread;

pub use audit::*;
pub use error::RuntimeError;
pub use event::*;
pub use interventions::InterventionQuery;
pub use invoke::*;
pub use thread::*;

pub use crate::machine::Rejection;
