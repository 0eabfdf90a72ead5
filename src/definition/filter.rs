//! The filters of `transform` steps: jq with bounds ([`bounded_jq`]), over [`Json`].
//!
//! Compiling one is paid for from the budget of its workflow ([`outlay`]), whether it is compiled or
//! another step, workflow or version has the same: what a workflow may have depends on nobody else.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, Weak};

pub use bounded_jq::{Error as FilterError, Limits as FilterLimits};

use super::outlay;
use crate::model::{Json, MAX_JSON_DEPTH, lock};

const _: () = assert!(bounded_jq::MAX_JSON_DEPTH == MAX_JSON_DEPTH, "inputs and results are Json");

/// The compiled filters of all plans that are kept.
static KNOWN: Mutex<Known> = Mutex::new(Known::new());
/// The number of filters that are known before those that no plan has any more are forgotten: their texts
/// take a megabyte at the most.
const FEW: usize = 64;

/// Compiled filters by their text, for as long as somebody has them.
#[derive(Debug)]
struct Known {
    by_text: BTreeMap<Box<str>, Weak<bounded_jq::Filter>>,
    /// The number of filters at which those that nobody has are forgotten.
    full: usize,
}

impl Known {
    const fn new() -> Self {
        Self { by_text: BTreeMap::new(), full: FEW }
    }

    fn get(&self, text: &str) -> Option<Arc<bounded_jq::Filter>> {
        self.by_text.get(text)?.upgrade()
    }

    fn keep(&mut self, text: &str, filter: &Arc<bounded_jq::Filter>) {
        if self.by_text.len() >= self.full {
            self.by_text.retain(|_, filter| filter.strong_count() > 0);
            self.full = (2 * self.by_text.len()).max(FEW);
        }
        self.by_text.insert(text.into(), Arc::downgrade(filter));
    }
}

/// A compiled filter.
#[derive(Debug)]
pub struct Filter(Arc<bounded_jq::Filter>);

impl Filter {
    /// Compiles a program; the error names its fault.
    pub fn compile(text: &str) -> Result<Self, String> {
        bounded_jq::Filter::check(text)?;
        outlay::filter(text.len())?;
        let known = lock(&KNOWN).get(text);
        let filter = match known {
            Some(filter) => filter,
            None => Arc::new(bounded_jq::Filter::compile(text)?),
        };
        outlay::weigh(filter.weight())?;
        lock(&KNOWN).keep(text, &filter);
        Ok(Self(filter))
    }

    /// Returns the approximate memory of the filter, in bytes.
    pub(super) fn weight(&self) -> usize {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_of_one_text_are_one_for_as_long_as_somebody_has_it() {
        let text = ".a + 1 # of this test alone";
        let [one, same] = [text, text].map(|text| Filter::compile(text).unwrap());
        assert!(Arc::ptr_eq(&one.0, &same.0));
        let weak = Arc::downgrade(&one.0);
        drop((one, same));
        assert!(weak.upgrade().is_none() && lock(&KNOWN).get(text).is_none());
    }

    #[test]
    fn what_nobody_has_is_forgotten() {
        let mut known = Known::new();
        let kept: Vec<_> = (0..1_000)
            .filter_map(|number| {
                let filter = Arc::new(bounded_jq::Filter::compile(&number.to_string()).unwrap());
                known.keep(&number.to_string(), &filter);
                (number % 10 == 0).then_some(filter)
            })
            .collect();
        assert!(known.by_text.len() <= 2 * kept.len(), "{}", known.by_text.len());
        assert!(known.get("990").is_some() && known.get("991").is_none());
    }
}
