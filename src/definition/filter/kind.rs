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

/// What a term that is not done takes in memory, in bytes: the iterator that goes on with it, and the
/// variables that it sees. A fold whose body yields twice keeps some for each round.
const CONTEXT: usize = 512;

/// What a run carries along: the program, and so the place where each of its steps is counted. Every
/// term that is not done has a copy.
pub(super) struct Data<'a> {
    lut: &'a Lut<Kind>,
    _held: Lent,
}

impl<'a> Data<'a> {
    /// What the first term carries.
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
