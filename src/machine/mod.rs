//! One thread as a state machine, without I/O.

mod status;

pub use status::{Progress, StatusDocument, StepDocument, WorkflowName};
