//! Values as JSON text.

use std::fmt::{self, Write as _};

use jaq_json::Num;

use super::meter::spend_bytes;
use super::value::Value;
use crate::model::quote;

/// Longest excerpt of a value in a message, in bytes.
const MAX_EXCERPT: usize = 200;
/// From here on floats have no digits after the point anyway; below, whole ones are written as
/// whole numbers.
const WHOLE: f64 = 1e17;

/// Why a value could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong;

/// A value as compact JSON text. Its length is bounded as the value's size is.
pub(super) fn to_json(value: &Value) -> String {
    let mut out = String::new();
    let _within: Result<(), TooLong> = write(value, &mut out, usize::MAX);
    out
}

/// The beginning of a value's JSON text.
pub(super) fn excerpt(value: &Value) -> String {
    let mut out = String::new();
    if let (Err(TooLong), Some((end, _))) =
        (write(value, &mut out, MAX_EXCERPT), out.char_indices().find(|(at, _)| *at >= MAX_EXCERPT))
    {
        out.truncate(end);
        out.push('…');
    }
    out
}

/// Appends a value as compact JSON text, up to about `max` bytes.
pub(super) fn write(value: &Value, out: &mut String, max: usize) -> Result<(), TooLong> {
    spend_bytes(16);
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Num(number) => write_number(number, out),
        Value::Str(text) if text.len() > max.saturating_mul(2) => {
            quote(
                text.get(..text.floor_char_boundary(max.saturating_add(1))).unwrap_or_default(),
                out,
            );
            return Err(TooLong);
        }
        Value::Str(text) => {
            spend_bytes(text.len());
            quote(text, out);
        }
        Value::Arr(array) => {
            out.push('[');
            for (index, item) in array.items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, out, max)?;
            }
            out.push(']');
        }
        Value::Obj(object) => {
            out.push('{');
            for (index, (key, value)) in object.members.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                quote(key, out);
                out.push(':');
                write(value, out, max)?;
            }
            out.push('}');
        }
    }
    if out.len() > max { Err(TooLong) } else { Ok(()) }
}

impl fmt::Display for Value {
    /// For messages: the beginning alone, if it is long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&excerpt(self))
    }
}

fn write_number(number: &Num, out: &mut String) {
    let _infallible = match number {
        Num::Int(number) => write!(out, "{number}"),
        Num::BigInt(number) => write!(out, "{number}"),
        Num::Dec(text) => out.write_str(text),
        Num::Float(float) if float.is_nan() => out.write_str("null"),
        // JSON has no infinity; jq writes the largest number.
        Num::Float(float) if float.is_infinite() => {
            write!(out, "{:?}", f64::MAX.copysign(*float))
        }
        Num::Float(float) if float.fract() == 0.0 && float.abs() < WHOLE => {
            write!(out, "{float:.0}")
        }
        Num::Float(float) => write!(out, "{float:?}"),
    };
}
