//! The types that programs are compiled for.

use jaq_core::data::HasLut;
use jaq_core::native::Filter;
use jaq_core::{DataT, Lut, RunPtr};

use super::meter::{Lent, lend, step};
use super::value::Value;

/// The types that programs are compiled for.
#[derive(Debug)]
pub(super) struct Kind;

impl DataT for Kind {
    type V<'a> = Value;
    type Data<'a> = Data<'a>;
}

/// A function that programs can call.
pub(super) type Native = Filter<RunPtr<Kind>>;

/// The memory that an unfinished term takes, in bytes: the iterator that continues it, and the
/// variables that it sees. A fold whose body yields twice keeps some for each round.
const CONTEXT: usize = 512;

/// The data of a run: the program, through which each step is counted. Every unfinished term has a
/// copy.
pub(super) struct Data<'a> {
    lut: &'a Lut<Kind>,
    _held: Lent,
}

impl<'a> Data<'a> {
    /// Makes the data of the first term.
    pub(super) fn new(lut: &'a Lut<Kind>) -> Self {
        Self { lut, _held: lend(CONTEXT) }
    }
}

impl Clone for Data<'_> {
    fn clone(&self) -> Self {
        Self::new(self.lut)
    }
}

impl<'a> HasLut<'a, Kind> for Data<'a> {
    fn lut(&self) -> &'a Lut<Kind> {
        step();
        self.lut
    }
}
