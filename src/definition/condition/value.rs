//! The values of conditions, and their making from JSON.
//!
//! Making and comparing values is paid for piece by piece. Only the evaluator calls this.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::meter::{Meter, Stop};
use crate::definition::scan;

/// A value; cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::definition) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Double(f64),
    Text(Rc<str>),
    Bytes(Rc<[u8]>),
    List(Rc<Vec<Self>>),
    Map(Rc<BTreeMap<Key, Self>>),
    Type(&'static str),
}

/// A key of a map. Numbers of equal value are the same key, whatever their type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::definition) enum Key {
    Bool(bool),
    Number(i128),
    Text(Rc<str>),
}

impl Value {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(Rc::from(text))
    }

    /// Returns the name of the value's type.
    pub(in crate::definition) const fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::UInt(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Type(_) => "type",
        }
    }

    /// Returns this value as a key of a map; `None` if it cannot be one.
    pub(super) fn key(&self) -> Option<Key> {
        match self {
            Self::Bool(value) => Some(Key::Bool(*value)),
            Self::Int(number) => Some(Key::Number((*number).into())),
            Self::UInt(number) => Some(Key::Number((*number).into())),
            Self::Double(number) if number.fract() == 0.0 => whole(*number).map(Key::Number),
            Self::Text(text) => Some(Key::Text(Rc::clone(text))),
            Self::Double(_)
            | Self::Null
            | Self::Bytes(_)
            | Self::List(_)
            | Self::Map(_)
            | Self::Type(_) => None,
        }
    }

    /// Returns whether two values are equal; numbers are if their values are, whatever their types.
    pub(super) fn equals(&self, other: &Self, meter: &Meter) -> Result<bool, Stop> {
        meter.spend(1)?;
        Ok(match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(one), Self::Bool(two)) => one == two,
            (Self::Text(one), Self::Text(two)) => {
                meter.read(one.len().min(two.len()))?;
                one == two
            }
            (Self::Bytes(one), Self::Bytes(two)) => {
                meter.read(one.len().min(two.len()))?;
                one == two
            }
            (Self::Type(one), Self::Type(two)) => one == two,
            (Self::List(one), Self::List(two)) => {
                if one.len() != two.len() {
                    return Ok(false);
                }
                for (one, two) in one.iter().zip(two.iter()) {
                    if !one.equals(two, meter)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Self::Map(one), Self::Map(two)) => {
                if one.len() != two.len() {
                    return Ok(false);
                }
                // Both maps are in the order of their keys.
                for ((key, one), (other, two)) in one.iter().zip(two.iter()) {
                    if let Key::Text(text) = key {
                        meter.read(text.len())?;
                    }
                    if key != other || !one.equals(two, meter)? {
                        return Ok(false);
                    }
                }
                true
            }
            _ => compare_numbers(self, other) == Some(Ordering::Equal),
        })
    }

    /// Compares two values; `None` if they have no order.
    pub(super) fn compare(&self, other: &Self, meter: &Meter) -> Result<Option<Ordering>, Stop> {
        meter.spend(1)?;
        Ok(match (self, other) {
            (Self::Text(one), Self::Text(two)) => {
                meter.read(one.len().min(two.len()))?;
                Some(one.cmp(two))
            }
            (Self::Bytes(one), Self::Bytes(two)) => {
                meter.read(one.len().min(two.len()))?;
                Some(one.cmp(two))
            }
            (Self::Bool(one), Self::Bool(two)) => Some(one.cmp(two)),
            _ => compare_numbers(self, other),
        })
    }
}

impl From<&Key> for Value {
    fn from(key: &Key) -> Self {
        match key {
            Key::Bool(value) => Self::Bool(*value),
            Key::Text(text) => Self::Text(Rc::clone(text)),
            Key::Number(number) => i64::try_from(*number)
                .map(Self::Int)
                .or_else(|_| u64::try_from(*number).map(Self::UInt))
                .unwrap_or(Self::Null),
        }
    }
}

/// Returns a number without a fraction as an integer, if it is within the range of keys and
/// integers.
pub(super) fn whole(number: f64) -> Option<i128> {
    /// A limit far beyond every integer here, and exact as an `i128`.
    const LIMIT: f64 = 1e30;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::as_conversions,
        reason = "it is within the limit"
    )]
    (number.is_finite() && number.abs() < LIMIT).then(|| number.trunc() as i128)
}

/// Compares the values of two numbers exactly; `None` if one of them is not a number.
fn compare_numbers(one: &Value, two: &Value) -> Option<Ordering> {
    let integer = |value: &Value| match value {
        Value::Int(number) => Some(i128::from(*number)),
        Value::UInt(number) => Some(i128::from(*number)),
        Value::Null
        | Value::Bool(_)
        | Value::Double(_)
        | Value::Text(_)
        | Value::Bytes(_)
        | Value::List(_)
        | Value::Map(_)
        | Value::Type(_) => None,
    };
    match (one, two) {
        (Value::Double(one), Value::Double(two)) => one.partial_cmp(two),
        (Value::Double(one), two) => Some(against(*one, integer(two)?)?),
        (one, Value::Double(two)) => Some(against(*two, integer(one)?)?.reverse()),
        (one, two) => Some(integer(one)?.cmp(&integer(two)?)),
    }
}

fn against(number: f64, integer: i128) -> Option<Ordering> {
    if number.is_nan() {
        return None;
    }
    let Some(floor) = whole(number.floor()) else {
        return Some(if number > 0.0 { Ordering::Greater } else { Ordering::Less });
    };
    let above = if number > number.floor() { Ordering::Greater } else { Ordering::Equal };
    Some(floor.cmp(&integer).then(above))
}

/// Reads JSON text as a value: whole numbers become integers where they fit.
pub(super) fn of_json(text: &str, meter: &Meter) -> Result<Value, Stop> {
    Reader { text, at: 0, meter }.value()
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    meter: &'a Meter,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Reads a value. Its depth was bounded where the text came in.
    fn value(&mut self) -> Result<Value, Stop> {
        self.meter.make(1)?;
        Ok(match self.peek() {
            Some(b'{') => {
                let mut map = BTreeMap::new();
                self.at += 1;
                while let Some(byte) = self.peek().filter(|byte| *byte != b'}') {
                    if byte == b',' {
                        self.at += 1;
                    }
                    let key = self.string()?;
                    self.at += 1;
                    map.insert(Key::Text(key), self.value()?);
                }
                self.at += 1;
                Value::Map(Rc::new(map))
            }
            Some(b'[') => {
                let mut list = Vec::new();
                self.at += 1;
                while let Some(byte) = self.peek().filter(|byte| *byte != b']') {
                    if byte == b',' {
                        self.at += 1;
                    }
                    list.push(self.value()?);
                }
                self.at += 1;
                Value::List(Rc::new(list))
            }
            Some(b'"') => Value::Text(self.string()?),
            _ => scalar(self.word()),
        })
    }

    fn string(&mut self) -> Result<Rc<str>, Stop> {
        let end = scan::end_of_string(self.text.as_bytes(), self.at);
        let raw = self.text.get(self.at..end).unwrap_or_default();
        self.meter.copy(raw.len())?;
        self.at = end;
        Ok(Rc::from(&*scan::decode(raw)))
    }

    fn word(&mut self) -> &'a str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let end = rest.find([',', ']', '}']).unwrap_or(rest.len());
        // At least one byte: a text that is no JSON must not be read for ever.
        self.at += end.max(1);
        rest.get(..end).unwrap_or_default()
    }
}

fn scalar(word: &str) -> Value {
    match word {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "null" | "" => Value::Null,
        number => number
            .parse()
            .map(Value::Int)
            .or_else(|_| number.parse().map(Value::UInt))
            .unwrap_or_else(|_| Value::Double(number.parse().unwrap_or(f64::NAN))),
    }
}
