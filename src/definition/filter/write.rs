//! Writes values as JSON text.

use std::fmt::{self, Write as _};

use jaq_json::Num;

use super::meter::{Stop, hold, spend_bytes, stop};
use super::value::{MAX_SIZE, Number, Text, Value};
use crate::model::Json;

/// The longest excerpt of a value in a message, in bytes.
const MAX_EXCERPT: usize = 200;
/// The float from which on none has digits after the point. Below, whole floats are written as
/// whole numbers.
const WHOLE: f64 = 1e17;

/// The value's text is longer than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong;

/// The bytes of a string that are escaped at once: memory for their growth is not taken before.
const CHUNK: usize = 4096;
/// The longest text of a number that is not whole, in bytes.
const LONGEST_NUMBER: usize = 32;

/// Writes a value as compact JSON text; ends the run if it is too long.
pub(super) fn to_json(value: &Value) -> Text {
    let mut out = String::new();
    if write(value, &mut out, MAX_SIZE).is_err() {
        stop(Stop::Value);
    }
    // Its memory was taken as it grew.
    let held = out.len();
    Text::new(out, held)
}

/// Makes room for this many more bytes, after taking the memory for it.
fn grow(out: &mut String, more: usize) {
    let needed = out.len().saturating_add(more);
    if needed > out.capacity() {
        let capacity = needed.max(out.capacity().saturating_mul(2));
        hold(capacity);
        out.reserve_exact(capacity - out.len());
    }
}

fn push(out: &mut String, text: &str) {
    grow(out, text.len());
    out.push_str(text);
}

/// Appends a text as a JSON string, piece by piece: escaping makes it up to six times as long.
fn quote(text: &str, out: &mut String) {
    spend_bytes(text.len());
    push(out, "\"");
    let mut rest = text;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(rest.floor_char_boundary(CHUNK));
        let quoted = Json::string(chunk);
        let inner = quoted.as_str().get(1..quoted.as_str().len() - 1);
        push(out, inner.unwrap_or_default());
        rest = after;
    }
    push(out, "\"");
}

/// Returns the beginning of a value's JSON text.
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
        Value::Null => push(out, "null"),
        Value::Bool(true) => push(out, "true"),
        Value::Bool(false) => push(out, "false"),
        Value::Num(number) => write_number(number, out),
        Value::Str(text) if text.len() > max.saturating_mul(2) => {
            quote(
                text.get(..text.floor_char_boundary(max.saturating_add(1))).unwrap_or_default(),
                out,
            );
            return Err(TooLong);
        }
        Value::Str(text) => quote(text, out),
        Value::Arr(array) => {
            push(out, "[");
            for (index, item) in array.items.iter().enumerate() {
                if index > 0 {
                    push(out, ",");
                }
                write(item, out, max)?;
            }
            push(out, "]");
        }
        Value::Obj(object) => {
            push(out, "{");
            for (index, (key, value)) in object.members.iter().enumerate() {
                if index > 0 {
                    push(out, ",");
                }
                quote(key, out);
                push(out, ":");
                write(value, out, max)?;
            }
            push(out, "}");
        }
    }
    if out.len() > max { Err(TooLong) } else { Ok(()) }
}

impl fmt::Display for Value {
    /// Writes the value for messages: only the beginning, if it is long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&excerpt(self))
    }
}

fn write_number(number: &Number, out: &mut String) {
    grow(out, LONGEST_NUMBER);
    let _infallible = match number.inner() {
        Num::Int(number) => write!(out, "{number}"),
        Num::BigInt(_) => {
            push(out, &number.digits());
            Ok(())
        }
        Num::Dec(text) => {
            spend_bytes(text.len());
            push(out, text);
            Ok(())
        }
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
