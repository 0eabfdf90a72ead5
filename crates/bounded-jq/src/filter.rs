//! Compiling a program, and running it.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use jaq_core::load::lex::Lexer;
use jaq_core::load::parse::Parser;
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Vars};

use crate::kind::{Data, Kind};
use crate::limits::{FULL, INLINE, Limits, MAX_JSON_DEPTH};
use crate::meter::{self, Budget, Stop, metered};
use crate::read::{self, JsonFault};
use crate::stack::{NoThread, on_large_stack, with_large_stack};
use crate::survey::Survey;
use crate::value::{self, Value};
use crate::write::{self, Room, TooLong};
use crate::{library, nesting};

/// The longest message of an error, in bytes: it may quote the input.
const MAX_MESSAGE: usize = 500;
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

/// The reason why a filter has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The input is not JSON.
    #[error("the input cannot be read: {0}")]
    Input(JsonFault),
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
    /// It was not begun: another time there may be a thread for it.
    #[error(transparent)]
    NoThread(#[from] NoThread),
}

impl From<Stop> for Error {
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
        Self::check(text)?;
        let compiled = with_large_stack(|| compile(text));
        compiled.map_err(|fault| format!("not a jq program: {fault}"))?
    }

    /// Refuses a program that is too long, or nested too deep, to be compiled. [`Filter::compile`]
    /// begins with this, which is cheap: who pays for compiling by the byte checks first.
    pub fn check(text: &str) -> Result<(), String> {
        nesting::check(text)
    }

    /// Returns the approximate memory of the filter, in bytes.
    pub const fn weight(&self) -> usize {
        self.weight
    }

    /// Runs the filter on this thread if it ends soon. Returns `None` after about a millisecond,
    /// and for programs that need a large stack or have regular expressions. Then [`Filter::run`]
    /// it where blocking does no harm; starting over changes nothing, as a filter has no effects.
    pub fn run_inline(&self, input: &str, limits: Limits) -> Option<Result<String, Error>> {
        if self.apart {
            return None;
        }
        match self.attempt(input, limits, INLINE) {
            Err(Stop::Fuel | Stop::Stack | Stop::Memory) => None,
            told => Some(told.unwrap_or_else(|stop| Err(stop.into()))),
        }
    }

    /// Runs the filter to its end, on a thread of its own that this one waits for: about a second
    /// at the very most. Do not call it in an async task. It fails soon after `cancelled` is set.
    ///
    /// The input is JSON text, and so is the output, without white space between its tokens. A
    /// single result is the output as it is; several, or none, are an array.
    pub fn run(
        &self,
        input: &str,
        limits: Limits,
        cancelled: &Arc<AtomicBool>,
    ) -> Result<String, Error> {
        let budget = Budget { memory: limits.values(), ..FULL };
        let work = || meter::cancellable(cancelled, || self.attempt(input, limits, budget));
        let caught =
            || with_large_stack(work).unwrap_or_else(|fault| Ok(Err(Error::Failed(fault))));
        on_large_stack(caught)?.unwrap_or_else(|stop| Err(stop.into()))
    }

    fn attempt(
        &self,
        input: &str,
        limits: Limits,
        budget: Budget,
    ) -> Result<Result<String, Error>, Stop> {
        metered(budget, || self.evaluate(input, limits))
    }

    fn evaluate(&self, input: &str, limits: Limits) -> Result<String, Error> {
        let context = Ctx::<Kind>::new(Data::new(&self.compiled.lut), Vars::new([]));
        let input = read::read(input).map_err(Error::Input)?;
        let mut results = Vec::new();
        let mut bytes = 0_usize;
        for result in self.compiled.id.run((context, input)) {
            let value = result.map_err(|fault| match fault.get_err() {
                Ok(error) => Error::Failed(message(error)),
                Err(_) => Error::Failed("break outside its label".to_owned()),
            })?;
            bytes = bytes.saturating_add(value.bytes());
            if bytes > value::MAX_SIZE {
                return Err(Error::TooLarge);
            }
            meter::hold_slot();
            results.push(value);
        }
        let output = match results.len() {
            1 => results.pop().unwrap_or_default(),
            _ => Value::array(results),
        };
        let mut text = String::new();
        let room = Room { bytes: limits.max_output_bytes, depth: MAX_JSON_DEPTH };
        write::write(&output, &mut text, room).map_err(|TooLong| Error::TooLarge)?;
        Ok(text)
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
