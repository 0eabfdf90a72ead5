//! Plain data that faces exchange with the runtime.

mod audit;
mod diagnostics;
mod diff;
mod error;
mod event;
mod health;
mod history;
mod invoke;
mod notifications;
mod page;
mod thread;

pub use audit::*;
pub use diagnostics::*;
pub use diff::*;
pub use error::RuntimeError;
pub use event::*;
pub use health::*;
pub use history::*;
pub use invoke::*;
pub use notifications::*;
pub use page::Page;
pub use thread::*;

pub use crate::explain::{Advice, Cause, CauseKind, Explanation, Operation};
pub use crate::machine::{Progress, StatusDocument, StepDocument, WorkflowName};
