//! Authored JSON → checked plan.
//!
//! [`Plan::parse`] reads a workflow and reports every fault at once, each with a JSON pointer.
//! A plan cannot be wrong in a way that is visible without running it: the graph has no
//! cycle, templates name only ancestors, conditions and filters compile. Called by the runtime at
//! the door and on load; pure, and never touches the network or a file.

mod action;
mod allowance;
mod check;
mod condition;
mod filter;
mod kinds;
mod outlay;
mod parse;
mod plan;
mod reference;
mod scan;
mod schema;
mod scope;
mod steps;
mod template;
#[cfg(test)]
mod testing;
mod variables;
mod weight;

pub use action::{Action, Wait};
pub use allowance::{Allowance, is_enough, within};
pub use bounded_jq::stack;
pub use check::{Check, Verdict};
pub use condition::Condition;
pub use filter::{Filter, FilterError, FilterLimits};
pub use kinds::{MAX_APPROVERS, MAX_CHOICES, METHODS as HTTP_METHODS, describe_kinds, list_kinds};
pub use plan::{Fallback, Plan, PlanStep, StepBreaker, Work};
pub use schema::{InputSchema, TakesLong};
pub use scope::{Scope, StepView};
pub use steps::{StepIx, Steps};
pub use template::{Astray, Template, Unfilled};
pub use variables::VariablePolicy;

#[cfg(test)]
mod fuzz;
