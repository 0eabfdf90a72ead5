//! The bounds of slices.

use jaq_core::val::Range;
use jaq_core::{Error, ValR};

use super::{Text, Value};
use crate::meter::spend_bytes;

/// Returns the bounds of a slice of `len` items.
pub(super) fn bounds(len: usize, range: Range<&Value>) -> ValR<(usize, usize), Value> {
    let end = |end: Option<&Value>, default| match end {
        None | Some(Value::Null) => Ok(default),
        Some(Value::Num(number)) => Ok(number.position(len).unwrap_or(0).min(len)),
        Some(other) => Err(Error::typ(other.clone(), "number")),
    };
    let (from, to) = (end(range.start, 0)?, end(range.end, len)?);
    Ok((from, to.max(from)))
}

/// Returns the bounds of a slice of characters, in bytes.
pub(super) fn char_bounds(text: &str, range: Range<&Value>) -> ValR<(usize, usize), Value> {
    spend_bytes(text.len());
    let (from, to) = bounds(text.chars().count(), range)?;
    let byte = |nth| text.char_indices().nth(nth).map_or(text.len(), |(at, _)| at);
    Ok((byte(from), byte(to)))
}

/// Returns the key of a slice's beginning.
pub(super) fn start() -> Text {
    Text::copy("start")
}

/// Returns the key of a slice's end.
pub(super) fn end() -> Text {
    Text::copy("end")
}
