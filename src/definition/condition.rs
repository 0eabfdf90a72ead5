//! `when`: a CEL expression over the input, the thread and the ancestors of a step.
//!
//! Compiled and checked once; evaluating never fails for a reason that could be seen before.
//! The work is bounded: [`MAX_TEXT`] and [`MAX_DEPTH`] bound the expression, [`MAX_ITERATIONS`]
//! how often the bodies of its macros (`all`, `exists`, `map`, `filter`, …) can run over the data
//! at hand, and [`MAX_BUILT`] what they can build. Called by `machine`, which records the answer as
//! the step's start or skip.

mod survey;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use cel::objects::{Key, Map};
use cel::{Context, Env, Program, Value};

use self::survey::Survey;
use super::stack::with_large_stack;
use super::{Scope, scan};
use crate::model::Json;

/// Longest expression, in bytes: far beyond what a person writes.
const MAX_TEXT: usize = 4096;
/// Most levels of an expression's tree: each costs stack when it is evaluated.
const MAX_DEPTH: usize = 64;
/// Most levels that are evaluated on the caller's stack: deeper ones get a thread, so that the
/// ordinary ones, of five levels or so, need none.
const INLINE_DEPTH: usize = 12;
/// Most runs of a macro's body, nested ones multiplied, by the longest list in the data that the
/// expression names: about a second of work.
const MAX_ITERATIONS: usize = 1_000_000;
/// Most bytes that `+` inside a macro can put together, by the data that the expression names.
const MAX_BUILT: usize = 64 * 1024 * 1024;
/// About what a byte of an expression takes in memory once compiled, in bytes: a tree of names.
const WEIGHT_PER_BYTE: usize = 128;
/// Longest explanation of a failure, in characters: it may quote the data.
const MAX_DETAIL: usize = 300;

/// The names of types and constants that CEL knows by itself.
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// A compiled condition.
#[derive(Debug)]
pub struct Condition {
    program: Program,
    survey: Survey,
    /// About how many bytes it takes in memory.
    weight: usize,
}

impl Condition {
    /// Compiles an expression; the errors say what is wrong with it. `visible` are the ids of the
    /// steps it may name.
    pub(super) fn compile(text: &str, visible: &BTreeSet<&str>) -> Result<Self, Vec<String>> {
        Self::read(text, visible, false)
    }

    /// Compiles an expression that may also name `output`.
    pub(super) fn compile_over_output(
        text: &str,
        visible: &BTreeSet<&str>,
    ) -> Result<Self, Vec<String>> {
        Self::read(text, visible, true)
    }

    fn read(text: &str, visible: &BTreeSet<&str>, over_output: bool) -> Result<Self, Vec<String>> {
        if text.len() > MAX_TEXT {
            return Err(vec![format!("a condition has at most {MAX_TEXT} bytes")]);
        }
        with_large_stack(|| {
            let program = Program::compile(text)
                .map_err(|faults| vec![shorten(&format!("not a CEL expression: {faults}"))])?;
            let survey = Survey::of(program.expression(), visible, over_output)?;
            Ok(Self { program, survey, weight: text.len() * WEIGHT_PER_BYTE })
        })
        .unwrap_or_else(|detail| Err(vec![detail]))
    }

    /// About how many bytes it takes in memory.
    pub(super) const fn weight(&self) -> usize {
        self.weight
    }

    /// Whether the condition holds; the error says why there is no answer.
    pub fn evaluate(&self, scope: &dyn Scope) -> Result<bool, String> {
        let answer = self.answer(scope, None)?;
        let Value::Bool(holds) = answer else {
            return Err(format!("a condition is true or false, not {}", answer.type_of()));
        };
        Ok(holds)
    }

    /// What the expression comes to; the error says why there is no answer.
    pub(super) fn answer(&self, scope: &dyn Scope, output: Option<&Json>) -> Result<Value, String> {
        let output = output.filter(|_| self.survey.output);
        self.check_work(scope, output)?;
        let mut variables: Vec<(&str, Value)> = Vec::new();
        if self.survey.input {
            variables.push(("input", value(scope.input().as_str())));
        }
        if self.survey.thread {
            let id = Value::from(scope.thread_id().text().to_owned());
            variables.push(("thread", object([("id".to_owned(), id)])));
        }
        if let Some(output) = output {
            variables.push(("output", value(output.as_str())));
        }
        variables.extend(self.survey.steps.iter().map(|id| (id.as_str(), step(scope, id))));
        if !self.survey.indexed.is_empty() {
            let steps = self.survey.indexed.iter().map(|id| (id.clone(), step(scope, id)));
            variables.push(("steps", object(steps)));
        }
        if self.survey.depth > INLINE_DEPTH {
            return with_large_stack(|| self.execute(variables))?;
        }
        self.execute(variables)
    }

    fn execute(&self, variables: Vec<(&str, Value)>) -> Result<Value, String> {
        let mut context = Context::with_env(Arc::clone(&ENV));
        for (name, value) in variables {
            context.add_variable_from_value(name, value);
        }
        self.program.execute(&context).map_err(|fault| shorten(&fault.to_string()))
    }

    /// Refuses to start what could take unreasonably long over this data.
    fn check_work(&self, scope: &dyn Scope, output: Option<&Json>) -> Result<(), String> {
        if self.survey.nesting == 0 {
            return Ok(());
        }
        let (mut longest, mut bytes) = (self.survey.additions + 1, 0_usize);
        let outputs = self.survey.steps.iter().chain(&self.survey.indexed);
        let outputs = outputs.filter_map(|id| scope.step(id)?.output);
        for json in outputs.chain(self.survey.input.then(|| scope.input())).chain(output) {
            longest = longest.max(longest_list(json.as_str()));
            bytes = bytes.saturating_add(json.as_str().len());
        }
        let longest = longest.saturating_mul(self.survey.additions + 1);
        let nesting = u32::try_from(self.survey.nesting).unwrap_or(u32::MAX);
        if longest.checked_pow(nesting).is_none_or(|runs| runs > MAX_ITERATIONS) {
            return Err(format!(
                "{nesting} nested macros over {longest} items are more than {MAX_ITERATIONS} runs"
            ));
        }
        if self.survey.builds && longest.saturating_mul(bytes) > MAX_BUILT {
            return Err(format!("\"+\" inside a macro could build more than {MAX_BUILT} bytes"));
        }
        Ok(())
    }
}

/// A step as conditions see it: `output` and `status`.
fn step(scope: &dyn Scope, id: &str) -> Value {
    let view = scope.step(id);
    let output = view.and_then(|view| view.output).map_or(Value::Null, |json| value(json.as_str()));
    let status = view.map_or("pending", |view| view.status.as_str());
    object([("output".to_owned(), output), ("status".to_owned(), Value::from(status.to_owned()))])
}

fn object(members: impl IntoIterator<Item = (String, Value)>) -> Value {
    let map: HashMap<Key, Value> =
        members.into_iter().map(|(key, value)| (Key::String(Arc::new(key)), value)).collect();
    Value::Map(Map { map: Arc::new(map) })
}

/// JSON text as a CEL value: whole numbers are integers where they fit.
fn value(json: &str) -> Value {
    match json.as_bytes().first() {
        Some(b'{') => object(
            scan::members(json).map(|(key, inner)| (scan::decode(key).into_owned(), value(inner))),
        ),
        Some(b'[') => Value::List(Arc::new(scan::items(json).map(value).collect())),
        Some(b'"') => Value::from(scan::decode(json).into_owned()),
        Some(b't') => Value::Bool(true),
        Some(b'f') => Value::Bool(false),
        Some(b'n') | None => Value::Null,
        Some(_) => json
            .parse()
            .map(Value::Int)
            .or_else(|_| json.parse().map(Value::UInt))
            .unwrap_or_else(|_| Value::Float(json.parse().unwrap_or(f64::NAN))),
    }
}

/// The number of items of the longest array or object in a JSON text.
fn longest_list(json: &str) -> usize {
    let (mut open, mut longest, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'[' | b'{' => open.push(1),
            b',' => {
                if let Some(count) = open.last_mut() {
                    *count += 1;
                }
            }
            b']' | b'}' => longest = longest.max(open.pop().unwrap_or(0)),
            _ => {}
        }
    }
    longest
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_DETAIL) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
