//! The data that faces exchange with the runtime, beside that of the contract.

mod audit;
mod error;
mod event;
mod invoke;

pub use audit::*;
pub use error::{Cause, RuntimeError, Unready};
pub use event::*;
pub use invoke::*;

pub use crate::machine::Rejection;
