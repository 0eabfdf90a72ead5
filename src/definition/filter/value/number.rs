//! Numbers: read from their text, and used as floats and as indexes.

use std::rc::Rc;

use jaq_json::Num;

use crate::definition::filter::meter::{HEAD, hold, spend, spend_bytes};

/// Most digits of a whole number that is computed with exactly: beyond, it is kept as text and
/// computed with as a float.
const MAX_DIGITS: usize = 1000;

/// A number from its text; everything but an ordinary whole number keeps its text.
pub(in crate::definition::filter) fn number(text: &str) -> Num {
    let whole = text != "-0" && text.len() <= MAX_DIGITS;
    whole.then(|| Num::from_str_radix(text, 10)).flatten().unwrap_or_else(|| {
        hold(HEAD + text.len());
        Num::Dec(Rc::new(text.to_owned()))
    })
}

/// The nearest float.
pub(super) fn float(number: &Num) -> f64 {
    match number {
        Num::Float(float) => *float,
        Num::Dec(text) => {
            spend_bytes(text.len());
            text.parse().unwrap_or(f64::NAN)
        }
        Num::Int(_) | Num::BigInt(_) => digits(number).parse().unwrap_or(f64::NAN),
    }
}

/// The digits of a whole number.
pub(in crate::definition::filter) fn digits(number: &Num) -> String {
    if let Num::BigInt(large) = number {
        // Writing one takes the square of its length; a digit is a third of a byte.
        let words = large.bits() / 64;
        spend(words * words / 64 + 1);
        hold(usize::try_from(large.bits() / 3).unwrap_or(usize::MAX));
    }
    number.to_string()
}

/// A number as an index, rounded down; far out if it is not finite.
fn whole(number: &Num) -> isize {
    number.as_isize().unwrap_or_else(|| {
        let floor = float(number).floor();
        format!("{floor:.0}").parse().unwrap_or(if floor < 0.0 { isize::MIN } else { isize::MAX })
    })
}

/// Where an index points, counted from the end if it is negative; `None` before the start.
pub(super) fn position(number: &Num, len: usize) -> Option<usize> {
    let index = whole(number);
    match usize::try_from(index) {
        Ok(at) => Some(at),
        Err(_) => len.checked_sub(index.unsigned_abs()),
    }
}
