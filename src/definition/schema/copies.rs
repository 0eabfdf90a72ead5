//! Estimates the memory that the faults of an input copy.
//!
//! The validator gathers all faults before it returns the first: those of every item of a list and
//! of every branch of a union, each with texts of the schema and the place in the input. This
//! module finds how much that is for one fault, so that the metered validator can charge it to the
//! budget of memory.

use bounded_jq::meter::spend;
use serde_json::Value;

/// The longest name in `required` and `dependentRequired`, in bytes: each fault copies one, and
/// names that people write are far shorter.
const MAX_NAME: usize = 1024;
/// The memory of a fault without its copies, in bytes.
const FAULT: usize = 512;
/// The memory of a schema's value in a copy, beside its text, in bytes.
const VALUE: usize = 96;

/// The most that one fault copies, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Copies {
    /// The largest text of a word.
    text: usize,
    /// The longest name of a place in the schema.
    place: usize,
    /// The number of schemas with references on the way from one place of the data; 0 if there are
    /// none.
    references: usize,
    /// Whether a fault lists the names of an object's members.
    pub(super) lists_names: bool,
    /// Whether a fault gives the number of an array's items.
    pub(super) counts_items: bool,
}

impl Copies {
    /// No copies at all.
    pub(super) const NONE: Self =
        Self { text: 0, place: 0, references: 0, lists_names: false, counts_items: false };

    /// Notes a word of a schema; the error reports a name in it that is too long.
    pub(super) fn add(&mut self, word: &str, value: &Value) -> Result<(), String> {
        let bytes = match word {
            "required" => longest_name(word, value)?,
            "dependentRequired" | "dependencies" => {
                let lists = value.as_object().into_iter().flat_map(|map| map.values());
                lists
                    .map(|list| longest_name(word, list))
                    .try_fold(0, |most, bytes| bytes.map(|bytes: usize| bytes.max(most)))?
            }
            "not" => size(value),
            "pattern" | "format" | "contentEncoding" | "contentMediaType" => {
                value.as_str().map_or(0, str::len)
            }
            "additionalProperties" | "unevaluatedProperties" => {
                self.lists_names = true;
                0
            }
            "additionalItems" => {
                self.counts_items = true;
                0
            }
            "$ref" | "$dynamicRef" | "$recursiveRef" => {
                self.references = self.references.max(1);
                0
            }
            _ => 0,
        };
        self.text = self.text.max(bytes);
        Ok(())
    }

    /// Notes the longest name of a place in the schema, and the number of schemas on the way from
    /// one place of the data.
    pub(super) fn set_places(&mut self, place: usize, depth: usize) {
        self.place = place;
        self.references *= depth.max(1);
    }

    /// Returns the most memory that a fault of this input takes.
    pub(super) fn of_fault(self, input: Extent) -> usize {
        let ways = self.references.saturating_mul(input.depth);
        let places = self.place.saturating_mul(ways.saturating_add(1));
        FAULT.saturating_add(self.text).saturating_add(input.path).saturating_add(places)
    }
}

fn longest_name(word: &str, list: &Value) -> Result<usize, String> {
    let names = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    let longest = names.map(str::len).max().unwrap_or(0);
    if longest > MAX_NAME {
        return Err(format!("a name in `{word}` has at most {MAX_NAME} bytes"));
    }
    Ok(longest)
}

/// Returns the memory of a copy of a value.
fn size(value: &Value) -> usize {
    spend(1);
    let inner: usize = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| VALUE + name.len() + size(value)).sum()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    VALUE + inner
}

/// The extent of an input: its longest pointer and its depth.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Extent {
    /// The bytes of the longest pointer to a place in the input.
    path: usize,
    depth: usize,
}

impl Extent {
    /// Measures a value, which is as deep as JSON may be.
    pub(super) fn of(value: &Value) -> Self {
        /// The digits of an index, and the slash before it.
        const INDEX: usize = 8;
        match value {
            Value::Array(items) => Self::around(items.iter().map(|item| (INDEX, item))),
            Value::Object(members) => {
                let escaped = |name: &str| name.bytes().filter(|byte| b"~/".contains(byte)).count();
                Self::around(
                    members.iter().map(|(name, inner)| (1 + name.len() + escaped(name), inner)),
                )
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Self::default(),
        }
    }

    fn around<'a>(parts: impl Iterator<Item = (usize, &'a Value)>) -> Self {
        parts.fold(Self::default(), |most, (name, part)| {
            let inner = Self::of(part);
            Self { path: most.path.max(name + inner.path), depth: most.depth.max(1 + inner.depth) }
        })
    }
}
