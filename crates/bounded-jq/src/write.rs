//! Writes values as JSON text.

use std::fmt::{self, Write as _};

use jaq_json::Num;

use crate::meter::{Stop, hold, spend_bytes, stop};
use crate::value::{MAX_DEPTH, MAX_SIZE, Number, Text, Value};

/// The longest excerpt of a value in a message, in bytes.
const MAX_EXCERPT: usize = 200;
/// The float from which on none has digits after the point. Below, whole floats are written as
/// whole numbers.
const WHOLE: f64 = 1e17;

/// The value's text is longer, or nested deeper, than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

/// The bounds of a text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// The most bytes, approximately.
    pub(crate) bytes: usize,
    /// The deepest nesting.
    pub(crate) depth: usize,
}

impl Room {
    /// Returns room for a text of any depth that values have.
    const fn of(bytes: usize) -> Self {
        Self { bytes, depth: MAX_DEPTH }
    }

    /// Returns the room inside an array or an object.
    fn inside(self) -> Result<Self, TooLong> {
        Ok(Self { depth: self.depth.checked_sub(1).ok_or(TooLong)?, ..self })
    }
}

/// The bytes of a string that are escaped at once: memory for their growth is not taken before.
const CHUNK: usize = 4096;
/// The longest text of a number that is not whole, in bytes.
const LONGEST_NUMBER: usize = 32;

/// Writes a value as compact JSON text; ends the run if it is too long.
pub(super) fn to_json(value: &Value) -> Text {
    let mut out = String::new();
    if write(value, &mut out, Room::of(MAX_SIZE)).is_err() {
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
        let quoted = serde_json::to_string(chunk).unwrap_or_default();
        let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        push(out, inner.unwrap_or_default());
        rest = after;
    }
    push(out, "\"");
}

/// Returns the beginning of a value's JSON text.
pub(super) fn excerpt(value: &Value) -> String {
    let mut out = String::new();
    if let (Err(TooLong), Some((end, _))) = (
        write(value, &mut out, Room::of(MAX_EXCERPT)),
        out.char_indices().find(|(at, _)| *at >= MAX_EXCERPT),
    ) {
        out.truncate(end);
        out.push('…');
    }
    out
}

/// Appends a value as compact JSON text, as far as there is room.
pub(crate) fn write(value: &Value, out: &mut String, room: Room) -> Result<(), TooLong> {
    spend_bytes(16);
    match value {
        Value::Null => push(out, "null"),
        Value::Bool(true) => push(out, "true"),
        Value::Bool(false) => push(out, "false"),
        Value::Num(number) => write_number(number, out),
        Value::Str(text) if text.len() > room.bytes.saturating_mul(2) => {
            quote(
                text.get(..text.floor_char_boundary(room.bytes.saturating_add(1)))
                    .unwrap_or_default(),
                out,
            );
            return Err(TooLong);
        }
        Value::Str(text) => quote(text, out),
        Value::Arr(array) => {
            let inside = room.inside()?;
            push(out, "[");
            for (index, item) in array.items.iter().enumerate() {
                if index > 0 {
                    push(out, ",");
                }
                write(item, out, inside)?;
            }
            push(out, "]");
        }
        Value::Obj(object) => {
            let inside = room.inside()?;
            push(out, "{");
            for (index, (key, value)) in object.members.iter().enumerate() {
                if index > 0 {
                    push(out, ",");
                }
                quote(key, out);
                push(out, ":");
                write(value, out, inside)?;
            }
            push(out, "}");
        }
    }
    if out.len() > room.bytes { Err(TooLong) } else { Ok(()) }
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
