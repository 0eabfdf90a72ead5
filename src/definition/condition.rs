//! `when`: a CEL expression over the input, the thread and the ancestors of a step.
//!
//! Parsed and checked once by `cel`, evaluated here: its interpreter can be neither interrupted nor
//! metered. [`MAX_TEXT`] and [`survey::MAX_DEPTH`] bound the expression; a [`meter`] bounds the work and the
//! memory of an evaluation, whatever the data. Evaluating never fails for a reason that could be seen
//! before. Called by `machine`, which records the answer as the step's start or skip.

mod calls;
mod evaluate;
#[cfg(test)]
mod fuzz;
mod meter;
mod price;
mod survey;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use bounded_jq::with_large_stack;
use cel::{IdedExpr, ParseErrors, Program};

use self::evaluate::{Evaluation, Roots};
use self::meter::{BUDGET, Meter, Stop};
use self::survey::Survey;
pub(super) use self::value::Value;
use super::{Scope, allowance, outlay};
use crate::model::Json;

/// Longest expression, in bytes: far beyond what a person writes.
const MAX_TEXT: usize = 4096;
/// About what a byte of an expression takes in memory once compiled, in bytes: a tree of names.
const WEIGHT_PER_BYTE: usize = 128;
/// Longest explanation of a failure, in characters: it may quote the data.
const MAX_DETAIL: usize = 300;

/// A compiled condition.
#[derive(Debug)]
pub struct Condition {
    expression: IdedExpr,
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
        let read = Self::paid(text)
            .map_err(|detail| vec![detail])
            .and_then(|()| Self::parsed(text, visible, over_output));
        if read.is_err() {
            outlay::condition_failed();
        }
        read
    }

    /// Refuses an expression that is too long or too deep, and pays for one that is not.
    fn paid(text: &str) -> Result<(), String> {
        if text.len() > MAX_TEXT {
            return Err(format!("a condition has at most {MAX_TEXT} bytes"));
        }
        nesting(text)?;
        outlay::condition(price::of(text))?;
        outlay::weigh(text.len() * WEIGHT_PER_BYTE)
    }

    fn parsed(
        text: &str,
        visible: &BTreeSet<&str>,
        over_output: bool,
    ) -> Result<Self, Vec<String>> {
        with_large_stack(|| {
            let program = Program::compile(text).map_err(|faults| vec![explain(&faults)])?;
            let survey = Survey::of(program.expression(), visible, over_output)?;
            let expression = program.expression().clone();
            Ok(Self { expression, survey, weight: text.len() * WEIGHT_PER_BYTE })
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
            return Err(format!("a condition is true or false, not {}", answer.type_name()));
        };
        Ok(holds)
    }

    /// What the expression comes to; the error says why there is no answer.
    pub(super) fn answer(&self, scope: &dyn Scope, output: Option<&Json>) -> Result<Value, String> {
        self.within(BUDGET, scope, output).map_err(|stop| match stop {
            Stop::Spent => "this takes more work than its budget allows".to_owned(),
            Stop::Failed(why) => shorten(&why),
        })
    }

    fn within(&self, budget: u64, scope: &dyn Scope, output: Option<&Json>) -> Result<Value, Stop> {
        let roots = self.roots(scope, output.filter(|_| self.survey.output));
        let meter = Meter::new(allowance::grant(budget));
        let granted = meter.left();
        let answer = Evaluation::new(&roots, &meter).value(&self.expression);
        allowance::take(granted - meter.left());
        answer
    }

    /// The most work that an evaluation over so many bytes of data can make, roughly.
    pub fn effort(&self, bytes: usize) -> u64 {
        let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let once = self.survey.nodes.saturating_add(bytes / 16);
        let items = self.survey.nodes.saturating_add(bytes / 2);
        let nesting = u32::try_from(self.survey.nesting).unwrap_or(u32::MAX);
        number(once).saturating_mul(number(items).saturating_pow(nesting))
    }

    fn roots<'a>(&'a self, scope: &'a dyn Scope, output: Option<&'a Json>) -> Roots<'a> {
        let steps = self.survey.steps.iter().chain(&self.survey.indexed);
        let steps = steps.map(|id| {
            let view = scope.step(id);
            let status = view.map_or("pending", |view| view.status.as_str());
            let output = view.and_then(|view| view.output).map_or("null", Json::as_str);
            (id.as_str(), (status, output))
        });
        Roots {
            input: scope.input().as_str(),
            thread: scope.thread_id().text(),
            output: output.map(Json::as_str),
            steps: steps.collect(),
            indexed: self.survey.indexed.iter().map(String::as_str).collect(),
        }
    }
}

/// Most brackets around one place, and most signs before one value: the parser takes stack for each,
/// and an expression that needs as many is deeper than [`survey::MAX_DEPTH`] anyway.
const MAX_NESTING: usize = 96;

/// Refuses what would take the parser deep, before it is entered.
fn nesting(text: &str) -> Result<(), String> {
    let (mut depth, mut signs) = (0_usize, 0_usize);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'!' | b'-' => signs += 1,
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ => signs = 0,
        }
        // Inside a text they mean nothing; nobody writes that many there either.
        if depth > MAX_NESTING || signs > MAX_NESTING {
            return Err(format!("a condition is nested at most {MAX_NESTING} levels deep"));
        }
    }
    Ok(())
}

/// Says why an expression cannot be parsed. The parser has a fault for each character that it does
/// not know, and quotes the whole line in each of them: all of them take megabytes, and a fraction
/// of a second.
fn explain(faults: &ParseErrors) -> String {
    shorten(&format!("not a CEL expression: {}", start(faults)))
}

/// Writes at least as much of a text as is kept of it, and not much more.
fn start(text: &impl fmt::Display) -> String {
    struct Start(String);
    impl fmt::Write for Start {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.push_str(text);
            let is_enough = self.0.len() > MAX_DETAIL * char::MAX.len_utf8();
            if is_enough { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut start = Start(String::new());
    match write!(start, "{text}") {
        Ok(()) | Err(fmt::Error) => start.0,
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_DETAIL) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
