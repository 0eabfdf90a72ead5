//! jq filters.
//!
//! A filter is compiled once; a run costs microseconds. A program can neither see nor touch
//! anything but its input, and cannot hang or kill the server: every run has a budget of work that
//! bounds its time and its memory, values are bounded in size and depth, and recursion is stopped
//! before the stack ends. The same program over the same input always ends the same way: the budget
//! counts work, not time. The executor of `transform` calls this.

mod kind;
mod library;
pub(super) mod meter;
mod natives;
mod read;
mod regex;
mod survey;
#[cfg(test)]
mod tests;
mod text;
mod value;
mod write;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use jaq_core::load::lex::Lexer;
use jaq_core::load::parse::Parser;
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Vars};

use super::outlay;
use super::stack::with_large_stack;
use crate::model::Json;
use kind::{Data, Kind};
use meter::{Budget, Stop, metered};
use survey::Survey;
use value::Value;

/// The longest program, in bytes. It bounds the depth of the syntax tree as well.
const MAX_PROGRAM: usize = 16 * 1024;
/// The longest message of an error, in bytes: it may quote the input.
const MAX_MESSAGE: usize = 500;
/// The budget of work on the caller's thread: about a millisecond.
const INLINE: Budget = Budget { fuel: 10_000, memory: 8 * 1024 * 1024, stack: 512 * 1024 };
/// The budget of one whole run: about a second.
const FULL: Budget = Budget { fuel: 4_000_000, memory: MAX_MEMORY, stack: STACK };
/// The bytes of stack that a run may take: hundreds of times the need of filters that people write.
const STACK: usize = 32 * 1024 * 1024;
/// The bytes of memory that a run may take for each byte that its result may have. The input of a
/// filter may be as large as the result, becomes some forty times as large where it is a list of
/// tiny objects, and may be made into another such list twice.
const MEMORY_PER_BYTE: usize = 128;
/// The least memory of a run, in bytes: intermediate values may be larger than the result.
const MIN_MEMORY: usize = 64 * 1024 * 1024;
/// The most memory of a run, in bytes, however large results may be.
const MAX_MEMORY: usize = 512 * 1024 * 1024;

/// The most terms of a program that runs inline: the interpreter recurses once for each part of a
/// path, before it evaluates the first and so before the meter looks at the stack. Each takes less
/// than 1 KiB, in debug builds as well, of the 2 MiB that a thread has.
const MAX_INLINE_TERMS: usize = 500;
/// The approximate memory of a compiled term, in bytes.
const TERM_WEIGHT: usize = 256;
/// The approximate memory of a filter without its terms, in bytes.
const FILTER_WEIGHT: usize = 1024;

/// A compiled filter.
pub struct Filter {
    compiled: jaq_core::Filter<Kind>,
    /// Whether the filter may only run on a thread of its own: it is long, or may recurse so deep that
    /// dropping its values needs a large stack, or it has regular expressions, whose engine cannot
    /// be interrupted.
    apart: bool,
    /// The approximate memory of the filter, in bytes.
    weight: usize,
}

/// The limits of a run's result.
#[derive(Debug, Clone, Copy)]
pub struct FilterLimits {
    /// The longest result, in bytes of JSON text.
    pub max_output_bytes: usize,
}

impl FilterLimits {
    /// Returns the most bytes that a run takes.
    pub const fn memory(self) -> usize {
        self.values() + STACK
    }

    /// Returns the bytes that a run may take for its values.
    const fn values(self) -> usize {
        match self.max_output_bytes.saturating_mul(MEMORY_PER_BYTE) {
            little if little < MIN_MEMORY => MIN_MEMORY,
            much if much > MAX_MEMORY => MAX_MEMORY,
            bytes => bytes,
        }
    }
}

/// The reason why a filter has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The program ended with this error.
    #[error("{0}")]
    Failed(String),
    /// The program does more work than one run may.
    #[error("the filter takes too long")]
    TooLong,
    /// The program recurses too deep.
    #[error("the filter recurses too deep")]
    TooDeep,
    /// An intermediate value, or the result, is too large.
    #[error("the filter makes too large a value")]
    TooLarge,
}

impl From<Stop> for FilterError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Fuel => Self::TooLong,
            Stop::Stack => Self::TooDeep,
            Stop::Value | Stop::Memory => Self::TooLarge,
            Stop::Cancelled => Self::Failed("the run was cancelled".to_owned()),
            Stop::Failed => Self::Failed("the interpreter failed".to_owned()),
        }
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter").field("apart", &self.apart).finish_non_exhaustive()
    }
}

impl Filter {
    /// Compiles a program; the error names its fault.
    pub fn compile(text: &str) -> Result<Self, String> {
        if text.len() > MAX_PROGRAM {
            return Err(format!("a jq program has at most {MAX_PROGRAM} bytes"));
        }
        nesting(text)?;
        outlay::filter(text.len())?;
        let compiled = with_large_stack(|| compile(text));
        let filter = compiled.map_err(|fault| format!("not a jq program: {fault}"))??;
        outlay::weigh(filter.weight)?;
        Ok(filter)
    }

    /// Returns the approximate memory of the filter, in bytes.
    pub(super) const fn weight(&self) -> usize {
        self.weight
    }

    /// Runs the filter on this thread if it ends soon. Returns `None` after about a millisecond,
    /// and for programs that need a large stack or have regular expressions. Then [`Filter::run`]
    /// it where blocking does no harm; starting over changes nothing, as a filter has no effects.
    pub fn run_inline(
        &self,
        input: &Json,
        limits: &FilterLimits,
    ) -> Option<Result<Json, FilterError>> {
        if self.apart {
            return None;
        }
        match self.attempt(input, *limits, INLINE) {
            Err(Stop::Fuel | Stop::Stack | Stop::Memory) => None,
            told => Some(told.unwrap_or_else(|stop| Err(stop.into()))),
        }
    }

    /// Runs the filter to its end, on a thread of its own that this one waits for: about a second
    /// at the very most. Do not call it in an async task. It fails soon after `cancelled` is set.
    ///
    /// A single result is the output as it is; several, or none, are an array.
    pub fn run(
        &self,
        input: &Json,
        limits: &FilterLimits,
        cancelled: &Arc<AtomicBool>,
    ) -> Result<Json, FilterError> {
        let budget = Budget { memory: limits.values(), ..FULL };
        let work = || meter::cancellable(cancelled, || self.attempt(input, *limits, budget));
        with_large_stack(work)
            .unwrap_or_else(|fault| Ok(Err(FilterError::Failed(fault))))
            .unwrap_or_else(|stop| Err(stop.into()))
    }

    fn attempt(
        &self,
        input: &Json,
        limits: FilterLimits,
        budget: Budget,
    ) -> Result<Result<Json, FilterError>, Stop> {
        metered(budget, || self.evaluate(input, limits))
    }

    fn evaluate(&self, input: &Json, limits: FilterLimits) -> Result<Json, FilterError> {
        let context = Ctx::<Kind>::new(Data::new(&self.compiled.lut), Vars::new([]));
        let mut results = Vec::new();
        let mut bytes = 0_usize;
        for result in self.compiled.id.run((context, read::read(input))) {
            let value = result.map_err(|fault| match fault.get_err() {
                Ok(error) => FilterError::Failed(message(error)),
                Err(_) => FilterError::Failed("break outside its label".to_owned()),
            })?;
            bytes = bytes.saturating_add(value.bytes());
            if bytes > value::MAX_SIZE {
                return Err(FilterError::TooLarge);
            }
            meter::hold_slot();
            results.push(value);
        }
        let output = match results.len() {
            1 => results.pop().unwrap_or_default(),
            _ => Value::array(results),
        };
        let mut text = String::new();
        write::write(&output, &mut text, limits.max_output_bytes)
            .map_err(|write::TooLong| FilterError::TooLarge)?;
        // This fails only if the result is nested deeper than JSON may be.
        Json::parse(&text).map_err(|_| FilterError::TooLarge)
    }
}

/// Returns the message of a program's error: its text, or the beginning of its value.
fn message(error: jaq_core::Error<Value>) -> String {
    let value = error.into_val();
    let Value::Str(text) = value else { return write::excerpt(&value) };
    text.get(..text.floor_char_boundary(MAX_MESSAGE)).unwrap_or_default().to_owned()
}

fn compile(text: &str) -> Result<Filter, String> {
    let tokens = Lexer::new(text).lex().map_err(|faults| {
        faults.first().map_or_else(String::new, |(expected, at)| {
            format!("expected {} {}", expected.as_str(), place(text, at))
        })
    })?;
    let term = Parser::new(&tokens).parse(Parser::term);
    let term = term.map_err(|faults| {
        faults.first().map_or_else(String::new, |(expected, at)| {
            format!(
                "expected {} {}",
                expected.as_str(),
                place(text, at.map_or("", |token| token.0))
            )
        })
    })?;
    let survey = Survey::of(&term);
    if let Some(fault) = survey.faults.first() {
        return Err(fault.clone());
    }
    let arena = Arena::default();
    let needed = library::needed(&survey.calls)?;
    let loaded = Loader::new(needed.defs)
        .load(&arena, File { code: text, path: () })
        .map_err(|_| "modules are not available".to_owned())?;
    let compiled = Compiler::default().with_funs(needed.funs).compile(loaded);
    let compiled = compiled.map_err(|faults| {
        let undefined = faults.into_iter().flat_map(|(_, undefined)| undefined);
        let named = undefined.map(|(name, what)| format!("undefined {} {name}", what.as_str()));
        named.take(3).collect::<Vec<_>>().join(", ")
    })?;
    let weight = text.len() + (survey.terms + needed.terms) * TERM_WEIGHT + FILTER_WEIGHT;
    let apart = survey.apart || survey.terms > MAX_INLINE_TERMS;
    Ok(Filter { compiled, apart, weight })
}

/// The most brackets around one place of a program, and the most signs before one value.
const MAX_BRACKETS: usize = 256;
/// The most words of a program that enclose other terms: each takes stack until the enclosed terms
/// are parsed.
const MAX_WORDS: usize = 1_000;
/// The words that enclose other terms.
const NESTING: [&str; 7] = ["def", "if", "try", "reduce", "foreach", "label", "as"];

/// Refuses a program that would nest too deep for the parser, before it is parsed. The contents of
/// strings count as well: nobody writes that many brackets or words there.
fn nesting(text: &str) -> Result<(), String> {
    let (mut depth, mut signs) = (0_usize, 0_usize);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'-' => signs += 1,
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ => signs = 0,
        }
        if depth > MAX_BRACKETS || signs > MAX_BRACKETS {
            return Err(format!("a jq program is nested at most {MAX_BRACKETS} levels deep"));
        }
    }
    let words = text.split(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_');
    if words.filter(|word| NESTING.contains(word)).count() > MAX_WORDS {
        let named = NESTING.join(", ");
        return Err(format!("a jq program has at most {MAX_WORDS} of the words {named}"));
    }
    Ok(())
}

/// Describes where in the program a part stands.
fn place(text: &str, part: &str) -> String {
    let at = part.as_ptr().addr().wrapping_sub(text.as_ptr().addr());
    match text.get(at..) {
        Some(rest) if !rest.is_empty() => {
            let excerpt: String = rest.chars().take(20).collect();
            format!("at {excerpt:?}")
        }
        _ => "at the end".to_owned(),
    }
}
