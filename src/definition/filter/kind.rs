//! The types that programs are compiled for.

use jaq_core::data::HasLut;
use jaq_core::native::Filter;
use jaq_core::{DataT, Lut, RunPtr};

use super::meter::step;
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

/// What a run carries along: the program, and so the place where each of its steps is counted.
#[derive(Clone, Copy)]
pub(super) struct Data<'a>(pub(super) &'a Lut<Kind>);

impl<'a> HasLut<'a, Kind> for Data<'a> {
    fn lut(&self) -> &'a Lut<Kind> {
        step();
        self.0
    }
}
