//! The schema of a workflow's input.
//!
//! JSON Schema without the network: a `$ref` to anything outside the schema is refused, and
//! patterns run on an engine that cannot backtrack. Called when a thread is started.

use std::fmt;

use jsonschema::paths::LocationSegment;
use jsonschema::{PatternOptions, Retrieve, Uri, Validator};
use serde_json::Value;

use super::stack::with_large_stack;
use crate::model::{Faults, Json, Pointer};

/// Most faults of one input that are named: as many as one answer holds.
const MAX_INPUT_FAULTS: usize = 100;
/// Longest explanation of one fault, in characters: it may quote the input.
const MAX_DETAIL: usize = 300;
/// Largest compiled pattern, in bytes: a counted repetition can ask for gigabytes.
const MAX_PATTERN: usize = 1024 * 1024;

/// About what a byte of a schema takes in memory once compiled, in bytes: a validator for each of its
/// members, with its place.
const WEIGHT_PER_BYTE: usize = 128;

/// A compiled JSON Schema (draft 2020-12 unless it names another).
pub struct InputSchema {
    validator: Validator,
    /// About how many bytes it takes in memory.
    weight: usize,
}

impl fmt::Debug for InputSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InputSchema")
    }
}

impl InputSchema {
    /// Compiles a schema; the error says what is wrong with it.
    pub(super) fn compile(schema: &Json) -> Result<Self, String> {
        let value: Value = schema.decode().map_err(|fault| fault.to_string())?;
        let compiled = with_large_stack(|| {
            let patterns =
                PatternOptions::regex().size_limit(MAX_PATTERN).dfa_size_limit(MAX_PATTERN);
            jsonschema::options()
                .with_retriever(Nowhere)
                .with_pattern_options(patterns)
                .build(&value)
                .map_err(|fault| shorten(&fault.to_string()))
        })??;
        Ok(Self { validator: compiled, weight: schema.as_str().len() * WEIGHT_PER_BYTE })
    }

    /// About how many bytes it takes in memory.
    pub(super) const fn weight(&self) -> usize {
        self.weight
    }

    /// Holds an input against the schema: a fault for each place that does not fit, its pointer
    /// the place in the input, under `at`.
    pub fn check(&self, input: &Json, at: &Pointer, faults: &mut Faults) {
        let Ok(value) = input.decode::<Value>() else {
            faults.add(at, "the input cannot be read");
            return;
        };
        for fault in self.validator.iter_errors(&value).take(MAX_INPUT_FAULTS) {
            let place =
                fault.instance_path().into_iter().fold(
                    at.clone(),
                    |place, segment| match segment {
                        LocationSegment::Property(name) => place.key(&name),
                        LocationSegment::Index(index) => place.index(index),
                    },
                );
            faults.add(&place, shorten(&fault.masked().to_string()));
        }
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_DETAIL) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
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
