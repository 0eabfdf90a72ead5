//! The schema of a workflow's input.
//!
//! JSON Schema without the network: a `$ref` to anything outside the schema is refused, and
//! patterns run on an engine that cannot backtrack. What a schema unfolds to is bounded before it is
//! compiled ([`unfold`]), and holding data against it has a budget of work ([`metered`]), which the
//! same input always uses up at the same place. Called when a thread is started.

mod copies;
mod metered;
mod names;
mod patterns;
#[cfg(test)]
mod tests;
mod unfold;
mod ways;

use std::fmt::{self, Write as _};

use bounded_jq::meter::{self, Budget};
use bounded_jq::with_large_stack;
use jsonschema::paths::LocationSegment;
use jsonschema::{PatternOptions, Retrieve, Uri, ValidationError, Validator};
use serde_json::Value;

use self::metered::{Metered, Prices, Seen, set_prices};
use crate::model::{Faults, Json, Pointer};

/// Most faults of one input that are named: as many as one answer holds.
const MAX_INPUT_FAULTS: usize = 100;
/// Longest explanation of one fault, in bytes: it may quote the schema.
const MAX_DETAIL: usize = 300;
/// Largest schema, in bytes: ten times those that people write for an input. Reading one takes memory and
/// time in proportion, and no two of them are read at the expense of one.
const MAX_BYTES: usize = 512 * 1024;
/// Work that is done on the caller's thread: a millisecond or so.
const INLINE: Budget = Budget { fuel: 20_000, memory: 4 * 1024 * 1024, stack: 512 * 1024 };
/// Work of one input in all: about a tenth of a second, and far below what the watchdog allows a worker
/// even in a build that is not optimised. Its memory is what its faults take, of which some tens of
/// thousands are gathered where the hundred that are named are not the last.
const FULL: Budget = Budget { fuel: 2_000_000, memory: 64 * 1024 * 1024, stack: 128 * 1024 * 1024 };

/// About what a byte of a schema takes in memory once compiled, in bytes: a validator for each of its
/// members, with its place.
pub(super) const WEIGHT_PER_BYTE: usize = 128;
/// Of what a pattern may take in memory, about what one takes is one such part.
const PATTERN_SHARE: usize = 64;

/// A compiled JSON Schema (draft 2020-12 unless it names another).
pub struct InputSchema {
    validator: Validator<Metered>,
    prices: Prices,
    /// About how many bytes it takes in memory.
    weight: usize,
}

impl fmt::Debug for InputSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InputSchema")
    }
}

/// What is wrong, and where.
type Found = (Pointer, String);

/// An input was not held against the schema to the end: that takes more than a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakesLong;

impl InputSchema {
    /// Compiles a schema; the error says what is wrong with it.
    pub(super) fn compile(schema: &Json) -> Result<Self, String> {
        if schema.as_str().len() > MAX_BYTES {
            return Err(format!("it has more than {MAX_BYTES} bytes"));
        }
        let value: Value = schema.decode().map_err(|fault| fault.to_string())?;
        with_large_stack(|| {
            let costs = unfold::survey(&value)?;
            let limit = patterns::size_limit(costs.patterns);
            let patterns = PatternOptions::regex().size_limit(limit).dfa_size_limit(limit);
            let validator = jsonschema::options_for::<Metered>()
                .with_retriever(Nowhere)
                .with_pattern_options(patterns)
                .build(&value)
                .map_err(|fault| brief(&fault))?;
            let patterns = costs.patterns.saturating_mul(limit);
            let weight = schema.as_str().len() * WEIGHT_PER_BYTE + patterns / PATTERN_SHARE;
            Ok(Self { validator, prices: costs.into(), weight })
        })?
    }

    /// About how many bytes it takes in memory.
    pub(super) const fn weight(&self) -> usize {
        self.weight
    }

    /// Holds an input against the schema: a fault for each place that does not fit, its pointer
    /// the place in the input, under `at`. Takes up to some tenths of a second; not for an async task.
    pub fn check(&self, input: &Json, at: &Pointer, faults: &mut Faults) {
        let found = with_large_stack(|| self.attempt(input, at, FULL));
        match found {
            Ok(Ok(found)) => {
                for (place, detail) in found {
                    faults.add(&place, detail);
                }
            }
            Ok(Err(TakesLong)) => faults.add(
                at,
                "holding this input against its schema takes more work than its budget allows",
            ),
            Err(detail) => faults.add(at, detail),
        }
    }

    /// The same, if it can be told at once.
    pub fn check_inline(
        &self,
        input: &Json,
        at: &Pointer,
        faults: &mut Faults,
    ) -> Result<(), TakesLong> {
        if input.as_str().len() > MAX_INLINE {
            return Err(TakesLong);
        }
        let found = self.attempt(input, at, INLINE)?;
        for (place, detail) in found {
            faults.add(&place, detail);
        }
        Ok(())
    }

    fn attempt(&self, input: &Json, at: &Pointer, budget: Budget) -> Result<Vec<Found>, TakesLong> {
        let Ok(value) = input.decode::<Value>() else {
            let detail = "the input cannot be read".to_owned();
            return Ok(vec![(at.clone(), detail)]);
        };
        set_prices(self.prices);
        let fits = meter::metered(budget, || self.validator.is_valid(Seen(&value)));
        if fits.map_err(|_| TakesLong)? {
            return Ok(Vec::new());
        }
        set_prices(self.prices.with_faults(&value));
        let all = || self.validator.iter_errors(Seen(&value)).take(MAX_INPUT_FAULTS);
        if let Ok(named) = meter::metered(budget, || all().map(|fault| name(&fault, at)).collect())
        {
            return Ok(named);
        }
        if budget.fuel < FULL.fuel {
            return Err(TakesLong);
        }
        let first = || Some(name(&self.validator.validate(Seen(&value)).err()?, at));
        let mut named: Vec<_> = meter::metered(budget, first).ok().flatten().into_iter().collect();
        named.push((at.clone(), TOO_MANY.to_owned()));
        Ok(named)
    }
}

/// What is said of an input whose faults take more than their budget.
const TOO_MANY: &str = "it does not fit the schema, in too many ways to name them";

/// The place of a fault in the input, and what is wrong there.
fn name(fault: &ValidationError<'_>, at: &Pointer) -> Found {
    let path = fault.instance_path().into_iter();
    let place = path.fold(at.clone(), |place, segment| match segment {
        LocationSegment::Property(name) => place.key(&name),
        LocationSegment::Index(index) => place.index(index),
    });
    (place, brief(&fault.masked()))
}

/// Longest input that is read on the caller's thread, in bytes: reading takes time as well.
const MAX_INLINE: usize = 64 * 1024;

/// The beginning of what something says of itself: no more than that is ever written.
fn brief(told: &dyn fmt::Display) -> String {
    struct Beginning(String);
    impl fmt::Write for Beginning {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let left = MAX_DETAIL.saturating_sub(self.0.len());
            if text.len() <= left {
                self.0.push_str(text);
                return Ok(());
            }
            self.0.push_str(text.get(..text.floor_char_boundary(left)).unwrap_or_default());
            self.0.push('…');
            Err(fmt::Error)
        }
    }
    let mut out = Beginning(String::new());
    match write!(out, "{told}") {
        Ok(()) | Err(fmt::Error) => out.0,
    }
}

/// Finds no schema but the one at hand.
struct Nowhere;

impl Retrieve for Nowhere {
    fn retrieve(
        &self,
        uri: &Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Err(format!("{uri} is outside this schema, and is not fetched").into())
    }
}
