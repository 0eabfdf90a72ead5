//! Authored JSON → checked plan.
//!
//! [`Plan::parse`] reads a workflow and reports every fault at once, each with a JSON pointer.
//! What comes out cannot be wrong in a way that is visible without running it: the graph has no
//! cycle, templates name only ancestors, conditions and filters compile. Called by the runtime at
//! the door and on load; pure, and never touches the network or a file.

mod placeholders;
mod plan;
mod scope;

pub use placeholders::{Condition, Filter, FilterError, FilterLimits, InputSchema, Template};
pub use plan::{Action, Plan, PlanStep};
pub use scope::{Scope, StepView};
