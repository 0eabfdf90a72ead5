//! jq filters.
//!
//! Compiled once; a run costs microseconds. A program can neither see nor touch anything but its
//! input, and cannot hang or kill the server: every run has a budget of work that bounds its time
//! and its memory, values are bounded in size and depth, and recursion is stopped before the stack
//! ends. The same program over the same input always ends the same way: the budget counts work,
//! not time. Called by the executor of `transform`.

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

/// Longest program, in bytes: with it the depth of what has to be parsed is bounded.
const MAX_PROGRAM: usize = 16 * 1024;
/// Longest message of an error, in bytes: it may quote the input.
const MAX_MESSAGE: usize = 500;
/// Work that is done on the caller's thread: about a millisecond.
const INLINE: Budget = Budget { fuel: 10_000, memory: 8 * 1024 * 1024, stack: 512 * 1024 };
/// Work of one run in all: about a second.
const FULL: Budget = Budget { fuel: 4_000_000, memory: MAX_MEMORY, stack: STACK };
/// Bytes of stack that a run may take: hundreds of times what filters of people need.
const STACK: usize = 32 * 1024 * 1024;
/// Bytes of memory that a run may take for each byte that its result may have. What a filter reads is as
/// large as that, becomes some forty times as large where it is a list of tiny objects, and may be made
/// into another such list twice.
const MEMORY_PER_BYTE: usize = 128;
/// Least memory of a run, in bytes: what is computed on the way may be larger than the result.
const MIN_MEMORY: usize = 64 * 1024 * 1024;
/// Most memory of a run, in bytes, however large results may be.
const MAX_MEMORY: usize = 512 * 1024 * 1024;

/// About what a term of a program takes in memory once compiled, in bytes.
const TERM_WEIGHT: usize = 256;
/// About what a filter takes without its terms, in bytes.
const FILTER_WEIGHT: usize = 1024;

/// A compiled filter.
pub struct Filter {
    compiled: jaq_core::Filter<Kind>,
    /// Whether it is run apart alone: it may recurse so deep that dropping what it made needs a large stack,
    /// or has regular expressions, whose engine nothing interrupts.
    apart: bool,
    /// About how many bytes it takes in memory.
    weight: usize,
}

/// What a run may produce.
#[derive(Debug, Clone, Copy)]
pub struct FilterLimits {
    /// Longest result, in bytes of JSON text.
    pub max_output_bytes: usize,
}

impl FilterLimits {
    /// Bytes that a run takes at the most.
    pub const fn memory(self) -> usize {
        self.values() + STACK
    }

    /// Bytes that a run may take for its values.
    const fn values(self) -> usize {
        match self.max_output_bytes.saturating_mul(MEMORY_PER_BYTE) {
            little if little < MIN_MEMORY => MIN_MEMORY,
            much if much > MAX_MEMORY => MAX_MEMORY,
            bytes => bytes,
        }
    }
}

/// Why a filter has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The program ended with an error, which this is.
    #[error("{0}")]
    Failed(String),
    /// The program does more work than one run may.
    #[error("the filter takes too long")]
    TooLong,
    /// The program recurses too deep.
    #[error("the filter recurses too deep")]
    TooDeep,
    /// A value on the way, or the result, is too large.
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
    /// Compiles a program; the error says what is wrong with it.
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

    /// About how many bytes it takes in memory.
    pub(super) const fn weight(&self) -> usize {
        self.weight
    }

    /// Runs the filter on this thread, if it can be told soon: `None` after about a
    /// millisecond, and for programs that need a large stack or have regular expressions. Then
    /// [`Filter::run`] it where blocking does no harm; starting over changes nothing, as a filter has no
    /// effects.
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

    /// Runs the filter to its end: about a second at the very most, on a thread of its own that
    /// this one waits for. Not for an async task. It fails soon after `cancelled` is set.
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
        // Deeper than JSON may be is the one way in which this can fail.
        Json::parse(&text).map_err(|_| FilterError::TooLarge)
    }
}

/// What an error of the program says: its text, or the beginning of its value.
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
    Ok(Filter { compiled, apart: survey.apart, weight })
}

/// Most brackets around one place of a program, and most signs before one value.
const MAX_BRACKETS: usize = 256;
/// Most words of a program that something else stands inside of: each takes stack as long as that lasts.
const MAX_WORDS: usize = 1_000;
/// Words that something else stands inside of.
const NESTING: [&str; 7] = ["def", "if", "try", "reduce", "foreach", "label", "as"];

/// Refuses what would take the parser deep, before it is entered. What stands in a text counts as well:
/// nobody writes that many of these there.
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

/// Where in the program something stands.
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
