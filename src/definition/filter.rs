//! The filters of `transform` steps: jq with bounds ([`bounded_jq`]), over [`Json`].
//!
//! Compiling one is paid for from the budget of its workflow ([`outlay`]).

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub use bounded_jq::{Error as FilterError, Limits as FilterLimits};

use super::outlay;
use crate::model::{Json, MAX_JSON_DEPTH};

const _: () = assert!(bounded_jq::MAX_JSON_DEPTH == MAX_JSON_DEPTH, "inputs and results are Json");

/// A compiled filter.
#[derive(Debug)]
pub struct Filter(bounded_jq::Filter);

impl Filter {
    /// Compiles a program; the error names its fault.
    pub fn compile(text: &str) -> Result<Self, String> {
        bounded_jq::Filter::check(text)?;
        outlay::filter(text.len())?;
        let filter = bounded_jq::Filter::compile(text)?;
        outlay::weigh(filter.weight())?;
        Ok(Self(filter))
    }

    /// Returns the approximate memory of the filter, in bytes.
    pub(super) const fn weight(&self) -> usize {
        self.0.weight()
    }

    /// Runs the filter on this thread if it ends soon. Otherwise [`Filter::run`] it where blocking
    /// does no harm; starting over changes nothing, as a filter has no effects.
    pub fn run_inline(
        &self,
        input: &Json,
        limits: FilterLimits,
    ) -> Option<Result<Json, FilterError>> {
        self.0.run_inline(input.as_str(), limits).map(json)
    }

    /// Runs the filter to its end, on a thread of its own that this one waits for: about a second
    /// at the very most. Do not call it in an async task. It fails soon after `cancelled` is set.
    pub fn run(
        &self,
        input: &Json,
        limits: FilterLimits,
        cancelled: &Arc<AtomicBool>,
    ) -> Result<Json, FilterError> {
        json(self.0.run(input.as_str(), limits, cancelled))
    }
}

fn json(output: Result<String, FilterError>) -> Result<Json, FilterError> {
    Json::trusted(output?).map_err(|fault| FilterError::Failed(fault.to_string()))
}
